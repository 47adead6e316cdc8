"""Where a model expects the best: a search over the space by what it expects, not by what is worth trying next.

A proposal weighs in what is not known. This search does not: it answers the question "if I had to stop today, what
would I make?". It goes by expected values (or, for a target range, by the probability of lying in it) among all points
of a finite space, or from random and measured points by ever smaller variations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from botorch.utils.multi_objective.pareto import is_non_dominated

from matloop.orchestrator.errors import InvalidPoint
from matloop.orchestrator.protocols import Finite, Space, Vectorised
from matloop.orchestrator.strategies.advice.prospects import varied
from matloop.orchestrator.strategies.tried import Tried, key
from matloop.orchestrator.trial import Point

if TYPE_CHECKING:
    from botorch.models.model import Model

SAMPLES = 1024
"""Random points that a search begins with."""

LEADERS = 12
"""Best points that are varied in each round, and of several objectives the most that are returned."""

ROUNDS = 10
FIRST_STEP = 0.1
"""Standard deviation of the first variations, in ranges; each round has half of the one before."""

CHUNK = 256
"""Points at which the model is asked at once."""

RELUCTANCE = 20.0
"""Spreads of the merit that a point loses which is sure to fail; nothing is lost from a probability of one half on."""

Merit = Callable[[torch.Tensor], torch.Tensor]
"""(n, d) encoded points to (n, k) values, larger is better."""


def means(model: Model, x: torch.Tensor) -> torch.Tensor:
    """(n, m) float64: expected values at (n, d) points."""
    with torch.no_grad():
        posteriors: list[Any] = [model.posterior(part.unsqueeze(1)) for part in torch.split(x, CHUNK)]
        return torch.cat([posterior.mean[:, 0] for posterior in posteriors])


def likely(merit: torch.Tensor, works: torch.Tensor | None) -> torch.Tensor:
    """Merit less what is taken off points that are more likely to fail than to work.

    Args:
        merit: (n, k) float64.
        works: (n,) float64 in [0, 1], probability that the experiment works; None if all will.
    """
    if works is None:
        return merit
    finite = torch.where(merit.isfinite(), merit, torch.nan)
    low = finite.nan_to_num(nan=torch.inf).amin(dim=0)
    high = finite.nan_to_num(nan=-torch.inf).amax(dim=0)
    span = (high - low).nan_to_num(posinf=0.0, neginf=0.0).clamp_min(1e-12)
    return merit - RELUCTANCE * span * 2 * (0.5 - works).clamp_min(0.0)[:, None]


def search(
    space: Space,
    encode: Callable[[Sequence[Point]], torch.Tensor],
    merit: Merit,
    known: Sequence[Point],
    rng: np.random.Generator,
) -> list[Point]:
    """Points with the largest merit.

    Args:
        space: a Finite one is listed, any other sampled and varied within its box and by mutation, as far as it can be.
        encode: points to (n, d) float64.
        merit: see `Merit`.
        known: measured points; those that could be planned are among the first that are looked at.
        rng: of samples and variations.

    Returns:
        The best point; with k > 1 up to `LEADERS` of those that no other beats, spread over the front.
    """
    if isinstance(space, Finite):
        points = list(space.points)
        return [points[i] for i in _leaders(merit(encode(points)), 1)]
    points = _unique([*(space.sample(rng) for _ in range(SAMPLES)), *_planned(space, known, encode)])
    values = merit(encode(points))
    for round_ in range(ROUNDS):
        best = [points[i] for i in _leaders(values, LEADERS)]
        fresh = varied(space, best, FIRST_STEP / 2**round_, encode, Tried(), rng)
        seen = {key(p) for p in points}
        fresh = [p for p in _unique(fresh) if key(p) not in seen]
        if fresh:
            points, values = [*points, *fresh], torch.cat([values, merit(encode(fresh))])
    return [points[i] for i in _leaders(values, 1)]


def _leaders(values: torch.Tensor, count: int) -> list[int]:
    """Indices of the best, best first; of several columns those that no other beats, at most `LEADERS`."""
    if values.shape[1] == 1:
        return values[:, 0].argsort(descending=True, stable=True)[:count].tolist()
    front = torch.nonzero(is_non_dominated(values)).flatten()
    front = front[values[front, 0].argsort(descending=True, stable=True)]
    kept = torch.linspace(0, len(front) - 1, min(len(front), LEADERS)).round().long()
    return front[kept].tolist()


def _planned(space: Any, points: Sequence[Point], encode: Callable[[Sequence[Point]], torch.Tensor]) -> list[Point]:
    """What could be planned at or next to measured points."""
    found = []
    for point in points:
        try:
            space.check(point)
            found.append(point)
        except InvalidPoint:
            if isinstance(space, Vectorised):
                low, high = np.asarray(space.bounds)
                found.append(space.decode(np.clip(encode([point])[0].numpy(), low, high)))
    return found


def _unique(points: Sequence[Point]) -> list[Point]:
    return list({key(p): p for p in points}.values())
