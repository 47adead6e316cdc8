"""How a strategy's predictions came true, and by how much its standard deviations are stretched for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from matloop.orchestrator.trial import Objective, Trial
from matloop.surrogates.uncertainty.calibration import recorded_scale

STRETCH = "stretch"
"""Key in `Trial.extra` of the factor, by objective, that the model's standard deviation was multiplied by."""

PRIOR = 5.0
"""Predictions that came true exactly as stated, which are added to the record, so that few misses change little."""


class Record:
    """Misses of predictions that were made before the measurement, in standard deviations as the model gave them."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._objectives = objectives
        self._misses: list[list[float]] = []

    def add(self, trial: Trial) -> None:
        """Judge an answered trial; one that was proposed by others or done otherwise than planned does not count."""
        stretch = trial.extra.get(STRETCH)
        if stretch is None or trial.prediction is None or trial.values is None or trial.planned is not None:
            return
        mean, std = trial.prediction.mean, trial.prediction.std
        values = {name: value for name, value in trial.values.items() if name not in trial.censored}
        stated = zip(self._objectives, stretch, strict=True)
        self._misses.append([(values.get(o.name, np.nan) - mean[o.name]) / (std[o.name] / s) for o, s in stated])

    def stretch(self, prior: float = PRIOR) -> list[float]:
        """By objective, the factor on the model's standard deviations that the record calls for.

        Args:
            prior: see `PRIOR`, >= 0.
        """
        misses = np.array(self._misses).reshape(-1, len(self._objectives))
        judged = [column[np.isfinite(column)] for column in misses.T]
        return [recorded_scale(np.zeros(len(z)), np.ones(len(z)), z, prior=prior) for z in judged]
