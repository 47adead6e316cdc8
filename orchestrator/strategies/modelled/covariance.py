"""Joint covariances of a model's functions, and what remains of them once some points are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from botorch.posteriors.ensemble import EnsemblePosterior
from gpytorch.distributions import MultitaskMultivariateNormal

if TYPE_CHECKING:
    from botorch.models.model import Model


def joint_covariance(model: Model, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Covariance of the functions between points, and the variance of a measurement around the function.

    Args:
        model: BoTorch model with a Gaussian or an ensemble posterior.
        x: (n, d) float64.

    Returns:
        (m, n, n) and (m,) float64, squared units of the outputs.
    """
    with torch.no_grad():
        covariance = covariances(model.posterior(x)).detach()
        noise = unexplained(model, x[:1])
    floor = 1e-9 * covariance.diagonal(dim1=1, dim2=2).mean(dim=1)
    return covariance, torch.maximum(noise, floor).clamp_min(1e-300)


def unexplained(model: Model, x: torch.Tensor) -> torch.Tensor:
    """(m,) variance of a measurement around its function, the largest over (n, d) points."""
    with torch.no_grad():
        measured: Any = model.posterior(x.unsqueeze(1), observation_noise=True)
        function: Any = model.posterior(x.unsqueeze(1))
        variance: torch.Tensor = (measured.variance - function.variance)[:, 0]
    return variance.clamp_min(0.0).amax(dim=0)


def covariances(posterior: Any) -> torch.Tensor:
    """Covariance between the q points of a posterior, each output by itself: (b) x m x q x q."""
    if isinstance(posterior, EnsemblePosterior):
        centred = (posterior.values - posterior.mean.unsqueeze(-3)).movedim(-1, -3)  # (b) x m x s x q
        return centred.mT @ centred / (centred.shape[-2] - 1)
    distribution = posterior.distribution
    matrix: torch.Tensor = distribution.covariance_matrix
    if not isinstance(distribution, MultitaskMultivariateNormal):
        return matrix.unsqueeze(-3)
    m = distribution.event_shape[-1]
    q = matrix.shape[-1] // m
    if distribution._interleaved:  # outputs of a point side by side, rather than points of an output
        return torch.stack([matrix[..., j::m, j::m] for j in range(m)], dim=-3)
    return torch.stack([matrix[..., j * q : (j + 1) * q, j * q : (j + 1) * q] for j in range(m)], dim=-3)


def condition(covariance: torch.Tensor, noise: torch.Tensor, i: int) -> torch.Tensor:
    """Covariance after point i was measured: (m, n, n), whatever the measurement says.

    Args:
        covariance: (m, n, n).
        noise: (m,) variance of the measurement.
        i: index of the point.
    """
    column = covariance[:, :, i]
    gain = column / (column[:, i] + noise)[:, None]
    return covariance - gain[:, :, None] * column[:, None, :]


def moments(
    model: Model, X: torch.Tensor, pending: torch.Tensor | None, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of the function at single points, the variance as it will be when pending points are measured.

    The mean stays what it is, since what they will say is unknown (Desautels, Krause & Burdick, JMLR 2014).

    Args:
        model: with a Gaussian or an ensemble posterior.
        X: b x 1 x d.
        pending: (p, d), or None.
        noise: (m,) variance of a measurement.

    Returns:
        (b, m) and (b, m), the latter > 0.
    """
    if pending is None or not len(pending):
        posterior: Any = model.posterior(X)
        return posterior.mean[:, 0], posterior.variance[:, 0].clamp_min(1e-300)
    posterior = model.posterior(torch.cat([X, pending.expand(len(X), -1, -1)], dim=-2))
    matrix = covariances(posterior)  # b x m x (1 + p) x (1 + p)
    own, cross, known = matrix[..., 0, 0], matrix[..., 1:, :1], matrix[..., 1:, 1:]
    level = noise + 1e-8 * known.diagonal(dim1=-2, dim2=-1).mean(dim=-1)  # b x m
    known = known + level[..., None, None] * torch.eye(len(pending)).to(X)
    removed = (cross.mT @ torch.linalg.solve(known, cross))[..., 0, 0]
    return posterior.mean[:, 0], torch.maximum(own - removed, 1e-9 * own).clamp_min(1e-300)
