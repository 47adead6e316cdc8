"""What nobody sets and the model should know all the same: conditions under which results came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from matloop.orchestrator.measurement import is_number
from matloop.orchestrator.protocols import Situated
from matloop.orchestrator.trial import Point, Proposal, Trial

CONDITIONS = "conditions"
"""Key in `Proposal.extra` of the conditions that a proposal is meant for."""

MARGIN = 0.5
"""Around a single value: what counts as usual if nothing else was met."""


class Conditions:
    """Conditions of the results that a strategy was told.

    A result that does not say a condition counts as if it had come about under the usual one, the median of those that
    were said.

    Args:
        space: whose conditions they are; of any space without them, nothing happens.
    """

    def __init__(self, space: object) -> None:
        declared = tuple(space.conditions) if isinstance(space, Situated) else ()
        self._open = [c.name for c in declared if c.low is None]
        self.names = tuple(c.name for c in declared)
        self._told: list[Trial] = []
        self.usual: dict[str, float] = {}
        self.ranges: dict[str, tuple[float, float]] = {}

    def tell(self, trial: Trial) -> Trial:
        """Remember a result; the same with its conditions in its point."""
        if not self.names:
            return trial
        said = {name: v for name, v in trial.conditions.items() if name in self.names and is_number(v)}
        self._told.append(replace(trial, point={**trial.point, **said}))
        return self._told[-1]

    def complete(self, count: int) -> list[Trial]:
        """All results with a value of every condition, what is usual being told by the first ones."""
        said = {name: [t.point[name] for t in self._told[:count] if name in t.point] for name in self.names}
        self.usual = {name: float(median(values)) for name, values in said.items() if values}
        self.ranges = {name: _range(said[name]) for name in self._open if said[name]}
        return [replace(t, point={**self.usual, **t.point}) for t in self._told]

    def planned(self, point: Point) -> Point:
        """A point without its conditions."""
        return {name: value for name, value in point.items() if name not in self.names} if self.names else point

    def placed(self, space: Any, given: Mapping[str, float]) -> Any:
        """The space under the conditions given, else the usual ones."""
        return space.at({**self.usual, **given}, self.ranges) if self.names else space

    def noted(self, proposals: Sequence[Proposal], given: Mapping[str, float]) -> list[Proposal]:
        """Proposals that say what conditions they are meant for."""
        today = {**self.usual, **{name: value for name, value in given.items() if name in self.names}}
        if not today:
            return list(proposals)
        text = ", ".join(f"{name} {value:.4g} ({self._source(name, given)})" for name, value in today.items())
        return [replace(p, reason=f"{p.reason}; at {text}", extra={**p.extra, CONDITIONS: today}) for p in proposals]

    def _source(self, name: str, given: Mapping[str, float]) -> str:
        if name in given:
            return "as given"
        silent = sum(name not in t.point for t in self._told)
        return "the median of what was met" + (f", also for {silent} that did not say" if silent else "")


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if low < high else (low - MARGIN, high + MARGIN)
