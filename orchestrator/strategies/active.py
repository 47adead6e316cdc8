"""Active learning: measure where knowing the answer most improves the model over the whole space.

The default criterion, active learning Cohn (Cohn, Ghahramani & Jordan, JAIR 1996), counts how much a measurement
reduces the variance averaged over the space, pending measurements included. It needs only the joint covariance of
the function at a sample of points, which a Gaussian process gives in closed form and a network with fixed dropout
masks as the covariance of its sample functions. The largest variance alone is drawn to remote corners.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from orchestrator.errors import ConfigError
from orchestrator.protocols import Space, Surrogate
from orchestrator.strategies.covariance import condition, joint_covariance
from orchestrator.strategies.explanation import Choice
from orchestrator.strategies.information import information
from orchestrator.strategies.modelled import ModelBased
from orchestrator.strategies.tried import Taken
from orchestrator.trial import Objective, Proposal, Trial

if TYPE_CHECKING:
    from botorch.models.model import Model


class ActiveLearning(ModelBased):
    """Learns the objectives over the space's own distribution with few measurements."""

    name = "active_learning"
    seeks_best = False

    def __init__(
        self,
        *,
        space: Space,
        objectives: tuple[Objective, ...],
        surrogate: Surrogate | None = None,
        initial: int = 10,
        data: Sequence[Trial] = (),
        acquisition: Literal["integrated_variance", "variance", "bald"] = "integrated_variance",
        candidates: int = 512,
        refit_every: int = 1,
        explain: bool = True,
        seed: int = 0,
    ) -> None:
        """Set up the strategy.

        Args:
            space: Encodable; its `sample` (or its points, if Finite) defines where the model has to be good.
            objectives: what to learn; several are weighed by the spread of their measured values.
            surrogate: fitted to what was measured.
            initial: answered trials before the model is asked, >= 2; until then points fill the space.
            data: finished trials of an earlier study; they count towards `initial`.
            acquisition: integrated_variance reduces the mean variance over the space; variance goes where it is
                largest; bald where a measurement tells most about the model (Houlsby et al., 2011), which for one
                objective with constant noise and a Gaussian process is the same place.
            candidates: points of the space considered at each ask, and over which the variance is averaged, >= 2.
            refit_every: answers between fits, >= 1; answers in between count as places that are known.
            explain: record with each proposal why it was made; false saves the time.
            seed: of the fits and the space-filling points.
        """
        if acquisition not in ("integrated_variance", "variance", "bald"):
            raise ConfigError(
                f"{self.name}: expected acquisition 'integrated_variance', 'variance' or 'bald', got {acquisition!r}"
            )
        if candidates < 2:
            raise ConfigError(f"{self.name}: expected candidates >= 2, got {candidates}")
        self.acquisition = acquisition
        self.candidates = candidates
        super().__init__(
            space=space,
            objectives=objectives,
            surrogate=surrogate,
            initial=initial,
            data=data,
            refit_every=refit_every,
            explain=explain,
            seed=seed,
        )

    def _propose(
        self, n: int, model: Model, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator
    ) -> list[Proposal]:
        points = self._samples(self.candidates, taken, rng)
        if not points:
            return []
        known = [t.point for t in self._answered[self._count_fitted() :]] + [t.point for t in pending]
        x = self._encode(known + points)
        covariance, noise = joint_covariance(model, x)
        weight = 1 / self._gains().var(dim=0, correction=0).clamp_min(1e-300)
        weight = torch.where(weight < 1e299, weight, torch.ones_like(weight))[:, None]  # an objective seen constant
        for i in range(len(known)):
            covariance = condition(covariance, noise, i)
        covariance = covariance[:, len(known) :, len(known) :]
        picks: list[int] = []
        reasons: list[str] = []
        extras: list[dict[str, Any]] = []
        for _ in range(min(n, len(points))):
            variance = covariance.diagonal(dim1=1, dim2=2)
            gain = (covariance**2).mean(dim=2) / (variance + noise[:, None])
            match self.acquisition:
                case "integrated_variance":
                    score = (gain * weight).sum(dim=0)
                case "variance":
                    score = (variance * weight).sum(dim=0)
                case _:
                    score = information(model, x[len(known) :], variance, noise)
            score[picks] = -torch.inf
            best = int(score.argmax())
            reasons.append(self._reason(variance, gain, weight, best))
            choice = Choice(
                name=self.acquisition, points=points, x=x[len(known) :], values=score, chosen=best, logarithmic=False
            )
            extras.append(self._notes(model, points[best], x[len(known) + best], choice))
            picks.append(best)
            covariance = condition(covariance, noise, best)
        predictions = self._predict(model, x[len(known) :][picks])
        return [
            Proposal(point=points[i], prediction=prediction, reason=reason, extra=extra)
            for i, prediction, reason, extra in zip(picks, predictions, reasons, extras, strict=True)
        ]

    def _reason(self, variance: torch.Tensor, gain: torch.Tensor, weight: torch.Tensor, best: int) -> str:
        before = (variance * weight).sum(dim=0)
        after = (before.mean() - (gain * weight).sum(dim=0)[best]).clamp_min(0.0)
        cut = 100 * (1 - float((after / before.mean().clamp_min(1e-300)).sqrt()))
        if len(self.objectives) == 1:
            here, mean, unit = variance[0, best], variance[0].mean(), self.objectives[0].unit
        else:
            here, mean, unit = before[best], before.mean(), "spreads of the measured values"
        numbers = f"{float(here.sqrt()):.3g} here against {float(mean.sqrt()):.3g} on average"
        return f"expected to reduce the mean uncertainty by {cut:.1f} % ({numbers}{unit and ' ' + unit})"
