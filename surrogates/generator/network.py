"""A trained generator: a latent grid, any size of it, becomes a periodic microstructure by convolutions alone.

All of them see the image as periodic, so images are periodic; moving the latent grid by one cell moves the image by the
matching number of pixels; and a larger latent grid gives a larger image with the same statistics.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.stats import norm
from torch import nn
from torch.nn import functional

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.generator.interface import SOFTNESS, Distribution, Latents

STEEPNESS = SOFTNESS / float(norm.ppf(0.75))
"""Of the sigmoid, over a last layer of mean 0 and variance 1, for a median absolute logit of SOFTNESS."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a generator's weights need beside them to be built again.

    Attributes:
        widths: channels at each resolution, from the latent grid's up; each step doubles the side.
        grid: cells of the latent grid, (rows, columns), at least two each; the weights fit any other grid, too.
        channels: latent numbers in each cell.
    """

    widths: tuple[int, ...]
    grid: tuple[int, int]
    channels: int = 1

    @classmethod
    def of_header(cls, header: Mapping[str, Any]) -> Architecture:
        """From the header of a file of weights.

        Raises:
            KeyError: it lacks one of the three.
        """
        rows, columns = header["grid"]
        return cls(widths=tuple(header["widths"]), grid=(rows, columns), channels=header["channels"])

    def resized(self, size: object) -> Architecture:
        """The same for images of another size, by another latent grid.

        Args:
            size: side, or sides [H, W], pixels: multiples of `cell`, at least two cells.

        Raises:
            ConfigError: it is none of these.
        """
        sides = size if isinstance(size, Sequence) else (size, size)
        whole = [n for n in sides if isinstance(n, int) and not n % self.cell and n >= 2 * self.cell]
        if len(whole) != 2 or len(sides) != 2:
            raise ConfigError(
                f"expected one or two sides in multiples of {self.cell} pixels, from {2 * self.cell} on, got {size!r}",
                at="size",
            )
        return replace(self, grid=(whole[0] // self.cell, whole[1] // self.cell))

    @property
    def cell(self) -> int:
        """Side of the part of the image that one cell of the latent grid stands for, pixels."""
        return 1 << (len(self.widths) - 1)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image, pixels."""
        return self.grid[0] * self.cell, self.grid[1] * self.cell


def convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    """3x3 convolution that sees the image as periodic."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, padding_mode="circular")


def doubled(x: torch.Tensor) -> torch.Tensor:
    """Images of twice the side, (..., H, W) to (..., 2 H, 2 W), by linear interpolation around the period."""
    for axis in (x.dim() - 2, x.dim() - 1):
        before, after = (3 * x + x.roll(1, axis)) / 4, (3 * x + x.roll(-1, axis)) / 4
        x = torch.stack([before, after], dim=axis + 1).flatten(axis, axis + 1)
    return x


class Generator(nn.Module):
    """Latent vectors to soft microstructures; differentiable, in the precision of its weights.

    Args:
        architecture: widths and latent grid.
        card: for people; see `MicrostructureGenerator`.

    Attributes:
        shape: of one image, (1, H, W).
        dimension: length d of a latent vector, channels x rows x columns.
    """

    distribution: Distribution = "uniform"

    def __init__(self, architecture: Architecture, card: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.card: Mapping[str, Any] = card or {}
        self._describe(architecture)
        widths = (architecture.channels, *architecture.widths)
        self.convolutions = nn.ModuleList(convolution(a, b) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in architecture.widths)
        self.phase = convolution(widths[-1], 1)
        self.scale = nn.BatchNorm2d(1, affine=False)  # so that interfaces keep their width whatever training does
        self.level = nn.Parameter(torch.zeros(()))

    @property
    def bounds(self) -> Latents:
        """(2, d) float64: -1 and 1."""
        return np.array([[-1.0], [1.0]]) * np.ones(self.dimension)

    def sample(self, n: int, rng: np.random.Generator) -> Latents:
        """Draw (n, d) float64 uniformly between the bounds."""
        return rng.uniform(-1, 1, (n, self.dimension))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Render.

        Args:
            z: (..., d) in [-1, 1].

        Returns:
            (..., 1, H, W) in (0, 1), the dtype of z; above 1/2 is the inclusion phase.
        """
        return torch.sigmoid(self.logits(z))

    def logits(self, z: torch.Tensor) -> torch.Tensor:
        """Render before the sigmoid: positive in the inclusion phase; same shapes."""
        if z.shape[-1:] != (self.dimension,):
            raise ValueError(f"expected z of shape (..., {self.dimension}), got {tuple(z.shape)}")
        x = z.reshape(-1, self.architecture.channels, *self.architecture.grid)
        for level, (convolve, norm_of) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = functional.leaky_relu(norm_of(convolve(doubled(x) if level else x)), 0.2)
        image: torch.Tensor = STEEPNESS * (self.scale(self.phase(x)) + self.level)
        return image.reshape(*z.shape[:-1], *self.shape)

    def resized(self, size: Sequence[int]) -> Generator:
        """The same for images of another size, with the same weights, not copies of them."""
        other = copy.copy(self)
        other._describe(self.architecture.resized(size))
        return other

    def with_margin(self) -> Generator:
        """The same for images of one and a half the size, with the same weights.

        Pieces of the size of this one's images, cut from them, are to pictures without a period what unit cells are to
        unit cells: far sides do not know of each other.
        """
        return self.resized([(3 * cells + 1) // 2 * self.architecture.cell for cells in self.architecture.grid])

    def _describe(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.dimension = architecture.channels * math.prod(architecture.grid)
        self.shape: tuple[int, ...] = (1, *architecture.size)

    @torch.no_grad()
    def settle(self, z: torch.Tensor) -> None:
        """Take the normalisations' statistics from the images of z, (n, d), and leave training mode."""
        norms = [m for m in self.modules() if isinstance(m, nn.BatchNorm2d)]
        before = [m.momentum for m in norms]
        for m in norms:
            m.momentum = 1.0  # the statistics of the one pass that follows
        self.train()(z)
        for m, momentum in zip(norms, before, strict=True):
            m.momentum = momentum
        self.eval()

    @torch.no_grad()
    def cut_at(self, volume_fraction: float, z: torch.Tensor, batch: int = 250) -> None:
        """Set the level of the cut by images, which are to have a volume fraction on average.

        Args:
            volume_fraction: of the inclusion, in (0, 1).
            z: (n, d), of the images.
            batch: rendered at once.
        """
        heights = torch.cat([self.logits(part).flatten() for part in torch.split(z, batch)]) / STEEPNESS - self.level
        rank = round((1 - volume_fraction) * len(heights))
        self.level.copy_(-heights.kthvalue(min(max(rank, 1), len(heights))).values)
