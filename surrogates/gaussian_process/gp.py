"""Exact Gaussian process: the surrogate for small data, and the yardstick for every other one.

BoTorch's SingleTaskGP over inputs scaled to the unit cube and standardised outputs, one process per output. Each number
has a length scale of its own. Numbers and categories together have a kernel that is a sum of both and their product
(`mixed_kernel` beside this file). How length scales, weights and noise are found: `hyperparameters` beside this file.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gpytorch
import numpy as np
import numpy.typing as npt
import torch
from botorch.exceptions.warnings import InputDataWarning
from botorch.models import SingleTaskGP
from botorch.models.transforms import Normalize, Standardize
from gpytorch.constraints import GreaterThan
from gpytorch.kernels import Kernel, MaternKernel, RBFKernel, ScaleKernel
from gpytorch.likelihoods import FixedNoiseGaussianLikelihood
from gpytorch.priors import LogNormalPrior
from gpytorch.utils.warnings import NumericalWarning

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Space, Vectorised
from matloop.orchestrator.randomness import derive
from matloop.search_spaces.columns import blocks, labels
from matloop.surrogates.checks import check_data, check_noise
from matloop.surrogates.gaussian_process import hyperparameters, hyperposterior
from matloop.surrogates.gaussian_process.hyperparameters import Columns, Hyperparameters, Objective
from matloop.surrogates.gaussian_process.mixed_kernel import MixedKernel

LEAST_VARIANCE = 1e-6
"""Of a measurement, in squared spreads of the data: where noise is stated to be less, factorisation would fail."""

DRAWN_AT_MOST = 100
"""Rows up to which hyperparameters are drawn: beyond, data leave them less freedom, and draws would take seconds."""


class GP:
    """Exact GP regression, float64, one independent process per output."""

    accepts_noise = True

    def __init__(
        self,
        *,
        space: Space | None = None,
        kernel: Literal["matern52", "rbf"] = "matern52",
        max_iterations: int = 200,
        subset: int = 1000,
    ) -> None:
        """Set up the family.

        Args:
            space: where the points come from; its bounds, if it has any, scale the inputs, else the data do. Its
                columns, if it names them, say which are the one-hot columns of a category.
            kernel: matern52 for properties that may bend sharply, rbf for very smooth ones.
            max_iterations: of L-BFGS on the marginal likelihood from each of two starts, >= 1.
            subset: most rows, drawn at random, by which length scales and noise are fitted, >= 2; each step costs
                their number cubed. The model itself always holds all rows.
        """
        if kernel not in ("matern52", "rbf"):
            raise ConfigError(f"expected kernel 'matern52' or 'rbf', got {kernel!r}", at="kernel")
        at_least(1, max_iterations=max_iterations)
        at_least(2, subset=subset)
        self.kernel = kernel
        self.max_iterations = max_iterations
        self.subset = subset
        self._bounds = np.asarray(space.bounds, dtype=np.float64) if isinstance(space, Vectorised) else None
        self._named = labels(space)

    def fit(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        seed: int,
        *,
        noise: npt.NDArray[np.float64] | None = None,
        rows: npt.NDArray[np.int_] | None = None,
    ) -> ExactGP:
        """Fit by maximum a posteriori; where the data cannot tell (one point, constant y) the prior stands.

        Args:
            x: (n, d) float64, n >= 1.
            y: (n, m) float64, any unit.
            seed: of the rows drawn if there are more than `subset`.
            noise: (n, m) float64, standard deviation of each measurement in the unit of y, >= 0; NaN where unknown.
                Unknown ones share one that is fitted; a new measurement is expected to be as noisy as those seen
                (mean of their variances).
            rows: (r,) int, rows by which length scales and noise are fitted; None for all of them.

        Returns:
            A model with posterior in the units of y.

        Raises:
            ValueError: shapes differ or a value is not finite.
        """
        x, y = check_data(x, y)
        spread = check_noise(noise, y)
        model = self._untrained(x, y, None)
        with torch.no_grad():
            inputs = model.transform_inputs(x).numpy()
        z = model.train_targets.reshape(-1, len(x)).numpy()
        standardise: Any = model.outcome_transform
        scale = standardise.stdvs.reshape(-1).numpy()
        variances = np.maximum((spread.numpy() / scale) ** 2, LEAST_VARIANCE).T  # (m, n), NaN stays
        rows = np.arange(len(x)) if rows is None else rows
        if len(rows) > self.subset:
            rows = np.sort(derive(seed, "subset").permutation(rows)[: self.subset])
        columns = self._columns(x.shape[1])
        objectives = [
            Objective(inputs[rows], z[j, rows], columns=columns, kernel=self.kernel, variances=variances[j, rows])
            for j in range(len(z))
        ]
        task = _Task(self, x, y, scale, variances, objectives)
        return task.model([hyperparameters.fit(one, self.max_iterations) for one in objectives])

    def _untrained(self, x: torch.Tensor, y: torch.Tensor, variances: torch.Tensor | None) -> ExactGP:
        d, m = x.shape[1], y.shape[1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputDataWarning)  # constant or single outputs cannot be standardised
            warnings.simplefilter("ignore", NumericalWarning)  # of measurements that are all but exact
            model = ExactGP(
                x,
                y,
                variances,
                covar_module=self._kernel(self._columns(d), m),
                input_transform=Normalize(d, bounds=None if self._bounds is None else torch.as_tensor(self._bounds)),
                outcome_transform=Standardize(m),
            )
        if variances is None:
            prior = LogNormalPrior(*hyperparameters.NOISE_PRIOR)
            model.likelihood.noise_covar.register_prior("noise_prior", prior, lambda module: module.noise)
        return model

    def _kernel(self, columns: Columns, m: int) -> Kernel:
        """Untrained, with the priors of `matloop.surrogates.gaussian_process.hyperparameters`."""
        batch = torch.Size([m]) if m > 1 else torch.Size()
        by_group, width = columns.prior()
        locations = by_group[columns.groups]

        def part(active: npt.NDArray[np.int_] | None) -> Kernel:
            own = locations if active is None else locations[active]
            options: dict[str, Any] = {
                "ard_num_dims": len(own),
                "batch_shape": batch,
                "active_dims": None if active is None else active.tolist(),
                "lengthscale_prior": LogNormalPrior(float(own[0]), width),
                "lengthscale_constraint": GreaterThan(hyperparameters.LEAST_SCALE, transform=None, initial_value=1.0),
            }
            return RBFKernel(**options) if self.kernel == "rbf" else MaternKernel(nu=2.5, **options)

        if columns.mixed:
            return MixedKernel(part(np.flatnonzero(~columns.category)), part(np.flatnonzero(columns.category)))
        prior = LogNormalPrior(*hyperparameters.WEIGHT_PRIOR)
        return ScaleKernel(part(None), batch_shape=batch, outputscale_prior=prior)

    def _columns(self, d: int) -> Columns:
        """What the d columns are; all numbers, unless the space says otherwise."""
        if self._named is None or len(self._named) != d:
            return Columns.numbers(d)
        groups, category = np.zeros(d, dtype=np.int_), np.zeros(d, dtype=bool)
        count = 0
        for _, kind, indices in blocks(self._named):
            own = 1 if kind == "category" else len(indices)
            groups[indices] = count + np.arange(len(indices)) % own
            category[indices] = kind == "category"
            count += own
        return Columns(groups, category)


class ExactGP(SingleTaskGP):
    """Factorises its matrix whatever the number of rows; GPyTorch would turn to approximations at 800.

    Attributes:
        task: what it was fitted to.
        found: its hyperparameters, by output.
        usual: (n,) bool, rows that are as noisy as a new measurement is expected to be; None for all. One output only.
    """

    task: _Task
    found: Sequence[Hyperparameters]
    usual: torch.Tensor | None = None

    def posterior(self, X: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """As SingleTaskGP's."""
        if self.usual is not None and kwargs.get("observation_noise") is True:
            noise: Any = self.likelihood.noise
            kwargs["observation_noise"] = noise[..., self.usual].mean(dim=-1, keepdim=True).expand(*X.shape[:-1], 1)
        with gpytorch.settings.max_cholesky_size(10**6):
            return super().posterior(X, *args, **kwargs)

    def hyperparameter_draws(self, count: int, seed: int) -> list[ExactGP]:
        """Models of the same data whose hyperparameters are drawn from their posterior; this one has its mode.

        Args:
            count: how many.
            seed: all randomness comes from it.

        Returns:
            `count` models; with more than `DRAWN_AT_MOST` rows this one alone, since each costs their number cubed.
        """
        if len(self.task.x) > DRAWN_AT_MOST:
            return [self]
        drawn = [
            hyperposterior.draw(objective, mode, count, derive(seed, "hyperparameters", j))
            for j, (objective, mode) in enumerate(zip(self.task.objectives, self.found, strict=True))
        ]
        return [self.task.model(found) for found in zip(*drawn, strict=True)]


