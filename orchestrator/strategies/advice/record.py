"""How a strategy's predictions came true, and by how much its standard deviations are stretched for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.trial import Objective, Trial
from matloop.surrogates.uncertainty.calibration import covering_scale, recorded_scale

STRETCH = "stretch"
"""Key in `Trial.extra` of the factor, by objective, that the model's standard deviation was multiplied by."""

PRIOR = 10.0
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
        mean, std = trial.prediction.mean, trial.prediction.std
        stated = zip(self._objectives, stretch, strict=True)
        self._misses.append([(trial.values[o.name] - mean[o.name]) / (std[o.name] / s) for o, s in stated])

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
        """(n,) misses of each objective."""
        return list(np.array(self._misses).reshape(-1, len(self._objectives)).T)
