"""A model with other standard deviations and the same mean, for when recorded predictions were too sure or too unsure.

A Gaussian process whose function and noise both have their variance multiplied predicts the same mean, and stays a
Gaussian process. Any other ensemble of functions is spread about its own mean, any other Gaussian posterior has its
covariance multiplied. Acquisition functions, gradients and sample functions work as before.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.models import SingleTaskGP
from botorch.models.model import Model
from botorch.posteriors.gpytorch import GPyTorchPosterior
from gpytorch.distributions import MultitaskMultivariateNormal, MultivariateNormal
from gpytorch.kernels import ScaleKernel
from gpytorch.likelihoods import FixedNoiseGaussianLikelihood

from surrogates.measured import MeasuredEnsemble
from surrogates.mixed_kernel import MixedKernel


def rescaled(model: Model, factor: torch.Tensor) -> Model:
    """Return a copy that predicts standard deviations `factor` times as large.

    Args:
        model: of a family in `surrogates`.
        factor: (m,) float64, > 0, one per output; see `surrogates.calibration.recorded_scale`.

    Raises:
        ValueError: another kind of model, or a factor that is not positive.
    """
    if factor.shape != (model.num_outputs,) or not (factor > 0).all():
        raise ValueError(f"expected {model.num_outputs} factors > 0, got {factor.tolist()}")
    factor = factor.to(torch.float64)
    if isinstance(model, MeasuredEnsemble):
        return SpreadEnsemble(model, factor).eval()
    if isinstance(model, SingleTaskGP):
        return _process(model, factor)
    if hasattr(model, "draw_function"):
        return SpreadGaussian(model, factor).eval()
    raise ValueError(f"expected a model of a family in surrogates, got {type(model).__name__}")


class SpreadEnsemble(MeasuredEnsemble):
    """The functions of an ensemble, and its measurements around them, further apart or closer together."""

    factor: torch.Tensor

    def __init__(self, model: MeasuredEnsemble, factor: torch.Tensor) -> None:
        super().__init__()
        self.model, self.stepped = model, getattr(model, "stepped", False)
        self.register_buffer("factor", factor)
        self._num_outputs = model.num_outputs

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(b) x q x d -> (b) x s x q x m."""
        values = self.model(X)
        mean = values.mean(dim=-3, keepdim=True)
        spread: torch.Tensor = mean + self.factor.to(values) * (values - mean)
        return spread

    def scatter(self, X: torch.Tensor) -> torch.Tensor:
        """See `MeasuredEnsemble`."""
        scatter = self.model.scatter(X)
        return self.factor.to(scatter) * scatter


class SpreadGaussian(Model):
    """A model with a Gaussian posterior and sample functions of its own, its deviations from the mean multiplied."""

    factor: torch.Tensor

    def __init__(self, model: Any, factor: torch.Tensor) -> None:
        super().__init__()
        self.model, self.stepped = model, getattr(model, "stepped", False)
        self.register_buffer("factor", factor)

    @property
    def num_outputs(self) -> int:
        """m."""
        return len(self.factor)

    @property
    def batch_shape(self) -> torch.Size:
        """Of the model."""
        shape: torch.Size = self.model.batch_shape
        return shape

    def posterior(  # type: ignore[override]
        self,
        X: torch.Tensor,
        output_indices: list[int] | None = None,
        observation_noise: bool = False,
        posterior_transform: PosteriorTransform | None = None,
    ) -> Any:
        """Posterior at (b) x q x d points."""
        given = self.model.posterior(X, output_indices=output_indices, observation_noise=observation_noise)
        factor = self.factor if output_indices is None else self.factor[output_indices]
        posterior = GPyTorchPosterior(_spread(given.distribution, factor.to(X)))
        return posterior if posterior_transform is None else posterior_transform(posterior=posterior, X=X)

    def draw_function(self) -> Any:
        """One function: (n, d) -> (n, m), by torch's generator."""
        draw = self.model.draw_function()

        def function(x: torch.Tensor) -> torch.Tensor:
            mean = self.model.posterior(x.unsqueeze(1)).mean[:, 0]
            spread: torch.Tensor = mean + self.factor.to(x) * (draw(x) - mean)
            return spread

        return function


def _spread(distribution: Any, factor: torch.Tensor) -> MultivariateNormal:
    mean, covariance = distribution.mean, distribution.covariance_matrix
    if not isinstance(distribution, MultitaskMultivariateNormal):
        return MultivariateNormal(mean, covariance * factor**2)
    interleaved, q = distribution._interleaved, mean.shape[-2]
    each = factor.repeat(q) if interleaved else factor.repeat_interleave(q)
    return MultitaskMultivariateNormal(mean, covariance * each.outer(each), interleaved=interleaved)


def _process(model: SingleTaskGP, factor: torch.Tensor) -> Model:
    kernel = model.covar_module
    if not isinstance(kernel, ScaleKernel | MixedKernel):
        raise ValueError(f"expected a process of surrogates.gp, got one with a {type(kernel).__name__}")
    result: Any = copy.deepcopy(model)
    square = factor**2
    with torch.no_grad():
        if isinstance(kernel, MixedKernel):
            result.covar_module.weights = kernel.weights * square.reshape(*kernel.batch_shape, 1)
        else:
            result.covar_module.outputscale = kernel.outputscale * square.reshape(kernel.outputscale.shape)
        likelihood = result.likelihood
        if isinstance(likelihood, FixedNoiseGaussianLikelihood):
            likelihood.noise_covar.noise = likelihood.noise * square.reshape(*kernel.batch_shape, 1)
        else:
            likelihood.noise_covar.raw_noise_constraint.lower_bound.fill_(0.0)
            likelihood.noise = likelihood.noise * square.reshape(likelihood.noise.shape)
    return result.eval()  # type: ignore[no-any-return]
