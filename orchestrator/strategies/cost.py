"""What an experiment costs, known or learned, so that improvement per unit of cost can be sought.

Dividing by the cost for ever would only ever buy what is cheap. With a budget the exponent of the cost falls from one
to zero as it is spent (EI-cooling), so that what is dear but good is bought in the end.

Reference: Lee, Perrone, Archambeau & Seeger, "Cost-aware Bayesian optimization", 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from orchestrator.errors import ConfigError
from orchestrator.protocols import Space
from orchestrator.trial import Point, Trial

LEARNED = "learned"
LEAST_RECORDED = 3
"""Trials with a cost before it is learned from them."""


class Cost:
    """Logarithm of the cost of points: of a column of theirs, or learned from what trials have cost."""

    def __init__(self, source: str, *, space: Space, budget: float | None, seed: int) -> None:
        """Set it up.

        Args:
            source: "learned", or the parameter of a point that is its cost, > 0.
            space: of the points.
            budget: of cost, all trials together, > 0; None keeps the exponent at one.
            seed: of the fits.
        """
        if budget is not None and not budget > 0:
            raise ConfigError(f"expected cost_budget > 0, got {budget}")
        self.source, self.budget, self.seed = source, budget, seed
        self.spent = 0.0
        self._space = space
        self._points: list[Point] = []
        self._costs: list[float] = []
        self._fitted: tuple[int, Any] | None = None

    def tell(self, trial: Trial) -> None:
        """Count what a finished trial has cost; one that does not say counts as 1."""
        cost = trial.cost if self.source == LEARNED else self._of(trial.point)
        self.spent += 1.0 if cost is None else cost
        if cost is not None and cost > 0:
            self._points.append(trial.point)
            self._costs.append(cost)

    @property
    def exponent(self) -> float:
        """Of the cost in the acquisition: 1 at first, 0 when the budget is spent."""
        return 1.0 if self.budget is None else max(0.0, 1.0 - self.spent / self.budget)

    def logarithm(self, encode: Callable[[Sequence[Point]], torch.Tensor]) -> Callable[..., torch.Tensor]:
        """Function of points and the same encoded, (n, d), to (n,) logarithms of their cost.

        The learned one needs only the latter and is differentiable; where too little is known it is zero.
        """
        if self.source != LEARNED:
            return lambda points, x: torch.tensor([math.log(self._of(p)) for p in points], dtype=torch.float64)
        if len(self._costs) < LEAST_RECORDED:
            return lambda points, x: torch.zeros(len(x), dtype=torch.float64)
        if self._fitted is None or self._fitted[0] != len(self._costs):
            from surrogates.gp import GP

            logs = torch.as_tensor(np.log(self._costs))[:, None]
            self._fitted = len(self._costs), GP(space=self._space).fit(encode(self._points), logs, self.seed)
        model = self._fitted[1]
        return lambda points, x: model.posterior(x.unsqueeze(1)).mean[:, 0, 0]

    def _of(self, point: Point) -> float:
        value = point.get(self.source)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ConfigError(
                f"expected the cost of a point in its {self.source!r}, a number > 0, got {value!r} in {dict(point)}; "
                "name another parameter under `cost`, or `cost: learned`"
            )
        return float(value)
