"""How far apart two encoded points are to a model: in length scales where it has them, else in spreads of the data."""

from __future__ import annotations

from typing import Any

import torch
from botorch.models.model import Model
from gpytorch.kernels import Kernel

from matloop.surrogates.gaussian_process.process import Process

MOST = 512
"""Points over which the usual distance is taken."""


def weights(model: Model, x: torch.Tensor) -> torch.Tensor:
    """Factor on each column that turns a difference into the model's own measure of it.

    Args:
        model: in evaluation mode; a Gaussian process whose kernels have one length scale for each column gives them.
        x: (n, d) float64, measured points.

    Returns:
        (d,) float64, >= 0: 1 / length scale, else 1 / standard deviation of the column (1 where it is constant).
    """
    found = _inverse_length_scales(model, x)
    if found is not None:
        return found
    spread = x.std(dim=0, correction=0)
    return torch.where(spread > 1e-12, 1 / spread.clamp_min(1e-12), torch.ones_like(spread))


def _inverse_length_scales(model: Model, x: torch.Tensor) -> torch.Tensor | None:
    """(d,) root mean square over the Gaussian processes in the model; None if there are none of these columns."""
    processes = [part.inverse_length_scales() for part in model.modules() if isinstance(part, Process)]
    found: list[torch.Tensor | None] = [weight for weight in processes if weight.shape == x.shape[1:]]
    found += [
        _of_process(part, x) for part in model.modules() if isinstance(getattr(part, "covar_module", None), Kernel)
    ]
    known = [weight for weight in found if weight is not None]
    return torch.stack(known).square().mean(dim=0).sqrt() if known else None


def _of_process(process: torch.nn.Module, x: torch.Tensor) -> torch.Tensor | None:
    """(d,) of the closest kernel in each column, mean over outputs; None unless they cover the encoded columns."""
    transform: Any = getattr(process, "input_transform", None)
    d = x.shape[1]
    total = torch.zeros(d, dtype=torch.float64)
    for kernel in (module for module in process.covar_module.modules() if isinstance(module, Kernel)):  # type: ignore[union-attr]
        scale = kernel.lengthscale if kernel.has_lengthscale else None
        active = kernel.active_dims
        if scale is None or scale.shape[-1] != (d if active is None else len(active)):
            continue
        inverse = (1 / scale.detach().double()).reshape(-1, scale.shape[-1]).square().mean(dim=0).sqrt()
        columns = torch.arange(d) if active is None else active
        total[columns] = torch.maximum(total[columns], inverse)
    if not (total > 0).any():
        return None
    if transform is None:
        return total
    with torch.no_grad():
        moved = transform(torch.cat([torch.zeros(1, d, dtype=x.dtype), torch.eye(d, dtype=x.dtype)]))
    if moved.shape != (d + 1, d):
        return None
    slope: torch.Tensor = (moved[1:] - moved[0]).diagonal().abs()
    return total * slope


def distances(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(n, d) and (p, d) -> (n, p): Euclidean, each column by its weight."""
    return torch.cdist(a * weight, b * weight, compute_mode="donot_use_mm_for_euclid_dist")


def usual_distance(x: torch.Tensor, weight: torch.Tensor) -> float:
    """Median distance of a measured point to its nearest neighbour, repetitions aside; 0 if all points are one.

    Args:
        x: (n, d) float64; of many, `MOST` evenly spaced ones are asked for their nearest among all.
        weight: (d,) of `weights`.
    """
    asked = x[torch.linspace(0, len(x) - 1, min(len(x), MOST)).round().long()]
    apart = distances(asked, x, weight)
    nearest = torch.where(apart > 1e-9, apart, torch.inf).amin(dim=1)
    nearest = nearest[nearest.isfinite()]
    return float(nearest.median()) if len(nearest) else 0.0
