"""Drift: what changes between experiments although nobody changes it, such as an ageing lamp or a new batch.

What was measured is taken for a function of the point plus a slow function of the order, of time, or of a batch. The
second is worked out from both together, averaged over how large it may be, none included, and taken away: a model is
told what each experiment would have given now, and so predicts what the next one will give. Without drift next to
nothing is taken away.

Reference: Rasmussen & Williams 2006, section 5.4.3: the trend of a sum of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Finite, Space
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.evidence import Evidence
from matloop.orchestrator.trial import Point, Trial
from matloop.search_spaces.columns import labels

Array = npt.NDArray[np.float64]

SIZES = {0.0: 0.4, 0.03: 0.1, 0.1: 0.1, 0.3: 0.1, 1.0: 0.1, 3.0: 0.1, 10.0: 0.1}
"""Variances of the drift, in those of the function, and how likely each is held to be beforehand."""

SLOWNESS = 0.5
"""Length scale of a drift in order or time, in what all experiments span."""

FEWEST = 4
"""Experiments that it takes to speak of drift."""


class Drift:
    """What experiments drift with, and what it is now.

    Args:
        by: "order" of the results, "time" at which they came, or the name of a parameter, such as a batch, whose value
            is whatever it was in the last experiment.
        space: where the points come from.

    Raises:
        ConfigError: it is neither of these.
    """

    def __init__(self, by: str, space: Space) -> None:
        self.by = by
        self._labels = labels(space)
        self._listed = isinstance(space, Finite)
        if by not in ("order", "time") and by not in (names := space.sample(derive("drift"))):
            raise ConfigError(
                f"expected drift: order, time or a parameter, such as a batch, got {by!r}; there are {list(names)}",
                at="drift",
            )

    def shifts(self, trials: Sequence[Trial], x: Array, units: Array, which: npt.NDArray[np.bool_]) -> Array:
        """By how much each of k results was higher than it would be now; see the function of that name.

        Args:
            trials: n, the last of which is now.
            x: (k, d) float64, encoded points.
            units: (k,) float64.
            which: (n,) bool, those of the trials that have a result.
        """
        return shifts(x[:, self._columns(x.shape[1])], units, self.marks(trials), which)

    def _columns(self, d: int) -> list[int]:
        """Of an encoded point, but for those of the batch."""
        named = self._labels
        if named is None or len(named) != d:
            return list(range(d))
        return [i for i, column in enumerate(named) if column.parameter != self.by]

    def marks(self, trials: Sequence[Trial]) -> list[Any]:
        """Where each trial stands: numbers, or labels of batches."""
        if self.by == "order":
            return [float(i) for i in range(len(trials))]
        if self.by == "time":
            return [float(t.finished_at or t.proposed_at) for t in trials]
        return [t.point.get(self.by) for t in trials]

    def now(self, points: Sequence[Point], trials: Sequence[Trial]) -> list[Point]:
        """The points as they can be done now: in the batch of the last trial. Of a listed space those that are."""
        if self.by in ("order", "time") or not trials:
            return list(points)
        current = trials[-1].point.get(self.by)
        if self._listed:
            return [p for p in points if p.get(self.by) == current]
        return [{**p, self.by: current} for p in points]


def shifts(x: Array, units: Array, marks: Sequence[Any], which: npt.NDArray[np.bool_] | None = None) -> Array:
    """By how much each of k results was higher than it would be now.

    Args:
        x: (k, d) float64, encoded points; of a batch that is a parameter, without its columns.
        units: (k,) float64, what was measured, in model units.
        marks: n, see `Drift.marks`; the last one is now.
        which: (n,) bool, those of the marks that the results stand at; None for all.

    Returns:
        (k,) float64, in model units.
    """
    if len(units) < FEWEST or len(set(marks)) < 2 or not np.ptp(units) > 0:
        return np.zeros(len(units))
    known = np.arange(len(marks)) if which is None else np.flatnonzero(which)
    kernel = _slow(marks)
    logs, parts = [], []
    for size, prior in SIZES.items():
        evidence = Evidence(x, added=size * kernel[np.ix_(known, known)])
        found, part = evidence.part(units, size * kernel[:, known])
        logs.append(found + np.log(prior))
        parts.append(part)
    weights = np.exp(np.array(logs) - max(logs))
    drift: Array = weights @ np.array(parts) / weights.sum()
    return drift[known] - drift[-1]


def _slow(marks: Sequence[Any]) -> Array:
    """(n, n) covariance of a slow function of numbers, or of independent effects of labels."""
    if all(isinstance(mark, int | float) and not isinstance(mark, bool) for mark in marks):
        t = np.array(marks, dtype=np.float64)
        t = (t - t.min()) / np.ptp(t)
        kernel: Array = np.exp(-0.5 * (t[:, None] - t) ** 2 / SLOWNESS**2)
        return kernel
    labels = [repr(mark) for mark in marks]
    return np.array([[float(a == b) for b in labels] for a in labels])
