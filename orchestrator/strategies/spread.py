"""Start points in a part of a space: they stand for it together with what was measured and what is on its way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from matloop.orchestrator.protocols import Drawing, Encodable, Space
from matloop.orchestrator.strategies.random import Sampler
from matloop.orchestrator.strategies.representatives import Distances, Representatives
from matloop.orchestrator.strategies.tried import Reserved, Tried, exhausted, key
from matloop.orchestrator.trial import Point, Proposal, Unanswered
from matloop.search_spaces.columns import blocks, labels

SAMPLES = 256
"""Points that are drawn to choose from, and `EACH` more for each that is asked for."""

EACH = 16


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
        points = self._candidates(n, self._tried.pending(pending), rng)
        if not points and not pending:
            raise exhausted(self._part)
        if isinstance(self._part, Encodable) and points:
            points = self._chosen(self._part, points, n, [one.point for one in pending], rng)
        reason = "start point that fills the gaps between what was tried"
        return [Proposal(point=p, reason=reason, extra={"origin": "space_filling"}) for p in points[:n]]

    def _candidates(self, n: int, reserved: Reserved, rng: np.random.Generator) -> list[Point]:
        """Different points that were not tried, in no order; many, if there are."""
        most = SAMPLES + n * EACH
        if not isinstance(self._part, Drawing):
            return Sampler(self._part).draw(most, self._tried, reserved, rng)
        drawn = {key(point): point for point in self._part.draw(most, rng)}
        fresh = [point for k, point in drawn.items() if k not in self._tried and k not in reserved]
        return fresh if len(fresh) >= n else Sampler(self._part).draw(n, self._tried, reserved, rng)

    def _chosen(
        self, part: Encodable, points: Sequence[Point], n: int, waiting: Sequence[Point], rng: np.random.Generator
    ) -> list[Point]:
        x = part.encode(points)
        columns = labels(part)
        groups = [i for _, _, i in blocks(columns)] if columns else [[i] for i in range(part.dimension)]
        choosing = Representatives(x, Distances(x, groups), part.encode([*self._known, *waiting]), rng)
        return [points[next(choosing)] for _ in range(min(n, len(points)))]
