"""A kernel for numbers and categories at once: each by itself, and both together.

k = a N + b C + c N C, where N compares the numbers and C the one-hot columns of the categories. In N each column has a
length scale of its own; in C the columns of one category share one, so that its levels are exchangeable. The sum lets a
category shift the outcome in the same way everywhere (two solvents, one trend in temperature), which a product alone
must learn level by level; the product lets it change the trend (Ru et al., ICML 2020, weigh the two alike).
"""

from __future__ import annotations

from typing import Any

import torch
from botorch.sampling.pathwise.features.generators import GenKernelFeatures
from botorch.sampling.pathwise.features.maps import KernelFeatureMap
from botorch.sampling.pathwise.utils import SineCosineTransform
from gpytorch.kernels import Kernel
from torch import nn


class MixedKernel(Kernel):  # type: ignore[misc]
    """Weighted sum of a kernel of numbers, one of categories, and their product."""

    def __init__(self, numbers: Kernel, categories: Kernel) -> None:
        """Both kernels have `active_dims`, `ard_num_dims` and the same batch shape."""
        super().__init__(batch_shape=numbers.batch_shape)
        self.numbers, self.categories = numbers, categories
        self.raw_weights = nn.Parameter(torch.zeros(*numbers.batch_shape, 3, dtype=torch.float64))

    @property
    def weights(self) -> torch.Tensor:
        """(batch) x 3: variance of the numbers' part, the categories' and the product's."""
        return self.raw_weights.exp()

    @weights.setter
    def weights(self, value: torch.Tensor) -> None:
        with torch.no_grad():
            self.raw_weights.copy_(value.log().reshape(self.raw_weights.shape))

    def forward(self, x1: torch.Tensor, x2: torch.Tensor, diag: bool = False, **params: Any) -> torch.Tensor:
        """(b) x n x d and (b) x p x d -> (b) x n x p, or (b) x n on the diagonal."""
        n, c = (_dense(kernel(x1, x2, diag=diag, **params)) for kernel in (self.numbers, self.categories))
        weights = self.weights.unsqueeze(-2) if diag else self.weights[..., None, None, :]
        return weights[..., 0] * n + weights[..., 1] * c + weights[..., 2] * n * c


def _dense(matrix: Any) -> torch.Tensor:
    dense: torch.Tensor = matrix if isinstance(matrix, torch.Tensor) else matrix.to_dense()
    return dense


class _Amplitude(nn.Module):
    """Multiplies each feature by its amplitude: (batch) x 1 x features."""

    def __init__(self, amplitude: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("amplitude", amplitude)
        self.waves = SineCosineTransform()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        amplitude: torch.Tensor = self.amplitude  # type: ignore[assignment]
        waves: torch.Tensor = self.waves(values)
        return waves * (amplitude if values.ndim > 1 else amplitude.flatten()[: len(waves)])


@GenKernelFeatures.register(MixedKernel)  # type: ignore[untyped-decorator]
def _features(kernel: MixedKernel, *, num_inputs: int, num_outputs: int) -> KernelFeatureMap:
    """Random Fourier features (Rahimi & Recht, NeurIPS 2007), a third of the waves for each part.

    The spectral density of a product of kernels over different columns is the product of theirs.
    """
    half, batch = num_outputs // 2, kernel.batch_shape
    part = torch.arange(half) % 3
    frequencies = torch.zeros(*batch, half, num_inputs, dtype=torch.float64)
    for inner, without in ((kernel.numbers, 1), (kernel.categories, 0)):
        for column, wave in zip(inner.active_dims, _waves(inner, half).unbind(-1), strict=True):
            frequencies[..., column] = torch.where(part == without, 0.0, wave)
    share = torch.bincount(part, minlength=3).to(torch.float64)
    amplitude = (kernel.weights.detach() / share).sqrt()[..., part]
    return KernelFeatureMap(
        kernel=kernel,
        weight=frequencies,
        output_transform=_Amplitude(torch.cat([amplitude, amplitude], dim=-1).unsqueeze(-2)),
    )


def _waves(kernel: Kernel, count: int) -> torch.Tensor:
    """(batch) x count x columns: draws from the spectral density, a Student t for Matérn, Gaussian for RBF."""
    scales = kernel.lengthscale.detach()  # (batch) x 1 x columns
    normal = torch.randn(*kernel.batch_shape, count, scales.shape[-1], dtype=scales.dtype)
    nu = getattr(kernel, "nu", None)
    if nu is not None:
        chi = torch.distributions.Gamma(nu, nu).sample(torch.Size([*kernel.batch_shape, count, 1])).to(scales)
        normal = normal * chi.rsqrt()
    waves: torch.Tensor = normal / scales
    return waves
