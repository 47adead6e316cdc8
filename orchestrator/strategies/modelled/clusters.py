"""Largest cluster: choose points that stand for many others, rather than those most unlike all others.

Every candidate belongs to the nearest place whose answer is known or on its way. The group whose squared distances sum
to most is the part of the space that is known worst, where many candidates count for as much as one that is far away.
Its farthest member is chosen and becomes the centre of a group itself, so that a batch spreads out.

Distances are the model's: of a network between the features that its last layer sees, of a Gaussian process by its
kernel, of any other model by the posterior covariance.

Reference: Holzmüller, Zaverkin, Kästner & Steinwart, "A framework and benchmark for deep batch active learning for
regression", JMLR 24 (2023) 164: LCMD in train-plus-pool mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from linear_operator.utils.cholesky import psd_safe_cholesky

from matloop.orchestrator.protocols import Featured
from matloop.orchestrator.strategies.modelled.covariance import joint_covariance
from matloop.surrogates.gaussian_process.process import Process

if TYPE_CHECKING:
    from botorch.models.model import Model

CHUNK = 1024
"""Candidates whose distances to all known places are worked out at once."""


class Clusters:
    """Candidates in groups around known places.

    Attributes:
        distances: (n,) float64, squared distance of each candidate to its centre.
        owners: (n,) int64, number of the centre that it belongs to: known places first, then candidates added.
    """

    def __init__(self, candidates: torch.Tensor, known: torch.Tensor) -> None:
        """Group candidates.

        Args:
            candidates: (n, p) float64, n >= 1, where the model sees them.
            known: (k, p) float64, k >= 1, where it sees the points that are measured or being measured.
        """
        self._candidates = candidates
        self._centres = len(known)
        nearest = [squared_distances(part, known).min(dim=1) for part in torch.split(candidates, CHUNK)]
        self.distances = torch.cat([found.values for found in nearest])
        self.owners = torch.cat([found.indices for found in nearest])

    def score(self) -> torch.Tensor:
        """(n,) distance to the centre for members of the largest group, -inf for all others; 0 if none is apart."""
        if not self.distances.any():
            return self.distances.clone()
        sizes = torch.zeros(self._centres, dtype=self.distances.dtype).scatter_add_(0, self.owners, self.distances)
        return torch.where(self.owners == sizes.argmax(), self.distances.sqrt(), -torch.inf)

    def pick(self, score: torch.Tensor) -> int:
        """The largest."""
        return int(score.argmax())

    def add(self, i: int) -> None:
        """Count candidate i among the places that will be known."""
        to_new = squared_distances(self._candidates, self._candidates[i : i + 1])[:, 0]
        to_new[i] = 0.0
        closer = to_new < self.distances
        closer[i] = True
        self.distances = torch.where(closer, to_new, self.distances)
        self.owners = torch.where(closer, self._centres, self.owners)
        self._centres += 1

    def reason(self, i: int) -> str:
        """Why candidate i."""
        own = self.owners == self.owners[i]
        share = 100 * float(self.distances[own].sum() / self.distances.sum().clamp_min(1e-300))
        return (
            f"stands for {int(own.sum())} of {len(own)} candidates, "
            f"which hold {share:.2g} % of what known points leave uncovered"
        )


class CoreSet(Clusters):
    """Farthest first: of all candidates the one that is farthest from its centre (Sener & Savarese, ICLR 2018)."""

    def score(self) -> torch.Tensor:
        """(n,) distance to the centre."""
        return self.distances.sqrt()


def squared_distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(n, p) and (k, p) -> (n, k)."""
    squares = (a**2).sum(dim=1)[:, None] + (b**2).sum(dim=1)[None] - 2 * a @ b.mT
    return squares.clamp_min(0.0)


def embedding(model: Model, x: torch.Tensor) -> torch.Tensor:
    """Where a model sees points: their distances there say how little the answer at one tells about another.

    Args:
        model: any; of one that is `Featured` its features.
        x: (n, d) float64.

    Returns:
        (n, p) float64.
    """
    with torch.no_grad():
        if isinstance(model, Featured):
            return model.features(x).to(torch.float64)
        if isinstance(model, Process):
            prior = model.prior_covariance(x, x)
            covariance = (prior / prior.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None]).sum(dim=0)
        else:
            each, _ = joint_covariance(model, x)
            covariance = (each / each.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None].clamp_min(1e-300)).sum(dim=0)
        root: torch.Tensor = psd_safe_cholesky(covariance)
        return root
