"""Where a measurement was expected to lie, as it was recorded with the recommendation."""

from __future__ import annotations

from matloop.orchestrator.trial import Trial


def interval(trial: Trial, objective: str) -> tuple[float, float] | None:
    """Where 90 % of measurements were expected to lie; None if the model did not say."""
    return None if trial.prediction is None else trial.prediction.bounds(objective)
