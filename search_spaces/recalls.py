"""What spaces share that encode what they do not offer any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from matloop.orchestrator.errors import InvalidPoint
from matloop.orchestrator.protocols import Array
from matloop.orchestrator.trial import Point


class Recalls(Protocol):
    """A space whose `encode` raises InvalidPoint where it has no place for a point; see `Recalling`."""

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64."""
        ...

    def knows(self, point: Point) -> bool:
        """Whether `encode` has a place for the point."""
        try:
            self.encode([point])
        except InvalidPoint:
            return False
        return True
