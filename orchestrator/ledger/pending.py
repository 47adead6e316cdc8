"""What was proposed and is not yet told: nothing that a strategy does with them costs more for there being many."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain, count, islice
from typing import overload

from matloop.orchestrator.trial import Point, Proposal, Trial, Unanswered


def key(point: Point) -> str:
    """128-bit digest of a point's canonical JSON: equal points have equal keys, whatever the order of their entries."""
    return blake2b(_encode(point).encode(), digest_size=16).hexdigest()


class Pending(Sequence[Unanswered]):
    """Pending trials in order of proposal, then the proposals that are held ready; and the keys of their points."""

    def __init__(self) -> None:
        self._trials: dict[int, Trial] = {}
        self._keys: dict[int, str] = {}
        self._counts: dict[str, int] = {}
        self._held: dict[tuple[str, int], Proposal] = {}  # by key, and which of several of that key, from 0

    def add(self, proposed: Unanswered) -> None:
        """Append a trial or a proposal.

        A trial takes the place of one with its id, and of a proposal at its point: it is what has become of that.
        """
        if isinstance(proposed, Proposal):
            point_key = key(proposed.point)
            self._held[point_key, self._copies(point_key)] = proposed
            return
        self._trials[proposed.id] = proposed
        if self._held:
            self._catch_up()
            point_key = self.key(proposed)
            if copies := self._copies(point_key):
                del self._held[point_key, copies - 1]

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
        """Whether a trial or proposal with that key is pending."""
        self._catch_up()
        return point_key in self._counts or (point_key, 0) in self._held

    def _copies(self, point_key: str) -> int:
        """How many proposals of that key are held."""
        return next(i for i in count() if (point_key, i) not in self._held)

    def _catch_up(self) -> None:
        """Keys of the trials added since: they are the newest, since ids are not reused."""
        missing = len(self._trials) - len(self._keys)
        for trial in islice(reversed(self._trials.values()), missing):
            point_key = self._keys[trial.id] = key(trial.point)
            self._counts[point_key] = self._counts.get(point_key, 0) + 1

    def __len__(self) -> int:
        return len(self._trials) + len(self._held)

    def __iter__(self) -> Iterator[Unanswered]:
        return chain(self._trials.values(), self._held.values())

    def __reversed__(self) -> Iterator[Unanswered]:
        return chain(reversed(self._held.values()), reversed(self._trials.values()))

    @overload
    def __getitem__(self, index: int) -> Unanswered: ...

    @overload
    def __getitem__(self, index: slice) -> list[Unanswered]: ...

    def __getitem__(self, index: int | slice) -> Unanswered | list[Unanswered]:
        """As of a list; costs the distance to the nearer end."""
        if isinstance(index, slice):
            return list(self)[index]
        n = len(self)
        place = index + n if index < 0 else index
        if not 0 <= place < n:
            raise IndexError(f"expected an index from {-n} to {n - 1}, got {index}")
        if place < n // 2:
            return next(islice(self, place, None))
        return next(islice(reversed(self), n - 1 - place, None))


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
