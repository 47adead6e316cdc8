"""Where a measurement was expected to lie, as it was recorded with the recommendation."""

from __future__ import annotations

from matloop.orchestrator.trial import Trial

Z90 = 1.6448536269514722  # of a normal distribution, 90 % lie within that many standard deviations


def interval(trial: Trial, objective: str) -> tuple[float, float] | None:
    """Where 90 % of measurements were expected to lie; None if the model did not say."""
    explained = (trial.extra.get("explanation") or {}).get("interval") or {}
    if objective in explained:
        low, high = explained[objective]
        return float(low), float(high)
    prediction = trial.prediction
    if prediction is None or objective not in prediction.std:
        return None
    mean, half = prediction.mean[objective], Z90 * prediction.std[objective]
    return mean - half, mean + half
