"""Where the largest acquisition value is looked for: among candidates, by gradients, and by mutation.

A product space of 10¹⁴ points is never listed. It is sampled, the best measured points are varied, and from the best
of both one climbs: by gradients where the space is a box to its encoding, and by mutation where points can be varied,
which also moves categories and components that gradients cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.optim.optimize import optimize_acqf

from orchestrator.protocols import Evolvable, Vectorised
from orchestrator.strategies.tried import key
from orchestrator.trial import Point

CHILDREN = 16
"""Mutants of each point in a round of the climb by mutation."""

ROUNDS = 8
"""Most rounds of it; it ends with the first that brings nothing."""

CHUNK = 256
"""Points at which an acquisition function is evaluated at once."""

Score = Callable[[Sequence[Point], torch.Tensor], torch.Tensor]
"""Points and the same encoded, (n, d), to (n,) values; -inf for the worst."""


def evaluate(function: AcquisitionFunction, x: torch.Tensor) -> torch.Tensor:
    """(n, d) -> (n,) acquisition values; NaN counts as worst."""
    with torch.no_grad():
        values = torch.cat([function(part.unsqueeze(1)) for part in torch.split(x, CHUNK)])
    return values.nan_to_num(nan=-torch.inf, neginf=-torch.inf)


def climb(function: AcquisitionFunction, starts: torch.Tensor, space: Vectorised, iterations: int) -> list[Point]:
    """Valid points nearest to local maxima of the acquisition function within bounds.

    Args:
        function: differentiable.
        starts: (r, d) float64.
        space: whose bounds and points they are.
        iterations: most steps of L-BFGS-B.
    """
    found, _ = optimize_acqf(
        function,
        bounds=torch.as_tensor(space.bounds, dtype=torch.float64),
        q=1,
        num_restarts=len(starts),
        batch_initial_conditions=starts.unsqueeze(1),
        return_best_only=False,
        options={"maxiter": iterations},
        retry_on_optimization_warning=False,
    )
    return [space.decode(row) for row in found[:, 0].detach().numpy()]


class Found:
    """Candidates and their values, each point once."""

    def __init__(self, encode: Callable[[Sequence[Point]], torch.Tensor], score: Score) -> None:
        """Args: encode: points -> (n, d); score: see `Score`."""
        self._encode, self._score = encode, score
        self.points: list[Point] = []
        self._keys: set[str] = set()
        self.x = torch.empty((0, 0), dtype=torch.float64)
        self.values = torch.empty(0, dtype=torch.float64)

    def add(self, points: Sequence[Point]) -> None:
        """Score points that are new."""
        fresh = {k: p for p in points if (k := key(p)) not in self._keys}
        if not fresh:
            return
        self._keys.update(fresh)
        x = self._encode(list(fresh.values()))
        self.values = torch.cat([self.values, self._score(list(fresh.values()), x)])
        self.x = torch.cat([self.x, x]) if len(self.x) else x
        self.points += fresh.values()

    def leaders(self, count: int) -> list[int]:
        """Indices of the best, best first."""
        return self.values.argsort(descending=True, stable=True)[:count].tolist()

    def mutate(
        self, space: Evolvable, leaders: int, untried: Callable[[Sequence[Point]], list[Point]], rng: Any
    ) -> None:
        """Climb by mutation from the best points until a round brings nothing."""
        for _ in range(ROUNDS):
            before = float(self.values.max())
            parents = [self.points[i] for i in self.leaders(leaders)]
            self.add(untried([space.mutate(p, rng) for p in parents for _ in range(CHILDREN)]))
            if not float(self.values.max()) > before + 1e-6 * abs(before):
                return

    @property
    def best(self) -> int:
        """Index of the largest value."""
        return int(np.argmax(self.values.numpy()))
