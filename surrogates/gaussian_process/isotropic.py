"""Gaussian process with one length for all columns: for features of one kind, such as a power spectrum, and few data.

A length for each column has to be learned, and some thirty measurements in ten or more columns alike are few for that.
The model is BoTorch's; its hyperparameters are the likeliest of a grid.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from botorch.models import SingleTaskGP
from botorch.models.transforms import Standardize
from gpytorch.kernels import MaternKernel, ScaleKernel
from gpytorch.means import ZeroMean

from matloop.orchestrator.randomness import torch_seed
from matloop.surrogates.checks import check_data
from matloop.surrogates.outputs import side_by_side

if TYPE_CHECKING:
    from botorch.models.model import Model

Array = npt.NDArray[np.float64]

LENGTHS = (0.3, 0.5, 0.8, 1.2, 2.0, 3.5, 6.0)
"""Length scales tried, over the median distance between two of the points."""

NOISES = (1e-4, 1e-3, 1e-2, 5e-2, 0.2, 1.0)
"""Variances of the noise tried, over that of the function."""


class Isotropic:
    """Exact GP regression, Matérn 5/2, one independent process per output; it takes the columns as they are scaled."""

    def fit(self, x: torch.Tensor, y: torch.Tensor, seed: int) -> Model:
        """Fit by maximum likelihood over the grid; the variance of the function follows from both.

        Args:
            x: (n, d) float64, n >= 1.
            y: (n, m) float64, any unit.
            seed: unused: nothing is drawn.

        Returns:
            A model with posterior in the units of y.

        Raises:
            ValueError: shapes differ or a value is not finite.
        """
        x, y = check_data(x, y)
        distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").numpy()  # the others round
        return side_by_side([_fitted(x, column[:, None], distances) for column in y.T])


def _fitted(x: torch.Tensor, y: torch.Tensor, distances: Array) -> SingleTaskGP:
    centre, scale = y.mean(), y.std(correction=0)
    flat = not float(scale) > 1e-12 * (1 + abs(float(centre)))
    units = (y - centre) / (1.0 if flat else scale)
    length, noise, variance = (
        (_median(distances), NOISES[1], 1.0) if flat else _likeliest(distances, units[:, 0].numpy())
    )
    kernel = ScaleKernel(MaternKernel(nu=2.5))
    transform = Standardize(m=1)
    with torch_seed(0):
        model = SingleTaskGP(x, y, covar_module=kernel, mean_module=ZeroMean(), outcome_transform=transform)
    model.double()
    kernel.base_kernel.lengthscale, kernel.outputscale = length, variance
    model.likelihood.noise = noise * variance
    model.eval()
    with torch.no_grad():
        model.posterior(x[:1])  # so that what the model keeps of its first prediction is the same whoever asks first
    return model


def _median(distances: Array) -> float:
    apart = distances[distances > 0]
    return float(np.median(apart)) if len(apart) else 1.0


def _likeliest(distances: Array, z: Array) -> tuple[float, float, float]:
    """Length, noise over variance, and variance."""
    n, found = len(z), []
    for share, noise in product(LENGTHS, NOISES):
        length = share * _median(distances)
        r = np.sqrt(5) * distances / length
        lower = np.linalg.cholesky((1 + r + r**2 / 3) * np.exp(-r) + noise * np.eye(n))
        whitened = np.linalg.solve(lower, z)
        variance = max(float(whitened @ whitened) / n, 1e-6)
        cost = n / 2 * np.log(variance) + np.log(np.diag(lower)).sum()
        found.append((float(cost), length, noise, variance))
    return min(found)[1:]
