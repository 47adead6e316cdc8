"""Spread over where a model's functions disagree: uncertain places, but not many that are uncertain together.

Every candidate has a place whose coordinates are the deviations of the functions there from their mean, so that its
squared distance from the origin is the variance of the function, and that between two candidates the variance of the
difference. A known point lies at the origin. A batch is drawn as k-means++ draws its centres: each with a probability
proportional to the squared distance to the nearest place that is or will be known. So regions with many candidates get
many, as they do by random choice, and what is known already gets none.

References: Arthur & Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007; Ash et al., "Deep batch
active learning by diverse, uncertain gradient lower bounds", ICLR 2020, which draws so among gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from botorch.posteriors.ensemble import EnsemblePosterior
from linear_operator.utils.cholesky import psd_safe_cholesky

from matloop.orchestrator.strategies.modelled.clusters import squared_distances
from matloop.orchestrator.strategies.modelled.covariance import covariances

if TYPE_CHECKING:
    from botorch.models.model import Model


class Disagreement:
    """Candidates by the deviations of a model's functions.

    Attributes:
        distances: (n,) float64, squared distance of each candidate to the nearest place that is or will be known.
    """

    def __init__(self, candidates: torch.Tensor, waiting: torch.Tensor) -> None:
        """Measure distances.

        Args:
            candidates: (n, p) float64, n >= 1, deviations of the functions.
            waiting: (k, p) float64, those of points whose answers the model has not seen but will.
        """
        self._candidates = candidates
        self._variances = (candidates**2).sum(dim=1)
        self.distances = self._variances.clone()
        for place in waiting:
            self._count(place)

    def score(self) -> torch.Tensor:
        """(n,) distances."""
        return self.distances.sqrt()

    def pick(self, score: torch.Tensor) -> int:
        """Draw by the squares of the scores, from torch's global generator; any of those allowed if all are known."""
        allowed = score > -torch.inf
        weights = torch.where(allowed, score, 0.0) ** 2
        total = weights.cumsum(dim=0)
        if not total[-1] > 0:
            total = allowed.double().cumsum(dim=0)
        drawn = torch.rand((), dtype=torch.float64) * total[-1]
        return int(torch.searchsorted(total, drawn, right=True).clamp_max(len(score) - 1))

    def add(self, i: int) -> None:
        """Count candidate i among the places that will be known."""
        self._count(self._candidates[i])
        self.distances[i] = 0.0

    def reason(self, i: int) -> str:
        """Why candidate i."""
        here, mean = float(self._variances[i]), float(self._variances.mean().clamp_min(1e-300))
        left = 100 * float(self.distances[i] / self._variances[i].clamp_min(1e-300))
        return (
            f"drawn by how much the functions of the model disagree: {(here / mean) ** 0.5:.2g} times as much as on "
            f"average, and {left:.0f} % of that is not settled by what is being measured"
        )

    def _count(self, place: torch.Tensor) -> None:
        self.distances = torch.minimum(self.distances, squared_distances(self._candidates, place[None])[:, 0])


def deviations(model: Model, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Places of points in the space of a model's disagreement.

    Args:
        model: with an ensemble or a Gaussian posterior.
        x: (n, d) float64.
        weight: (m,) of each output's variance.

    Returns:
        (n, p) float64, whose scalar products are the weighted covariances, summed over outputs.
    """
    with torch.no_grad():
        posterior: Any = model.posterior(x)
        if isinstance(posterior, EnsemblePosterior):
            values = posterior.values.to(torch.float64)  # (s, n, m)
            scaled = (values - values.mean(dim=0)) * (weight / (len(values) - 1)).sqrt()
            return scaled.movedim(0, 1).flatten(1)
        covariance = (covariances(posterior) * weight[:, None, None]).sum(dim=0)
        root: torch.Tensor = psd_safe_cholesky(covariance)
        return root
