"""Start points in a part of a space: each as far as possible from what was tried, is on its way or was chosen before.

Reference: M. E. Johnson, L. M. Moore & D. Ylvisaker, "Minimax and maximin distance designs", J. Statistical Planning
and Inference 26 (1990) 131; here one point after the other, among samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from matloop.orchestrator.protocols import Array, Encodable, Space
from matloop.orchestrator.strategies.random import Sampler
from matloop.orchestrator.strategies.tried import Tried, exhausted
from matloop.orchestrator.trial import Point, Proposal, Unanswered

SAMPLES = 128
"""Points that are drawn to choose from, and `EACH` more for each that is asked for."""

EACH = 8


class Spread:
    """Fills a part of a space.

    Args:
        part: where points are proposed; of one that is not Encodable, they are random.
        known: points of the whole that were measured.
        tried: keys of what is not to be proposed.
    """

    def __init__(self, part: Space, known: Sequence[Point], tried: Tried) -> None:
        self._part, self._known, self._tried = part, known, tried

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """At most n points; see `Strategy.ask`.

        Raises:
            SpaceExhausted: there is none that was not tried.
        """
        reserved = self._tried.pending(pending)
        points = Sampler(self._part, repeats=False).draw(SAMPLES + n * EACH, self._tried, reserved.copy(), rng)
        if not points and not pending:
            raise exhausted()
        if isinstance(self._part, Encodable):
            known = [*self._known, *(one.point for one in pending)]
            points = [points[i] for i in apart(self._part.encode(points), self._part.encode(known), n)]
        return [
            Proposal(
                point=point,
                reason="start point, far from what was tried",
                extra={"origin": "space_filling"},
            )
            for point in points[:n]
        ]


def apart(x: Array, known: Array, n: int) -> list[int]:
    """Rows of x, one after the other, each the farthest from the known ones and from those before it.

    Args:
        x: (c, d) float64.
        known: (k, d) float64; if k = 0, the first is the row next to the mean of x.
        n: how many; c of them at most.
    """
    if not len(x):
        return []
    nearest = _squares(x, known).min(axis=1) if len(known) else -_squares(x, x.mean(axis=0, keepdims=True))[:, 0]
    chosen = [int(np.argmax(nearest))]
    while len(chosen) < min(n, len(x)):
        to_last = _squares(x, x[chosen[-1:]])[:, 0]
        nearest = np.minimum(nearest, to_last) if len(known) or len(chosen) > 1 else to_last
        nearest[chosen] = -1.0
        chosen.append(int(np.argmax(nearest)))
    return chosen


def _squares(a: Array, b: Array) -> Array:
    """(n, d) and (k, d) -> (n, k) squared distances."""
    found: Array = ((a[:, None] - b) ** 2).sum(axis=2)
    return found
