"""What an experiment costs, known or learned, so that improvement per unit of cost can be sought.

Dividing by the cost for ever would only ever buy what is cheap. With a budget the exponent of the cost falls from one
to zero as it is spent (EI-cooling), so that what is dear but good is bought in the end.

Reference: Lee, Perrone, Archambeau & Seeger, "Cost-aware Bayesian optimization", 2020.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Composed, Finite, Parametric, Space, Vectorised
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Point, Trial
from matloop.search_spaces.experiment.expression import Formula

LEARNED = "learned"
LEAST_RECORDED = 3
"""Trials with a cost before it is learned from them."""

SURVEY = 64
"""Random points at which a cost is worked out before anything is measured."""


class Cost:
    """Logarithm of the cost of points: worked out from what they are, or learned from what trials have cost."""

    def __init__(self, source: str, *, space: Space, budget: float | None, seed: int) -> None:
        """Set it up.

        Args:
            source: "learned", a parameter of a point, or a formula of several, such as "0.5 + 0.02 * hours"; see
                `matloop.search_spaces.experiment.expression`. > 0 everywhere.
            space: of the points.
            budget: of cost, all trials together, > 0; None keeps the exponent at one.
            seed: of the fits.

        Raises:
            ConfigError: it cannot be read, names no parameter of the space, or is not positive everywhere.
        """
        if budget is not None and not budget > 0:
            raise ConfigError(f"expected cost_budget > 0, got {budget}", at="cost_budget")
        self.source, self.budget, self.seed = source, budget, seed
        self.spent = 0.0
        self._space = space
        self._points: list[Point] = []
        self._costs: list[float] = []
        self._fitted: tuple[int, Any] | None = None
        self._formula: Formula | None = None
        if source != LEARNED:
            points = _survey(space)
            names = _names(space, points)
            self._formula = Formula(f"`{source}`" if source in names else source, names, "cost")
            for point in points:
                self._of(point)

    def tell(self, trial: Trial) -> None:
        """Count what a finished trial has cost: what it says, else by the formula, else 1; a cancelled one nothing.

        One that was done and set aside has had its cost, which is not learned from.
        """
        if trial.state == "cancelled" and not trial.was_done:
            return
        cost = trial.cost
        if cost is None and self._formula is not None:
            worked_out = self._formula(trial.point)
            cost = worked_out if _positive(worked_out) else None  # what was done need not be what may be planned
        self.spent += 1.0 if cost is None else cost
        if cost is not None and cost > 0 and trial.state != "cancelled":
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
        if self._formula is not None:
            return lambda points, x: torch.tensor([math.log(self._dear(p)) for p in points], dtype=torch.float64)
        if len(self._costs) < LEAST_RECORDED:
            return lambda points, x: torch.zeros(len(x), dtype=torch.float64)
        if self._fitted is None or self._fitted[0] != len(self._costs):
            from matloop.surrogates.gaussian_process.gp import GP

            logs = torch.as_tensor(np.log(self._costs))[:, None]
            self._fitted = len(self._costs), GP(space=self._space).fit(encode(self._points), logs, self.seed)
        model = self._fitted[1]
        return lambda points, x: model.posterior(x.unsqueeze(1)).mean[:, 0, 0]

    def _dear(self, point: Point) -> float:
        """The cost; where it is too large to be computed, the largest number: too dear, but no end of the study."""
        assert self._formula is not None
        return sys.float_info.max if self._formula(point) == math.inf else self._of(point)

    def _of(self, point: Point) -> float:
        assert self._formula is not None
        value = self._formula(point)
        if not _positive(value):
            raise ConfigError(
                f"expected cost {self.source!r} to be a number > 0 everywhere, got {value:g} at {dict(point)}; "
                "add what an experiment costs at least, as in '1 + …', or use `cost: learned`",
                at="cost",
            )
        return value


def _positive(value: float) -> bool:
    return value > 0 and math.isfinite(value)


def _survey(space: Space) -> Sequence[Point]:
    """Points at which a cost is worked out beforehand: all of a finite space, else random ones and two corners."""
    if isinstance(space, Finite):
        return space.points
    rng = derive("cost")
    points = [space.sample(rng) for _ in range(SURVEY)]
    return [*points, *(space.decode(corner) for corner in space.bounds)] if isinstance(space, Vectorised) else points


def _names(space: Any, points: Sequence[Point]) -> dict[str, Sequence[Any]]:
    """Keys of the space's points, each with its choices if it has any, as a `Formula` wants them."""
    if isinstance(space, Composed):
        parts = space.product
        return {**dict.fromkeys(parts.names, ()), **(_names(parts.box, ()) if parts.box else {})}
    if isinstance(space, Parametric):
        return {parameter.name: parameter.choices for parameter in space.parameters}
    names = dict.fromkeys(name for point in points for name in point)
    seen = {name: [point[name] for point in points if name in point] for name in names}
    return {
        name: () if all(_number(value) for value in values) else tuple(dict.fromkeys(map(str, values)))
        for name, values in seen.items()
    }


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
