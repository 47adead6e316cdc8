"""An exact Gaussian process as a BoTorch model: closed form, factors kept, hyperparameters averaged.

One process per output. Where an output has several sets of hyperparameters, each as likely as the next, its posterior
is the Gaussian with the mean and covariance of their mixture: length scales from few data are uncertain, and one best
guess does not say so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import gpytorch
import numpy as np
import numpy.typing as npt
import torch
from gpytorch.distributions import MultivariateNormal
from linear_operator import to_linear_operator
from linear_operator.operators import ZeroLinearOperator

from matloop.orchestrator.randomness import derive
from matloop.surrogates.gaussian_process import hyperposterior
from matloop.surrogates.gaussian_process.columns import Columns
from matloop.surrogates.gaussian_process.covariance import Covariance
from matloop.surrogates.gaussian_process.hyperparameters import Hyperparameters, Objective
from matloop.surrogates.gaussian_process.identities import Identities
from matloop.surrogates.independent import Independent

Array = npt.NDArray[np.float64]

DRAWN_AT_MOST = 100
"""Rows up to which hyperparameters are drawn: beyond, data leave them less freedom, and draws would take seconds."""

JITTER = 1e-10
"""Added to the diagonal of posterior covariances, relative to the prior variance."""


@dataclass(frozen=True, slots=True)
class Task:
    """The data of a fit, made ready.

    Attributes:
        x: (n, d) float64, encoded points.
        low, span: (d,) float64, by which they are scaled.
        identities: columns that are appended for choices that are described by numbers.
        z: (m, n) float64, values, standardised.
        centre, scale: (m,) float64, by which they are.
        variances: (m, n) float64, known variance of each measurement, standardised; NaN where unknown.
        columns: what the columns are, the appended ones included.
        kernel: of the numbers.
        objectives: of the hyperparameters, one per output.
        usual: (n,) bool, rows that are as noisy as a new measurement is expected to be; None for all.
    """

    x: torch.Tensor
    low: torch.Tensor
    span: torch.Tensor
    identities: Identities
    z: Array
    centre: Array
    scale: Array
    variances: Array
    columns: Columns
    kernel: str
    objectives: Sequence[Objective]
    usual: torch.Tensor | None = None

    def unit(self, x: torch.Tensor) -> torch.Tensor:
        """Encoded points (..., d), scaled, with their identities."""
        return torch.cat([(x - self.low) / self.span, self.identities(x)], dim=-1)


class Process(Independent):
    """Posterior in the units of y.

    Attributes:
        task: what it was fitted to.
        found: for each output its sets of hyperparameters.
    """

    def __init__(self, task: Task, found: Sequence[Sequence[Hyperparameters]]) -> None:
        super().__init__()
        self.task, self.found = task, found
        places = task.unit(task.x)
        self.outputs = [
            _Output(places, task.z[j], task.variances[j], Covariance(task.columns, task.kernel, sets), sets)
            for j, sets in enumerate(found)
        ]
        if task.usual is not None:
            self.expect_noise_of(task.usual)

    def expect_noise_of(self, usual: torch.Tensor) -> None:
        """Let a new measurement be as noisy as these rows, (n,) bool of which one is true at least."""
        self.task = replace(self.task, usual=usual)
        for one in self.outputs:
            one.expect_noise_of(usual)

    @property
    def num_outputs(self) -> int:
        """Number m of outputs."""
        return len(self.outputs)

    def of_output(self, j: int, X: torch.Tensor, measured: bool) -> MultivariateNormal:
        """See `Independent`."""
        scale, output, u = float(self.task.scale[j]), self.outputs[j], self.task.unit(X)
        if gpytorch.settings.skip_posterior_variances.on():
            mean = output.mean(u).mean(dim=0)
            covariance = ZeroLinearOperator(*mean.shape, mean.shape[-1], dtype=mean.dtype)
        else:
            mean, dense = output.moments(u, measured)
            covariance = to_linear_operator(scale**2 * dense)  # torch would factorise it at once
        return MultivariateNormal(float(self.task.centre[j]) + scale * mean, covariance)

    def prior_covariance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """(n, d) and (p, d) -> (m, n, p): covariance before anything was measured, squared units of y."""
        parts = [one.covariance(self.task.unit(a), self.task.unit(b)).mean(dim=0) for one in self.outputs]
        return torch.stack(parts) * torch.as_tensor(self.task.scale**2)[:, None, None]

    def inverse_length_scales(self) -> torch.Tensor:
        """(d,) float64, >= 0, per unit of the encoded columns: root mean square over outputs."""
        each = torch.stack([one.covariance.inverse_scales() for one in self.outputs])
        return each.square().mean(dim=0).sqrt()[: len(self.task.span)] / self.task.span

    def noise(self) -> torch.Tensor:
        """(m,) variance of a new measurement, squared units of y."""
        return torch.stack([one.noise.mean() for one in self.outputs]) * torch.as_tensor(self.task.scale**2)

    def draw_function(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """One function drawn from the posterior (Wilson et al., ICML 2020), by torch's generator.

        Returns:
            (n, d) -> (n, m).
        """
        paths = [one.draw() for one in self.outputs]
        centre, scale = torch.as_tensor(self.task.centre), torch.as_tensor(self.task.scale)
        return lambda x: centre + scale * torch.stack([path(self.task.unit(x)) for path in paths], dim=-1)

    def hyperparameter_draws(self, count: int, seed: int) -> list[Process]:
        """Models of the same data, each with one set of hyperparameters drawn from their posterior.

        Args:
            count: how many.
            seed: all randomness comes from it.

        Returns:
            `count` models; with more than `DRAWN_AT_MOST` rows this one alone, since each costs their number cubed.
        """
        if len(self.task.x) > DRAWN_AT_MOST:
            return [self]
        drawn = [
            hyperposterior.draw(objective, sets[0], count, derive(seed, "hyperparameters", j))
            for j, (objective, sets) in enumerate(zip(self.task.objectives, self.found, strict=True))
        ]
        return [Process(self.task, [[one] for one in found]) for found in zip(*drawn, strict=True)]


class _Output:
    """One output: s processes of the same data, standardised, at points of the unit cube."""

    def __init__(
        self, x: torch.Tensor, z: Array, variances: Array, covariance: Covariance, sets: Sequence[Hyperparameters]
    ) -> None:
        self.x, self.covariance = x, covariance
        self.constant = torch.tensor([one.mean for one in sets], dtype=torch.float64)
        self.doubt = torch.tensor([one.mean_deviation for one in sets], dtype=torch.float64)
        fitted = torch.tensor([one.noise for one in sets], dtype=torch.float64)
        known = torch.as_tensor(variances)
        noises = torch.where(known.isnan(), fitted[:, None], known)  # (s, n)
        self.noise = noises.mean(dim=1)
        matrix = covariance(x, x) + torch.diag_embed(noises)
        self.factor = _cholesky(matrix)
        rest = (torch.as_tensor(z) - self.constant[:, None])[..., None]
        self.weights = torch.cholesky_solve(rest, self.factor)[..., 0]  # (s, n)
        self._ones = torch.cholesky_solve(torch.ones_like(rest), self.factor)[..., 0]  # (s, n)
        self._noises, self._z = noises, torch.as_tensor(z)

    def expect_noise_of(self, usual: torch.Tensor) -> None:
        """See `Process`."""
        self.noise = self._noises[:, usual].mean(dim=1)

    def mean(self, u: torch.Tensor) -> torch.Tensor:
        """(b) x q x d -> s x (b) x q."""
        cross = self.covariance(u.reshape(-1, u.shape[-1]), self.x)
        mean = self.constant[:, None] + (cross @ self.weights[..., None])[..., 0]
        return mean.reshape(len(mean), *u.shape[:-1])

    def moments(self, u: torch.Tensor, measured: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """(b) x q x d -> mean (b) x q and covariance (b) x q x q of the mixture.

        Far from the data the constant mean is in doubt, too (Rasmussen & Williams 2006, eq. 2.42).
        """
        *batch, q, d = u.shape
        cross = self.covariance(u.reshape(-1, d), self.x)  # s x bq x n
        means = self.constant[:, None] + (cross @ self.weights[..., None])[..., 0]
        solved = torch.linalg.solve_triangular(self.factor, cross.mT, upper=False).mT  # s x bq x n
        doubts = (1 - (cross @ self._ones[..., None])[..., 0]) * self.doubt[:, None]
        means, doubts = means.reshape(-1, *batch, q), doubts.reshape(-1, *batch, q)
        if q == 1:
            own = self.covariance.diagonal(u)  # s x (b) x 1
            variance = own - (solved**2).sum(dim=-1).reshape(own.shape)
            covariance = torch.maximum(variance, JITTER * own)[..., None]
        else:
            solved = solved.reshape(-1, *batch, q, solved.shape[-1])
            own = self.covariance.diagonal(u)
            covariance = self.covariance(u, u) - solved @ solved.mT + torch.diag_embed(JITTER * own)
        covariance = covariance + doubts[..., :, None] * doubts[..., None, :]
        if measured:
            noise = self.noise.reshape(-1, *[1] * (len(batch) + 2))
            covariance = covariance + noise * torch.eye(q).to(covariance)
        mean = means.mean(dim=0)
        covariance = covariance.mean(dim=0)
        if len(means) > 1:
            gap = means - mean
            covariance = covariance + (gap[..., :, None] * gap[..., None, :]).mean(dim=0)
        return mean, covariance

    def draw(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """A function (n, d) -> (n,) of one of the s processes."""
        i = int(torch.randint(len(self.constant), ()))
        only = self.covariance.one(i)
        prior = only.draw()
        seen = prior(self.x) + self._noises[i].sqrt() * torch.randn(len(self.x), dtype=torch.float64)
        constant = self.constant[i] + self.doubt[i] * torch.randn((), dtype=torch.float64)
        rest = (self._z - constant - seen)[:, None]
        weights = torch.cholesky_solve(rest, self.factor[i])[:, 0]
        return lambda u: constant + prior(u) + only(u, self.x)[0] @ weights


def _cholesky(matrix: torch.Tensor) -> torch.Tensor:
    """Lower factors of s x n x n; a matrix that rounding made indefinite is helped by as little as will do."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    scale = matrix.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[:, None]
    for power in range(-10, 0):
        if not failed.any():
            break
        helped = matrix + torch.diag_embed((10.0**power * scale * (failed > 0)[:, None]).expand(matrix.shape[:-1]))
        factor, failed = torch.linalg.cholesky_ex(helped)
    found: torch.Tensor = factor
    return found
