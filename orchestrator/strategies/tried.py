"""Which points a study has had already, so that no strategy pays for the same one twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

from matloop.orchestrator.errors import SpaceExhausted
from matloop.orchestrator.ledger.pending import Pending, key
from matloop.orchestrator.trial import Trial, Unanswered

__all__ = ["Reserved", "Tried", "exhausted", "key"]


def exhausted() -> SpaceExhausted:
    """The error of a strategy that has nothing to propose although nothing is pending."""
    return SpaceExhausted("every point of the space was tried; enlarge the space or end the study")


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
