"""Structures that are like the data, and the way back to them, which costs no call of the driver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from matloop.orchestrator.protocols import Array, Space
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.design.data import data_of
from matloop.orchestrator.strategies.design.likeness import ROUNDING, Likeness
from matloop.orchestrator.strategies.design.structures import Structures
from matloop.orchestrator.trial import Proposal, Unanswered

DATA = 500
"""Structures that stand for the data."""

DRAWN = 64
"""Random structures drawn at a time in search of some that are like the data."""

ROUNDS = 16
"""Most such draws; then any have to do."""

STEPS = 30
"""Most steps on the way back."""

STEP = 0.03
"""Length of each, in the measure of `Structures.moved`."""


class Admissible:
    """What a search may propose.

    Args:
        space: Vectorised and Rendering, as `latent` is.
        user: the strategy.
        like_data: share of the data within each limit, in (0, 1); None for no limits.
        smallest_feature: pixels; 0 for no limit.
        seed: of the structures that stand for the data.

    Attributes:
        structures: of the space.
        likeness: the limits.
    """

    def __init__(self, space: Space, user: str, *, like_data: float | None, smallest_feature: int, seed: int) -> None:
        self.structures = Structures(space, user)
        data = data_of(self.structures, DATA, derive(seed, "data"))
        self.likeness = Likeness(data, share=like_data, smallest_feature=smallest_feature)

    def fresh(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> Array:
        """n random vectors, (n, d), none of which is on its way."""
        found = np.empty((0, self.structures.bounds.shape[1]))
        taken = self.structures.vectors([one.point for one in pending])
        for _ in range(ROUNDS):
            drawn = self.structures.random(max(n - len(found), DRAWN if self.likeness.limited else 1), rng)
            drawn = drawn[~(drawn[:, None] == taken).all(axis=2).any(axis=1)]
            found = np.concatenate([found, drawn[self.likeness.holds(self.structures.labels(drawn, torch.float64))]])
            if len(found) >= n:
                return found[:n]
        return np.concatenate([found, self.structures.random(n - len(found), rng)])

    def restored(self, z: Array) -> Array | None:
        """The vector (d,), or one close to it that keeps all limits; None if none was found.

        Each step goes down the sum of what the labels exceed, by the straight-through estimator.
        """
        if not self.likeness.limited:
            return z
        for _ in range(STEPS + 1):
            labels = self.structures.labels(z[None], torch.float64)
            pixels = torch.tensor(labels, dtype=torch.float64, requires_grad=True)
            excess = self.likeness.excess(pixels).sum()
            if excess.item() <= ROUNDING:
                return z
            (slope,) = torch.autograd.grad(excess, pixels)
            direction = -self.structures.slope(z, slope[0].numpy())
            if not np.isfinite(direction).all() or not direction.any():
                return None
            z = self.structures.moved(z, direction, STEP)
        return None

    def proposal(
        self, z: Array, reason: str, notes: dict[str, Any], parents: tuple[int, ...] = (), **fields: Any
    ) -> Proposal:
        """With the statistics of its structure, and which of them lie outside the data."""
        point = self.structures.point(z)
        labels = self.structures.labels(self.structures.vectors([point]), torch.float64)[0]
        statistics = self.likeness.of(labels)
        outside = self.likeness.broken(statistics)
        words = f"{reason}; outside the data: {', '.join(outside)}" if outside else reason
        extra = {**notes, "statistics": statistics, "outside": outside}
        return Proposal(point=point, reason=words, parents=parents, extra=extra, **fields)
