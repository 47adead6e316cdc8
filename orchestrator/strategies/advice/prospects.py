"""Untried points that could be better than all tried: the rest of a finite space, or a search over any other one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from matloop.orchestrator.protocols import Evolvable, Finite, Space, Vectorised
from matloop.orchestrator.strategies.advice.stopping import promising
from matloop.orchestrator.strategies.advice.worth import Score
from matloop.orchestrator.strategies.tried import Tried, key
from matloop.orchestrator.trial import Point

if TYPE_CHECKING:
    from botorch.models.model import Model

SAMPLES = 768
LEADERS = 16
CHILDREN = 8
ROUNDS = 2


def prospects(
    space: Space,
    model: Model,
    encode: Callable[[Sequence[Point]], torch.Tensor],
    sample: Callable[[int], list[Point]],
    best: Sequence[Point],
    tried: Tried,
    rng: np.random.Generator,
    score: Score,
) -> torch.Tensor:
    """Encoded candidates for `stopping.outlook`.

    Args:
        space: a Finite one is listed; any other is sampled, and varied around the best measured points and around those
            that may be worth most, by mutation if it is Evolvable, within its box if it is Vectorised.
        model: of gains.
        encode: points -> (n, d) float64.
        sample: up to n random untried points.
        best: measured points, best first.
        tried: points that are left out.
        rng: of the variations.
        score: how much a point may be worth.

    Returns:
        (c, d) float64; c may be 0.
    """
    if isinstance(space, Finite):
        return encode([p for p in space.points if key(p) not in tried])
    points = sample(SAMPLES) + varied(space, list(best[:LEADERS]), 0.1, encode, tried, rng)
    for round_ in range(ROUNDS if points else 0):
        x = encode(points)
        with torch.no_grad():
            leaders = promising(model, x, LEADERS, score).tolist()
        points += varied(space, [points[i] for i in leaders], 0.1 / 4**round_, encode, tried, rng)
    return encode(list({key(p): p for p in points}.values()))


def varied(
    space: Space,
    points: Sequence[Point],
    width: float,
    encode: Callable[[Sequence[Point]], torch.Tensor],
    tried: Tried,
    rng: np.random.Generator,
) -> list[Point]:
    """Untried neighbours of points; `width` is the standard deviation of a step, in ranges of the box."""
    found: list[Point] = []
    if isinstance(space, Vectorised) and points:
        low, high = np.asarray(space.bounds)
        centres = np.repeat(encode(points).numpy(), CHILDREN, axis=0)
        steps = width * (high - low) * rng.normal(size=centres.shape)
        found += [space.decode(row) for row in np.clip(centres + steps, low, high)]
    if isinstance(space, Evolvable):
        found += [space.mutate(p, rng) for p in points for _ in range(CHILDREN)]
    return [p for p in found if key(p) not in tried]
