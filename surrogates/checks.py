"""What every surrogate demands of its data and does to them first, said once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch


def check_data(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x (n, d) and y (n, m) as detached float64.

    Raises:
        ValueError: n < 1, the shapes do not fit, or a value is not finite.
    """
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not len(x):
        raise ValueError(
            f"expected x of shape (n, d) and y of shape (n, m) with n >= 1, got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    for name, values in (("x", x), ("y", y)):
        bad = ~torch.isfinite(values).all(dim=1)
        if bad.any():
            rows = torch.nonzero(bad).flatten().tolist()
            raise ValueError(f"expected finite {name}, got NaN or infinity in rows {rows[:8]}; leave those trials out")
    return x.detach().to(torch.float64), y.detach().to(torch.float64)


def check_noise(noise: npt.NDArray[np.float64] | torch.Tensor | None, y: torch.Tensor) -> torch.Tensor:
    """Return the measurements' standard deviations (n, m) as float64; NaN, the unknown ones, are allowed.

    Raises:
        ValueError: the shape is not that of y, or a value is negative or infinite.
    """
    if noise is None:
        return torch.full_like(y, torch.nan)
    spread = torch.as_tensor(noise, dtype=torch.float64)
    if spread.shape != y.shape:
        raise ValueError(f"expected noise of shape {tuple(y.shape)} as y, got {tuple(spread.shape)}")
    bad = ((spread < 0) | torch.isinf(spread)).any(dim=1)
    if bad.any():
        rows = torch.nonzero(bad).flatten().tolist()
        raise ValueError(f"expected noise >= 0, or NaN where unknown, got others in rows {rows[:8]}; correct them")
    return spread


def centre_and_spread(y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of (n, m) values of any size, each (m,); 1 for one of nothing but rounding."""
    top = y.abs().amax(dim=0)
    size = torch.where(top > 0, top, torch.ones_like(top))
    first = y[0] / size
    centre, spread = first + (y / size - first).mean(dim=0), (y / size).std(dim=0, correction=0)
    return centre * size, torch.where(spread > 1e-14, spread * size, torch.ones_like(spread))
