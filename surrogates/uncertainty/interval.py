"""Central interval of what will be measured, by a model's whole predictive distribution."""

from __future__ import annotations

from typing import Any

import torch
from botorch.models.model import Model
from botorch.posteriors.ensemble import EnsemblePosterior

BISECTIONS = 60


def interval(model: Model, x: torch.Tensor, level: float = 0.9) -> torch.Tensor:
    """Bounds that hold a measurement with probability `level`, as much being left out below as above.

    A Gaussian posterior gives normal quantiles. An ensemble gives those of the mixture of its functions, each with the
    noise around it, so that the interval need not be symmetric about the mean.

    Args:
        model: posterior in the units of y.
        x: (n, d) float64.
        level: in (0, 1).

    Returns:
        (2, n, m) float64: lower, upper.
    """
    with torch.no_grad():
        posterior: Any = model.posterior(x.unsqueeze(1), observation_noise=True)
        mean, std = posterior.mean[:, 0], posterior.variance[:, 0].clamp_min(1e-300).sqrt()
        tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=mean.dtype)[:, None, None]
        if not isinstance(posterior, EnsemblePosterior):
            bounds: torch.Tensor = mean + std * torch.special.ndtri(tails)
            return bounds
        functions: torch.Tensor = posterior.values[:, :, 0]  # (n, s, m)
        noise = (std**2 - functions.var(dim=1)).clamp_min(1e-12 * std**2).sqrt()
        low = functions.amin(dim=1) - 10 * noise
        high = functions.amax(dim=1) + 10 * noise
        low, high = low.expand(2, *low.shape).clone(), high.expand(2, *high.shape).clone()
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            below = torch.special.ndtr((middle[:, :, None] - functions) / noise[:, None]).mean(dim=2) < tails
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        centre: torch.Tensor = (low + high) / 2
        return centre
