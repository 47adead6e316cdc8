"""How uncertain a model is at candidates, and how much less so it would be everywhere if one of them were measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch

from matloop.orchestrator.strategies.modelled.covariance import condition, joint_covariance
from matloop.orchestrator.strategies.modelled.information import information
from matloop.orchestrator.trial import Objective

if TYPE_CHECKING:
    from botorch.models.model import Model

Measure = Literal["integrated_variance", "variance", "bald"]


class Variances:
    """Candidates by the joint covariance of the function at them, given all that is known or on its way."""

    def __init__(
        self,
        model: Model,
        candidates: torch.Tensor,
        known: torch.Tensor,
        *,
        measure: Measure,
        spread: torch.Tensor,
        objectives: Sequence[Objective],
    ) -> None:
        """Condition the covariance on what will be known.

        Args:
            model: with a Gaussian or an ensemble posterior.
            candidates: (n, d) float64, n >= 1.
            known: (k, d) float64, points that the model has not seen the answers of but will.
            measure: what a candidate is judged by, see `ActiveLearning`.
            spread: (m,) variance of each objective's measured values.
            objectives: m.
        """
        self._weight = weights(spread)[:, None]
        self._model, self._x, self._measure, self._objectives = model, candidates, measure, objectives
        covariance, self._noise = joint_covariance(model, torch.cat([known, candidates]))
        for i in range(len(known)):
            covariance = condition(covariance, self._noise, i)
        self._covariance = covariance[:, len(known) :, len(known) :]

    def score(self) -> torch.Tensor:
        """(n,) float64, larger is better."""
        variance = self._variance()
        match self._measure:
            case "integrated_variance":
                return (self._gain() * self._weight).sum(dim=0)
            case "variance":
                return (variance * self._weight).sum(dim=0)
            case "bald":
                return information(self._model, self._x, variance, self._noise)

    def pick(self, score: torch.Tensor) -> int:
        """The largest."""
        return int(score.argmax())

    def add(self, i: int) -> None:
        """Count candidate i among the places that will be known."""
        self._covariance = condition(self._covariance, self._noise, i)

    def mean(self, scale: torch.Tensor) -> float:
        """Mean variance over the candidates, each objective's (m,) times `scale`.

        Squared unit of the only objective; of several, the mean over them, in spreads of the measured values.
        """
        variance = self._variance().clamp_min(0.0) * scale[:, None]
        if len(self._objectives) == 1:
            return float(variance.mean())
        return float((variance * self._weight).mean())

    def reason(self, i: int) -> str:
        """Why candidate i."""
        variance, weight = self._variance(), self._weight
        before = (variance * weight).sum(dim=0)
        after = (before.mean() - (self._gain() * weight).sum(dim=0)[i]).clamp_min(0.0)
        cut = 100 * (1 - float((after / before.mean().clamp_min(1e-300)).sqrt()))
        if len(self._objectives) == 1:
            here, mean, unit = variance[0, i], variance[0].mean(), self._objectives[0].unit
        else:
            here, mean, unit = before[i], before.mean(), "spreads of the measured values"
        numbers = f"{float(here.sqrt()):.3g} here against {float(mean.sqrt()):.3g} on average"
        return f"expected to reduce the mean uncertainty by {cut:.1f} % ({numbers}{unit and ' ' + unit})"

    def _variance(self) -> torch.Tensor:
        """(m, n)."""
        return self._covariance.diagonal(dim1=1, dim2=2)

    def _gain(self) -> torch.Tensor:
        """(m, n): by how much measuring each candidate would reduce the mean variance."""
        return (self._covariance**2).mean(dim=2) / (self._variance() + self._noise[:, None])


def weights(spread: torch.Tensor) -> torch.Tensor:
    """(m,) of each objective's variance, from (m,) variances of its measured values; 1 if it was always the same."""
    weight = 1 / spread.clamp_min(1e-300)
    return torch.where(weight >= 1e299, torch.ones_like(weight), weight)
