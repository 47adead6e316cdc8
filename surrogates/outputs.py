"""Each output modelled by itself, on the rows that have a value of it: for objectives that are measured at other times.

A surrogate takes values of all outputs in every row. Where some are missing, or only a limit is known of some, it is
fitted to each output alone, and the models are put side by side as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from botorch.models.ensemble import EnsembleModel
from botorch.models.model import Model
from botorch.posteriors.ensemble import EnsemblePosterior
from gpytorch.distributions import MultivariateNormal
from torch import nn

from matloop.orchestrator.protocols import ByOutput, Featured, Redrawable, Stepped, Surrogate
from matloop.surrogates.censored import fit_censored
from matloop.surrogates.independent import Independent
from matloop.surrogates.measured import MeasuredEnsemble
from matloop.surrogates.noise import fit

if TYPE_CHECKING:
    from matloop.surrogates.gaussian_process.gp import GP

JITTER = 1e-8
"""Added to the diagonal of an ensemble's covariance, relative to its mean."""


def fit_each(
    surrogate: Surrogate,
    x: torch.Tensor,
    y: torch.Tensor,
    seed: int,
    noise: npt.NDArray[np.float64],
    censored: npt.NDArray[np.int_],
    process: GP,
    *,
    apart: bool = False,
) -> Model:
    """Fit to what is there.

    Args:
        surrogate: any.
        x: (n, d) float64.
        y: (n, m) float64, NaN where an output was not measured; each has at least one row.
        seed: of the fit.
        noise: (n, m) float64, standard deviation of each measurement in the units of y; NaN where unknown.
        censored: (n, m) int, -1 where the true value is below y, 1 where it is above, 0 where y was measured.
        process: says what is to be expected where only a limit is known; see `censored.py`.
        apart: one model for each output in any case; see `Apart.subset`.

    Returns:
        A model of m outputs.
    """
    if not apart and not censored.any() and bool(y.isfinite().all()):
        return fit(surrogate, x, y, seed, noise)
    parts = []
    for j in range(y.shape[1]):
        rows = y[:, j].isfinite().numpy()
        column, known = y[rows][:, j : j + 1], noise[rows][:, j : j + 1]
        side = censored[rows, j]
        own = surrogate.output(j) if isinstance(surrogate, ByOutput) else surrogate
        if side.any():
            parts.append(fit_censored(own, x[rows], column, seed, known, side, process))
        else:
            parts.append(fit(own, x[rows], column, seed, known))
    return side_by_side(parts)


def side_by_side(parts: Sequence[Model]) -> Model:
    """One model of several models' outputs; of one it is that."""
    if len(parts) == 1:
        return parts[0]
    if not all(isinstance(part, EnsembleModel) for part in parts):
        return Apart(parts).eval()
    return (NetworksApart if all(isinstance(part, Featured) for part in parts) else EnsemblesApart)(parts).eval()


def subset(model: Model, outputs: Sequence[int]) -> Model:
    """The model of some outputs only.

    Args:
        model: whose outputs were fitted apart, see `fit_each`; any, if all outputs are asked for.
        outputs: their indices.
    """
    if list(outputs) == list(range(model.num_outputs)):
        return model
    assert isinstance(model, Apart | EnsemblesApart)
    return side_by_side([model.parts[j] for j in outputs])


class Apart(Independent):
    """Independent models of one output each, with a joint Gaussian posterior."""

    def __init__(self, parts: Sequence[Model]) -> None:
        super().__init__()
        self.parts: Any = nn.ModuleList(parts)

    @property
    def num_outputs(self) -> int:
        """Number m of outputs."""
        return len(self.parts)

    @property
    def stepped(self) -> bool:
        """Whether any of them has steps."""
        return _stepped(self.parts)

    def redraw(self, seed: int) -> Apart:
        """The same, with other functions where a part is a sample of them."""
        return Apart(_redrawn(self.parts, seed)).eval()

    def of_output(self, j: int, X: torch.Tensor, measured: bool) -> MultivariateNormal:
        """See `Independent`."""
        return _normal(self.parts[j].posterior(X, observation_noise=measured))


class EnsemblesApart(MeasuredEnsemble):
    """Ensembles of one output each, of as many functions each, as one ensemble."""

    def __init__(self, parts: Sequence[Any]) -> None:
        super().__init__()
        self.parts: Any = nn.ModuleList(parts)
        self._num_outputs = len(parts)

    @property
    def stepped(self) -> bool:
        """Whether any of them has steps."""
        return _stepped(self.parts)

    def redraw(self, seed: int) -> EnsemblesApart:
        """The same with other functions where a part is a sample of them."""
        return type(self)(_redrawn(self.parts, seed)).eval()

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(b) x q x d -> (b) x s x q x m."""
        return torch.cat([part(X) for part in self.parts], dim=-1)

    def scatter(self, X: torch.Tensor) -> torch.Tensor:
        """See `MeasuredEnsemble`."""
        return torch.cat([part.scatter(X) for part in self.parts], dim=-1)


class NetworksApart(EnsemblesApart):
    """The same of networks, which see points by features of their own."""

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(n, d) -> (n, p), those of all."""
        return torch.cat([part.features(x) for part in self.parts], dim=1)


def _stepped(parts: Sequence[Any]) -> bool:
    return any(isinstance(part, Stepped) and part.stepped for part in parts)


def _redrawn(parts: Sequence[Any], seed: int) -> list[Any]:
    return [part.redraw(seed) if isinstance(part, Redrawable) else part for part in parts]


def _normal(posterior: Any) -> MultivariateNormal:
    """The Gaussian of a posterior of one output, or the one with the moments of its functions."""
    if not isinstance(posterior, EnsemblePosterior):
        found: MultivariateNormal = posterior.distribution
        return found
    mean, values = posterior.mean[..., 0], posterior.values[..., 0]  # (b) x q, (b) x s x q
    centred = values - mean.unsqueeze(-2)
    covariance = centred.mT @ centred / (values.shape[-2] - 1)
    extra = posterior.variance[..., 0] - centred.square().sum(dim=-2) / (values.shape[-2] - 1)
    scale = covariance.diagonal(dim1=-2, dim2=-1).mean(dim=-1, keepdim=True)
    return MultivariateNormal(mean, covariance + torch.diag_embed(extra.clamp_min(0.0) + JITTER * scale))
