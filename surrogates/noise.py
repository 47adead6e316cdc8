"""Fitting with what is known of the measurements' noise, where the surrogate has a use for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from matloop.orchestrator.protocols import NoiseAware, Surrogate

if TYPE_CHECKING:
    from botorch.models.model import Model


def fit(surrogate: Surrogate, x: torch.Tensor, y: torch.Tensor, seed: int, noise: npt.NDArray[np.float64]) -> Model:
    """Fit, with the noise if the surrogate is `NoiseAware` and any of it is known.

    Args:
        surrogate: any.
        x: (n, d) float64.
        y: (n, m) float64.
        seed: of the fit.
        noise: (n, m) float64, standard deviation of each measurement, in the units of y; NaN where unknown.
    """
    if isinstance(surrogate, NoiseAware) and surrogate.accepts_noise and not np.isnan(noise).all():
        return surrogate.fit(x, y, seed, noise=noise)
    return surrogate.fit(x, y, seed)
