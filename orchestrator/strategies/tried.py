"""Which points a study has had already, so that no strategy pays for the same one twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Self

from matloop.orchestrator.errors import SpaceExhausted
from matloop.orchestrator.ledger.pending import Pending, key
from matloop.orchestrator.protocols import Countable, Finite, Space
from matloop.orchestrator.trial import Point, Trial, Unanswered

__all__ = ["Listing", "Reserved", "Tried", "exhausted", "key"]

LISTED = 20_000
"""Points at most of a space that is listed to see whether any is left."""

DRAWS = 1000
"""Random points among which none is new before a space that cannot be listed counts as used up."""


def exhausted(space: Space) -> SpaceExhausted:
    """The error of a strategy that has nothing to propose although nothing is pending."""
    if Listing(space).points is None:
        found = f"none of {DRAWS} random points of the space was new"
    else:
        found = "every point of the space was tried"
    return SpaceExhausted(f"{found}; enlarge the space or end the study")


class Listing:
    """Every point of a space that has few, worked out when it is first asked for."""

    def __init__(self, space: Space) -> None:
        self._space = space

    @cached_property
    def points(self) -> Sequence[Point] | None:
        """Each once; None if the space cannot be listed, or has more than `LISTED`."""
        if isinstance(self._space, Finite):
            return self._space.points
        return self._space.listed(LISTED) if isinstance(self._space, Countable) else None

    @cached_property
    def keys(self) -> Sequence[str]:
        """Their keys; empty if it has no points."""
        return [key(point) for point in self.points or ()]

    def untried(self, tried: Tried, reserved: Reserved) -> list[Point]:
        """Those that were not tried and are not on their way; none if there is no list."""
        pairs = zip(self.points or (), self.keys, strict=True)
        return [point for point, k in pairs if k not in tried and k not in reserved]


class Reserved:
    """Keys of points that are on their way: pending ones, and those that an ask has chosen; no ask proposes them."""

    __slots__ = ("_added", "_pending")

    def __init__(self, pending: Pending, added: Iterable[str] = ()) -> None:
        self._pending = pending
        self._added = set(added)

    def __contains__(self, point_key: str) -> bool:
        return point_key in self._added or self._pending.holds(point_key)

    def add(self, point_key: str) -> None:
        """Reserve a point."""
        self._added.add(point_key)

    def update(self, point_keys: Iterable[str]) -> None:
        """Reserve several."""
        self._added.update(point_keys)

    def copy(self) -> Self:
        """The same, to be added to without a trace here."""
        return type(self)(self._pending, self._added)


class Tried:
    """Keys of the points that were tried: measured, failed or cancelled, each told once."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._pending = Pending()  # the last that was seen: it knows the keys of what is about to be told

    def add(self, trial: Trial) -> None:
        """Count a told trial's point, whether it was measured or failed."""
        self._told.add(self._pending.key(trial))

    def __contains__(self, point_key: object) -> bool:
        return point_key in self._told

    def __len__(self) -> int:
        return len(self._told)

    def pending(self, proposed: Sequence[Unanswered]) -> Reserved:
        """Points that are being measured; at no cost if `proposed` is a `Pending`, as the loop's is."""
        if isinstance(proposed, Pending):
            self._pending = proposed
            return Reserved(proposed)
        return Reserved(Pending(), (key(one.point) for one in proposed))
