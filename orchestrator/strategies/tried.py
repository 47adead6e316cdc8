"""Which points a study has had already, so that no strategy pays for the same one twice."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from orchestrator.errors import SpaceExhausted
from orchestrator.trial import Point, Trial


def key(point: Point) -> str:
    """Canonical JSON of a point: equal points have equal keys, whatever the order of their entries."""
    return json.dumps(point, sort_keys=True, separators=(",", ":"), default=_plain)


def exhausted() -> SpaceExhausted:
    """The error of a strategy that has nothing to propose although nothing is pending."""
    return SpaceExhausted("every point of the space was tried; enlarge the space or end the study")


def _plain(value: object) -> object:
    """Numpy scalars and arrays as what JSON knows."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(
        f"expected a JSON-able point, got a {type(value).__name__} in it; use plain numbers, text and lists"
    )


class Tried:
    """Keys of the points told so far; those of pending trials are remembered between calls, as a pure cache."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._pending: dict[int, str] = {}

    def add(self, trial: Trial) -> None:
        """Count a told trial's point, whether it was measured or failed."""
        self._told.add(self._pending.pop(trial.id, "") or key(trial.point))

    def __contains__(self, point_key: object) -> bool:
        return point_key in self._told

    def __len__(self) -> int:
        return len(self._told)

    def pending(self, trials: Sequence[Trial]) -> set[str]:
        """Keys of the points that are being measured."""
        self._pending = {t.id: self._pending.get(t.id) or key(t.point) for t in trials}
        return set(self._pending.values())
