"""A model with other standard deviations and the same mean, for when recorded predictions were too sure or too unsure.

The result is a model of the same family, so that acquisition functions, gradients and sample paths work as before: a
Gaussian process whose function and noise both have their variance multiplied predicts the same mean, and so do
functions spread about their own mean.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from botorch.models import SingleTaskGP
from botorch.models.model import Model
from gpytorch.kernels import ScaleKernel
from gpytorch.likelihoods import FixedNoiseGaussianLikelihood

from surrogates.dropout_model import DropoutModel
from surrogates.mixed_kernel import MixedKernel


def rescaled(model: Model, factor: torch.Tensor) -> Model:
    """Return a copy that predicts standard deviations `factor` times as large.

    Args:
        model: of `surrogates.gp`, `surrogates.dropout` or `surrogates.ensemble`.
        factor: (m,) float64, > 0, one per output; see `surrogates.calibration.recorded_scale`.

    Raises:
        ValueError: another kind of model, or a factor that is not positive.
    """
    if factor.shape != (model.num_outputs,) or not (factor > 0).all():
        raise ValueError(f"expected {model.num_outputs} factors > 0, got {factor.tolist()}")
    result: Any
    if isinstance(model, DropoutModel):
        result = copy.copy(model)
        result._buffers = dict(model._buffers)
        result.scale, result.noise = model.scale * factor, model.noise * factor
        return result  # type: ignore[no-any-return]
    kernel = getattr(model, "covar_module", None)
    if not isinstance(model, SingleTaskGP) or not isinstance(kernel, ScaleKernel | MixedKernel):
        raise ValueError(f"expected a model of gp, mc_dropout or ensemble, got {type(model).__name__}")
    result = copy.deepcopy(model)
    square = factor.to(torch.float64) ** 2
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
