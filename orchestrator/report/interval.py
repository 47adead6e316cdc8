"""Where a measurement was expected to lie, as it was recorded with the recommendation."""

from __future__ import annotations

from matloop.orchestrator.trial import Prediction, Trial

Z90 = 1.6448536269514722  # of a normal distribution, 90 % lie within that many standard deviations


def interval(trial: Trial, objective: str) -> tuple[float, float] | None:
    """Where 90 % of measurements were expected to lie; None if the model did not say."""
    explained = (trial.extra.get("explanation") or {}).get("interval") or {}
    if objective in explained:
        low, high = explained[objective]
        return float(low), float(high)
    return None if trial.prediction is None else predicted(trial.prediction, objective)


def predicted(prediction: Prediction, objective: str) -> tuple[float, float] | None:
    """Where 90 % of measurements are expected to lie by a prediction; None if it does not say."""
    if objective not in prediction.std:
        return None
    mean, half = prediction.mean[objective], Z90 * prediction.std[objective]
    return mean - half, mean + half