@dataclass(frozen=True, slots=True)
class _Task:
    """The data of a fit, made ready.

    Attributes:
        family: options.
        x: (n, d) float64.
        y: (n, m) float64.
        scale: (m,) float64, by which y is standardised.
        variances: (m, n) float64, known variance of each measurement, standardised; NaN where unknown.
        objectives: of the hyperparameters, one per output.
        usual: see `ExactGP`.
    """

    family: GP
    x: torch.Tensor
    y: torch.Tensor
    scale: npt.NDArray[np.float64]
    variances: npt.NDArray[np.float64]
    objectives: Sequence[Objective]
    usual: torch.Tensor | None = None

    def model(self, found: Sequence[Hyperparameters]) -> ExactGP:
        """The process with these hyperparameters, one entry per output."""
        variances = None
        if not np.isnan(self.variances).all():
            filled = np.where(np.isnan(self.variances), np.array([[one.noise] for one in found]), self.variances)
            variances = torch.as_tensor(filled.T * self.scale**2)
        model = self.family._untrained(self.x, self.y, variances)
        _load(model, found, self.family._columns(self.x.shape[1]))
        model.task, model.found, model.usual = self, found, self.usual
        return model.eval()


def _load(model: SingleTaskGP, found: Sequence[Hyperparameters], columns: Columns) -> None:
    """Put the fitted values, one entry per output, into the model."""
    scales = torch.as_tensor(np.stack([one.length_scales for one in found])).clamp_min(hyperparameters.LEAST_SCALE)
    kernel: Any = model.covar_module
    weights = torch.as_tensor(np.stack([one.weights for one in found]))
    with torch.no_grad():
        if isinstance(kernel, MixedKernel):
            parts = [(kernel.numbers, ~columns.category), (kernel.categories, columns.category)]
            kernel.weights = weights
        else:
            parts = [(kernel.base_kernel, np.ones_like(columns.category))]
            kernel.outputscale = weights.reshape(kernel.outputscale.shape)
        for part, active in parts:
            part.lengthscale = scales[:, active].reshape(part.lengthscale.shape)
        mean = torch.tensor([one.mean for one in found], dtype=torch.float64)
        model.mean_module.constant.copy_(mean.reshape(model.mean_module.constant.shape))
        if not isinstance(model.likelihood, FixedNoiseGaussianLikelihood):
            noise = torch.tensor([one.noise for one in found], dtype=torch.float64)
            model.likelihood.noise = noise.reshape(model.likelihood.noise.shape).clamp_min(hyperparameters.LEAST_NOISE)
