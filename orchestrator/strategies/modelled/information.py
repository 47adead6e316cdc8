"""How much a measurement tells about the model: the mutual information of the two, known as BALD.

It is the entropy of what may be measured less that of the noise. For a Gaussian that is ½ log(1 + variance / noise).
For an ensemble what may be measured is a mixture, one Gaussian around each function, whose entropy is integrated; it is
at most the logarithm of the number of functions.

Reference: Houlsby, Huszár, Ghahramani & Lengyel, arXiv:1112.5745 (2011).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from botorch.posteriors.ensemble import EnsemblePosterior

if TYPE_CHECKING:
    from botorch.models.model import Model

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(20)
"""Quadrature over each component."""


def information(model: Model, x: torch.Tensor, variance: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Mutual information of one measurement at each point and the model, nats, summed over outputs.

    Args:
        model: with a Gaussian or an ensemble posterior.
        x: (n, d) float64.
        variance: (m, n) of the functions, given also what is pending; an ensemble's functions are drawn together to it.
        noise: (m,) variance of a measurement, > 0.

    Returns:
        (n,) float64, >= 0.
    """
    with torch.no_grad():
        posterior: Any = model.posterior(x)
    if not isinstance(posterior, EnsemblePosterior):
        return 0.5 * torch.log1p(variance / noise[:, None]).sum(dim=0)
    values = posterior.values.detach().movedim(-1, 0)  # (m, s, n)
    centred = values - values.mean(dim=1, keepdim=True)
    shrunk = centred * (variance / centred.var(dim=1).clamp_min(1e-300)).clamp_max(1.0).sqrt()[:, None]
    total = torch.zeros(len(x), dtype=torch.float64)
    for functions, level in zip(shrunk, noise.sqrt().tolist(), strict=True):
        total += _mixture_entropy(functions / level) - 0.5 * math.log(2 * math.pi * math.e)
    return total.clamp_min(0.0)


def _mixture_entropy(means: torch.Tensor) -> torch.Tensor:
    """(s, n) means of equally likely unit Gaussians -> (n,) entropy of each mixture: -log density, expected."""
    nodes, weights = torch.as_tensor(NODES), torch.as_tensor(WEIGHTS)
    places = means[:, :, None] + nodes  # (s, n, k)
    squares = (places[:, None] - means[None, :, :, None]) ** 2  # (s, s, n, k)
    log_density = torch.logsumexp(-0.5 * squares, dim=1) - math.log(len(means)) - 0.5 * math.log(2 * math.pi)
    return -(log_density @ (weights / weights.sum())).mean(dim=0)
