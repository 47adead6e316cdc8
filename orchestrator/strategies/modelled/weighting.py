"""An acquisition function weighed by the probability that the experiment works and by what it costs.

Logarithms of non-negative acquisition values add: log acquisition + log probability - exponent x log cost. A bound or a
sample function is a utility, which may have either sign; there a failure counts as the worst that was measured.

An experiment that breaks a limit on an outcome counts for nothing; its probability to keep them multiplies likewise.

Once the best of what works is nearly found, hardly any improvement is expected there, and even an all but hopeless
experiment beyond the edge, where the model extrapolates, would look better. What is more likely to fail than to work is
therefore held back by a steep slope, which leaves the edge itself to be explored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.utils.transforms import t_batch_mode_transform

from matloop.orchestrator.strategies.modelled.candidates import evaluate
from matloop.orchestrator.strategies.modelled.feasibility import Feasibility
from matloop.orchestrator.trial import Point

STEEPNESS = 60.0
"""Of the slope below a probability of one half, in nats or spreads of the measured values."""


@dataclass(frozen=True)
class Weights:
    """What an acquisition value is weighed by.

    Attributes:
        logarithmic: whether the acquisition function's values are logarithms.
        worst: utility of a failure, where they are not.
        feasibility: None while nothing has failed.
        kept: points, (n, d), to the logarithm of the probability that all limits on outcomes are kept; None without.
        cost: points and the same encoded to logarithms of cost; None if it does not matter.
        exponent: of the cost.
        learned: whether the cost is a function of the encoded points alone.
    """

    logarithmic: bool
    worst: float
    feasibility: Feasibility | None = None
    cost: Callable[..., torch.Tensor] | None = None
    exponent: float = 1.0
    learned: bool = False
    kept: Callable[[torch.Tensor], torch.Tensor] | None = None

    def score(self, function: AcquisitionFunction, points: Sequence[Point], x: torch.Tensor) -> torch.Tensor:
        """(n,) weighed values at points and the same encoded, (n, d)."""
        with torch.no_grad():
            values = self._feasible(evaluate(function, x), x)
            return values if self.cost is None else values - self.exponent * self.cost(points, x)

    def differentiable(self, function: AcquisitionFunction) -> AcquisitionFunction:
        """The function weighed by what is known of the encoded point alone."""
        if self.feasibility is None and self.kept is None and not (self.cost and self.learned):
            return function
        return _Weighed(function, self)

    def of_values(self, values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """As `score` without costs that need the points: (n,) values at (n, d)."""
        values = self._feasible(values, x)
        return values - self.exponent * self.cost((), x) if self.cost and self.learned else values

    def _feasible(self, values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        if self.feasibility is None and self.kept is None:
            return values
        reluctance, log_probability = torch.zeros_like(values), torch.zeros_like(values)
        if self.feasibility is not None:
            log_probability = self.feasibility.log_probability(x)
            reluctance = STEEPNESS * (log_probability.exp() - 0.5).clamp_max(0.0)
        if self.kept is not None:
            log_probability = log_probability + self.kept(x)
        if self.logarithmic:
            return values + log_probability + reluctance
        weighed = self.worst + log_probability.exp() * (values - self.worst) + reluctance
        return torch.where(values.isfinite(), weighed, values)


class _Weighed(AcquisitionFunction):
    def __init__(self, function: Any, weights: Weights) -> None:
        super().__init__(model=function.model)
        self.function, self.weights = function, weights

    @t_batch_mode_transform(expected_q=1)  # type: ignore[arg-type]
    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """b x 1 x d -> (b,)."""
        return self.weights.of_values(self.function(X), X[:, 0])
