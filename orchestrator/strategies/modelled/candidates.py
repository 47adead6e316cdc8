"""Where the largest acquisition value is looked for: among candidates, by climbing from the best, and by mutation.

A product space of 10¹⁴ points is never listed. It is sampled, the best measured points are varied, and from the best
of both one climbs. Where the space is a box to its encoding and the model smooth, by gradients. A model that has steps
in it, as trees have, misleads gradients: they are blind to the steps, and line searches stumble over them; there, many
nearby places are tried at once, ever nearer. Then by mutation where points can be varied, which also moves categories
and components.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.optim.optimize import optimize_acqf

from matloop.orchestrator.protocols import Column, Evolvable, Stepped, Vectorised
from matloop.orchestrator.strategies.tried import key
from matloop.orchestrator.trial import Point
from matloop.search_spaces.columns import blocks, labels

CHILDREN = 16
"""Mutants of each point in a round of the climb by mutation."""

ROUNDS = 8
"""Most rounds of it; it ends with the first that brings nothing."""

CHUNK = 256
"""Points at which an acquisition function is evaluated at once."""

TOLERANCE = 1e-4
"""Relative improvement per step of L-BFGS-B at which it ends: of a logarithm, all but nothing."""

TRIALS = 24
"""Places tried around each start in a round."""

FIRST_STEP = 0.15
"""Standard deviation of the first of them, in ranges."""

Score = Callable[[Sequence[Point], torch.Tensor], torch.Tensor]
"""Points and the same encoded, (n, d), to (n,) values; -inf for the worst."""


def evaluate(function: AcquisitionFunction, x: torch.Tensor) -> torch.Tensor:
    """(n, d) -> (n,) acquisition values; NaN counts as worst."""
    with torch.no_grad():
        values = torch.cat([function(part.unsqueeze(1)) for part in torch.split(x, CHUNK)])
    return values.nan_to_num(nan=-torch.inf, neginf=-torch.inf)


def climb(
    function: AcquisitionFunction,
    starts: torch.Tensor,
    space: Vectorised,
    iterations: int,
    rng: np.random.Generator,
) -> list[Point]:
    """Valid points nearest to local maxima of the acquisition function within bounds.

    Args:
        function: differentiable, unless its model is `Stepped`.
        starts: (r, d) float64.
        space: whose bounds and points they are.
        iterations: most steps of L-BFGS-B, or rounds of trials.
        rng: of the trials.
    """
    if isinstance(function.model, Stepped) and function.model.stepped:
        found = by_trials(function, starts, space, iterations, rng)
    else:
        found = _by_gradients(function, starts, space, iterations)
    return [space.decode(row) for row in found.numpy()]


def _by_gradients(
    function: AcquisitionFunction, starts: torch.Tensor, space: Vectorised, iterations: int
) -> torch.Tensor:
    found, _ = optimize_acqf(
        function,
        bounds=torch.as_tensor(space.bounds, dtype=torch.float64),
        q=1,
        num_restarts=len(starts),
        batch_initial_conditions=starts.unsqueeze(1),
        return_best_only=False,
        options={"maxiter": iterations, "factr": TOLERANCE / np.finfo(float).eps},
        retry_on_optimization_warning=False,
    )
    return found[:, 0].detach()


def by_trials(
    function: AcquisitionFunction,
    starts: torch.Tensor,
    space: Vectorised,
    rounds: int,
    rng: np.random.Generator,
) -> torch.Tensor:
    """(r, d) places that were reached from each start by normal steps in some of the columns, the best of each round.

    A step widens by a third where it led up and halves where it did not. Columns of categories and descriptors stay;
    amounts of a mixture keep their sum, but for bounds. Arguments are those of `climb`.
    """
    lower, upper = (torch.as_tensor(bound, dtype=torch.float64) for bound in space.bounds)
    columns = labels(space) or (Column("", "number"),) * starts.shape[1]
    movable = torch.tensor([column.kind in ("number", "mixture") for column in columns])
    mixtures = [indices for _, kind, indices in blocks(columns) if kind == "mixture"]
    x, values, (r, d) = starts.clone(), evaluate(function, starts), starts.shape
    widths = torch.full((r, 1, 1), FIRST_STEP, dtype=torch.float64)
    for _ in range(rounds):
        some = rng.random((r, TRIALS, d)) < np.maximum(rng.random((r, TRIALS, 1)), 1 / d)
        moves = torch.as_tensor(rng.normal(size=(r, TRIALS, d)) * some) * movable
        for indices in mixtures:
            moves[..., indices] -= moves[..., indices].mean(dim=-1, keepdim=True)
        tried = torch.clamp(x[:, None] + widths * (upper - lower) * moves, lower, upper)
        best, places = evaluate(function, tried.reshape(-1, d)).reshape(r, TRIALS).max(dim=1)
        better = best > values
        x = torch.where(better[:, None], tried[torch.arange(r), places], x)
        values = torch.maximum(values, best)
        widths = widths * torch.where(better, 4 / 3, 0.5)[:, None, None]
    return x


class Evaluated:
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
