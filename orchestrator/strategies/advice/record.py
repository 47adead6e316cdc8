"""How a strategy's predictions came true, and by how much its standard deviations are stretched for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.trial import Objective, Prediction, Trial
from matloop.surrogates.uncertainty.calibration import covering_scale, recorded_scale

STRETCH = "stretch"
"""Key in `Trial.extra` of the factor, by objective, that the model's standard deviation was multiplied by."""

PRIOR = 20.0
"""Predictions that came true exactly as stated, which are added to the record, so that few misses change little."""

SHARE = 0.9
"""Of measurements that are to lie within the interval of that probability."""


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
        stated = zip(self._objectives, stretch, strict=True)
        values = {name: value for name, value in trial.values.items() if name not in trial.censored}
        misses = [(self._miss(trial.prediction, o.name, values.get(o.name)), s) for o, s in stated]
        self._misses.append([miss * s for miss, s in misses])

    @staticmethod
    def _miss(prediction: Prediction, name: str, value: float | None) -> float:
        """In standard deviations as stated; NaN where nothing was measured, 0 where nothing was stated."""
        if value is None:
            return np.nan
        return prediction.deviation(name, value) or 0.0

    def stretch(self) -> list[float]:
        """By objective, the factor on the model's standard deviations with which its 90 % intervals would have held."""
        return [covering_scale(column, share=SHARE, prior=PRIOR) for column in self._columns()]

    def spread(self, prior: float) -> list[float]:
        """By objective, how much larger the misses were than the model's standard deviations, in the mean square.

        Args:
            prior: predictions that came true exactly as stated, which are added, >= 0.
        """
        columns = self._columns()
        return [recorded_scale(np.zeros(len(c)), np.ones(len(c)), c, prior=prior) for c in columns]

    def _columns(self) -> list[npt.NDArray[np.float64]]:
        """(n,) misses of each objective, where it was measured."""
        misses = np.array(self._misses).reshape(-1, len(self._objectives))
        return [column[np.isfinite(column)] for column in misses.T]
