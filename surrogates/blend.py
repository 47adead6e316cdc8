"""A Gaussian process and randomised trees, each trusted as far as it foretold the data: the recommender's default.

Processes in a laboratory are smooth in places and have cliffs in others (a print fails, a phase changes). The process
is the better model of the one, trees of the other, and which one a new problem is nobody knows beforehand. Both are
fitted; their weights maximise the probability of the data when held out (`stacking` beside this file).

The posterior is the Gaussian with the mean and covariance of the mixture, so that every acquisition function works.
Where the two disagree its variance says so.

The weights follow from the first so many rows, and are taken anew when these have grown by a quarter: refits cost, and
a resumed study must weigh as it did before.
"""

from __future__ import annotations

import hashlib
from typing import Any

import gpytorch
import numpy as np
import numpy.typing as npt
import torch
from gpytorch.distributions import MultivariateNormal
from linear_operator import to_linear_operator
from linear_operator.operators import ZeroLinearOperator
from torch import nn

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Finite, Space
from matloop.orchestrator.randomness import derive_seed
from matloop.surrogates.checks import check_data
from matloop.surrogates.forest import Forest, ForestModel
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.independent import Independent
from matloop.surrogates.milestones import milestone
from matloop.surrogates.stacking import share_of_trees

Array = npt.NDArray[np.float64]

JITTER = 1e-8
"""Added to the diagonal of covariances, relative to its mean."""

REMEMBERED = 16
"""Weights that are remembered, for several objectives and their changes of the data."""


class Blend:
    """Gaussian process and trees, weighed by held-out probability; one pair for each output."""

    accepts_noise = True

    def __init__(
        self, *, space: Space | None = None, trees: int = 60, prior: float = 2.0, earned: bool | None = None
    ) -> None:
        """Set up the family.

        Args:
            space: where the points come from; see `matloop.surrogates.gaussian_process.gp`.
            trees: how many, >= 2.
            prior: pull towards equal shares, in held-out rows for each, >= 0.
            earned: whether trees get a share only where held-out data say so beyond doubt, and none before. None: in a
                space that is not a list. There the best point is sought by gradients, which steps spoil; a list is
                gone through, and two opinions on each of its points do better than one.
        """
        if not prior >= 0:
            raise ConfigError(f"expected prior >= 0, got {prior}", at="prior")
        self.prior = prior
        self.earned = (space is not None and not isinstance(space, Finite)) if earned is None else earned
        self._process, self._forest = GP(space=space), Forest(trees=trees)
        self._refitted = GP(space=space, max_iterations=40, subset=150, draws=4, starts=1)
        self._weighed: dict[bytes, float] = {}

    def fit(
        self, x: torch.Tensor, y: torch.Tensor, seed: int, *, noise: npt.NDArray[np.float64] | None = None
    ) -> BlendModel:
        """Fit both and weigh them.

        Args:
            x: (n, d) float64, n >= 1.
            y: (n, m) float64, any unit.
            seed: of the trees.
            noise: (n, m) float64, standard deviations of the measurements, NaN where unknown; the process knows what
                to do with them.

        Raises:
            ValueError: shapes differ or a value is not finite.
        """
        x, y = check_data(x, y)
        pairs, shares = [], []
        for j in range(y.shape[1]):
            column, spread = y[:, j : j + 1], None if noise is None else noise[:, j : j + 1]
            process = self._process.fit(x, column, seed, noise=spread)
            forest = self._forest.fit(x, column, derive_seed(seed, "output", j))
            pairs.append((process, forest))
            shares.append(self._share(x, column, spread))
        return BlendModel(pairs, shares).eval()

    def _share(self, x: torch.Tensor, y: torch.Tensor, noise: Array | None) -> float:
        """Weight of the trees; remembered, since it follows from the first rows alone."""
        n = milestone(len(x))
        x, y, noise = x[:n], y[:n], None if noise is None else np.ascontiguousarray(noise[:n])
        parts = [x.numpy(), y.numpy().copy(), *([] if noise is None else [noise])]
        key = hashlib.sha256(b"".join(part.tobytes() for part in parts)).digest()
        if key not in self._weighed:
            forest = self._forest.fit(x, y, derive_seed("shares", n))
            while len(self._weighed) >= REMEMBERED:
                self._weighed.pop(next(iter(self._weighed)))
            self._weighed[key] = share_of_trees(
                self._refitted, forest, x, y, noise, prior=self.prior, earned=self.earned
            )
        return self._weighed[key]


class BlendModel(Independent):
    """Gaussian with the first two moments of the mixture of two models, in the units of y.

    Attributes:
        shares: weight of the trees, by output.
    """

    @property
    def stepped(self) -> bool:
        """Whether trees have a share: gradients are blind to their steps."""
        return any(self.shares)

    def __init__(self, pairs: list[tuple[Any, ForestModel]], shares: list[float]) -> None:
        super().__init__()
        self.processes = nn.ModuleList([process for process, _ in pairs])
        self.pairs = pairs
        self.shares = shares

    @property
    def num_outputs(self) -> int:
        """Number m of outputs."""
        return len(self.shares)

    def of_output(self, j: int, X: torch.Tensor, measured: bool) -> MultivariateNormal:
        """See `Independent`."""
        process, forest = self.pairs[j]
        smooth = process.posterior(X, observation_noise=measured)
        if not self.shares[j]:
            alone: MultivariateNormal = smooth.distribution
            return alone
        stepped: Any = forest.posterior(X)
        share, count = self.shares[j], stepped.values.shape[-3]
        gap = (stepped.mean - smooth.mean)[..., 0]  # (b, q)
        mean = smooth.mean[..., 0] + share * gap
        if gpytorch.settings.skip_posterior_variances.on():
            return MultivariateNormal(mean, ZeroLinearOperator(*mean.shape, mean.shape[-1], dtype=mean.dtype))
        votes = (stepped.values - stepped.mean.unsqueeze(-3))[..., 0]  # (b, s, q)
        covariance = (
            (1 - share) * smooth.distribution.covariance_matrix
            + share * (votes.mT @ votes) / (count - 1)
            + share * (1 - share) * gap.unsqueeze(-1) * gap.unsqueeze(-2)
        )
        if measured:
            covariance = covariance + share * float(forest.noise[0]) ** 2 * torch.eye(X.shape[-2]).to(X)
        scale = covariance.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]
        covariance = covariance + JITTER * scale * torch.eye(X.shape[-2]).to(X)
        return MultivariateNormal(mean, to_linear_operator(covariance))

    def draw_function(self) -> Any:
        """One function drawn from the mixture: a path of the process or a tree, by torch's generator.

        Returns:
            (n, d) -> (n, m).
        """
        drawn = []
        for j, share in enumerate(self.shares):
            if float(torch.rand(())) < share:
                tree = int(torch.randint(2**31, ()))
                drawn.append(_tree(self.pairs[j][1], tree))
            else:
                drawn.append(self.pairs[j][0].draw_function())
        return lambda x: torch.cat([function(x) for function in drawn], dim=1)


def _tree(forest: Any, index: int) -> Any:
    return lambda x: forest(x.unsqueeze(0))[0, index % len(forest._trees)]
