"""What answered trials say, as models and acquisition functions see it: gains, gaps, sides, limits that are kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from matloop.orchestrator.strategies.modelled.analytic import log_within
from matloop.orchestrator.strategies.modelled.covariance import moments
from matloop.orchestrator.strategies.modelled.scales import Scales
from matloop.orchestrator.trial import Objective, Trial, keeps_limits, losses
from matloop.surrogates.outputs import subset

if TYPE_CHECKING:
    from botorch.models.model import Model

LEAST = 2
"""Values of each objective before a model is asked."""


def gains(trials: Sequence[Trial], objectives: Sequence[Objective]) -> torch.Tensor:
    """(n, m) float64: values in their units, with the sign that makes larger better; NaN where one is still to come."""
    return torch.as_tensor(-losses(trials, objectives))


def noises(trials: Sequence[Trial], objectives: Sequence[Objective]) -> npt.NDArray[np.float64]:
    """(n, m) float64: standard deviations of the measurements, NaN where unknown."""
    rows = [[t.noise.get(o.name, np.nan) for o in objectives] for t in trials]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(objectives))


def sides(trials: Sequence[Trial], objectives: Sequence[Objective]) -> npt.NDArray[np.int_]:
    """(n, m) int: -1 where the true gain lies below what is recorded, 1 where above, 0 where it was measured."""
    known = {"below": -1, "above": 1}
    rows = [
        [-round(o.loss(known[t.censored[o.name]])) if o.name in t.censored else 0 for o in objectives] for t in trials
    ]
    return np.array(rows, dtype=np.int_).reshape(len(rows), len(objectives))


def enough(trials: Sequence[Trial], objectives: Sequence[Objective]) -> bool:
    """Whether there are values of every objective to fit a model to."""
    return all(sum(o.name in (t.values or {}) for t in trials) >= LEAST for o in objectives)


def settled(model: Model, x: torch.Tensor, y: torch.Tensor, side: npt.NDArray[np.int_]) -> torch.Tensor:
    """(n, m) gains with what the model expects in place of gaps, and of limits where that is on their side.

    Args:
        model: of the gains.
        x: (n, d) float64, measured points.
        y: (n, m) float64 gains, NaN where one is missing.
        side: (n, m), see `sides`.
    """
    gaps, limits = y.isnan(), torch.as_tensor(side)
    if not bool(gaps.any()) and not bool(limits.any()):
        return y
    with torch.no_grad():
        expected = moments(model, x.unsqueeze(1), None, y[0])[0]
    found = torch.where(gaps, expected, y)
    found = torch.where(limits < 0, torch.minimum(y, expected), found)
    return torch.where(limits > 0, torch.maximum(y, expected), found)


class Limits:
    """The limits that some outcomes have to keep, each by its own model.

    Args:
        objectives: m, in the order of the model's outputs.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.outputs = [j for j, o in enumerate(objectives) if o.limited]
        self.goals = [j for j, o in enumerate(objectives) if o.sought]
        self._objectives = [objectives[j] for j in self.outputs]
        rows = []
        for o in self._objectives:
            low = -math.inf if o.at_least is None else o.at_least
            high = math.inf if o.at_most is None else o.at_most
            rows.append(sorted([-o.loss(low), -o.loss(high)]))
        self.low, self.high = torch.tensor(rows, dtype=torch.float64).reshape(-1, 2).T

    def on(self, scales: Scales) -> Limits:
        """The same in the units of models that see the objectives on these scales."""
        found = copy.copy(self)
        ends = scales.some(self.outputs).limits(torch.stack([self.low, self.high]))
        found.low, found.high = ends.unbind(dim=0)
        return found

    def __bool__(self) -> bool:
        return bool(self.outputs)

    def kept(self, trials: Sequence[Trial]) -> list[int]:
        """Indices of the trials that are known to keep all limits."""
        return [i for i, t in enumerate(trials) if keeps_limits(t, self._objectives)]

    def each(self, model: Model, x: torch.Tensor) -> torch.Tensor:
        """(n, k) logarithm of the probability that each limit is kept by the function at (n, d) points; differentiable.

        Args:
            model: of the gains of all objectives, fitted apart.
            x: (n, d) float64.
        """
        mean, variance = moments(subset(model, self.outputs), x.unsqueeze(1), None, self.low)
        return log_within(self.low, self.high, mean, variance)

    def log_probability(self, model: Model, x: torch.Tensor) -> torch.Tensor:
        """(n,) the same of all of them at once, outputs being independent."""
        return self.each(model, x).sum(dim=-1)

    def chances(self, model: Model, x: torch.Tensor) -> dict[str, float]:
        """Probability that each limit is kept at a point (d,), by name of the objective."""
        with torch.no_grad():
            logs: Any = self.each(model, x[None])[0]
        return {o.name: math.exp(value) for o, value in zip(self._objectives, logs.tolist(), strict=True)}

    @property
    def text(self) -> str:
        """All of them in words."""
        return " and ".join(f"{o.name} {o.limits}" for o in self._objectives)
