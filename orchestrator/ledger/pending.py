"""Trials proposed and not yet told: nothing that a strategy does with them costs more for there being many."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import overload

from matloop.orchestrator.trial import Point, Trial


def key(point: Point) -> str:
    """128-bit digest of a point's canonical JSON: equal points have equal keys, whatever the order of their entries."""
    return blake2b(_encode(point).encode(), digest_size=16).hexdigest()


class Pending(Sequence[Trial]):
    """Pending trials in order of proposal, and the keys of their points."""

    def __init__(self) -> None:
        self._trials: dict[int, Trial] = {}
        self._keys: dict[int, str] = {}
        self._counts: dict[str, int] = {}

    def add(self, trial: Trial) -> None:
        """Append a trial; one with a known id takes the known one's place."""
        self._trials[trial.id] = trial

    def key(self, trial: Trial) -> str:
        """Key of a trial's point; known already if the trial is pending."""
        known = self._trials.get(trial.id)
        same = known is not None and known.point is trial.point and trial.id in self._keys
        return self._keys[trial.id] if same else key(trial.point)

    def discard(self, trial: int) -> None:
        """Take out the trial of that id, if it is there."""
        if self._trials.pop(trial, None) is not None and trial in self._keys:
            point_key = self._keys.pop(trial)
            self._counts[point_key] -= 1
            if not self._counts[point_key]:
                del self._counts[point_key]

    def holds(self, point_key: str) -> bool:
        """Whether a trial with that key is pending."""
        self._catch_up()
        return point_key in self._counts

    def _catch_up(self) -> None:
        """Keys of the trials added since: they are the newest, since ids are not reused."""
        missing = len(self._trials) - len(self._keys)
        for trial in islice(reversed(self._trials.values()), missing):
            point_key = self._keys[trial.id] = key(trial.point)
            self._counts[point_key] = self._counts.get(point_key, 0) + 1

    def __len__(self) -> int:
        return len(self._trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials.values())

    def __reversed__(self) -> Iterator[Trial]:
        return reversed(self._trials.values())

    @overload
    def __getitem__(self, index: int) -> Trial: ...

    @overload
    def __getitem__(self, index: slice) -> list[Trial]: ...

    def __getitem__(self, index: int | slice) -> Trial | list[Trial]:
        """As of a list; costs the distance to the nearer end."""
        if isinstance(index, slice):
            return list(self._trials.values())[index]
        n = len(self._trials)
        place = index + n if index < 0 else index
        if not 0 <= place < n:
            raise IndexError(f"expected an index from {-n} to {n - 1}, got {index}")
        if place < n // 2:
            return next(islice(self._trials.values(), place, None))
        return next(islice(reversed(self._trials.values()), n - 1 - place, None))


def _plain(value: object) -> object:
    """Numpy scalars and arrays as what JSON knows."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(
        f"expected a JSON-able point, got a {type(value).__name__} in it; use plain numbers, text and lists"
    )


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_plain).encode
