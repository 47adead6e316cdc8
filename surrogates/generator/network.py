"""The two networks of the GAN: a generator whose latent grid maps to a periodic microstructure, and its critic.

Both are convolutions with circular padding throughout, so images are periodic, and moving the latent grid by one cell
moves the image by the matching number of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.generator.interface import SOFTNESS, Distribution, Latents


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a generator's weights need beside them to be built again.

    Attributes:
        widths: channels at each resolution, from the latent grid's up; each step doubles the side.
        grid: cells of the latent grid, (rows, columns); the weights fit any other grid, too.
        channels: latent numbers in each cell.
    """

    widths: tuple[int, ...]
    grid: tuple[int, int] = (4, 4)
    channels: int = 1

    @classmethod
    def of_size(cls, size: int) -> Architecture:
        """Architecture for images of a side of 8, 16, 32, 64, … pixels: 8 channels at full resolution, then doubled."""
        doublings = (size // 4).bit_length() - 1
        if doublings < 1 or size != 4 << doublings:
            raise ValueError(f"expected a size among 8, 16, 32, 64, 128, …, got {size}")
        return cls(widths=tuple(8 << k for k in range(doublings, -1, -1)))

    @classmethod
    def of_header(cls, header: Mapping[str, Any]) -> Architecture:
        """From the header of a file of weights."""
        rows, columns = header.get("grid", (4, 4))
        return cls(widths=tuple(header["widths"]), grid=(rows, columns), channels=header.get("channels", 1))

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
        self.architecture = architecture
        self.card: Mapping[str, Any] = card or {}
        self.dimension = architecture.channels * math.prod(architecture.grid)
        self.shape: tuple[int, ...] = (1, *architecture.size)
        widths = (architecture.channels, *architecture.widths)
        self.convolutions = nn.ModuleList(convolution(a, b) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in architecture.widths)
        self.phase = convolution(widths[-1], 1)

    @property
    def bounds(self) -> Latents:
        """(2, d) float64: -1 and 1."""
        return np.array([[-1.0], [1.0]]) * np.ones(self.dimension)

    def sample(self, n: int, rng: np.random.Generator) -> Latents:
        """Draw (n, d) float64 uniformly between the bounds, as in training."""
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
        for level, (convolve, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            if level:
                x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = functional.leaky_relu(norm(convolve(x)), 0.2)
        image: torch.Tensor = self.phase(x)
        return image.reshape(*z.shape[:-1], *self.shape)

    @torch.no_grad()
    def soften(self, z: torch.Tensor) -> None:
        """Widen the interfaces of the soft images, leaving the phases as they are, so that gradients reach further.

        An adversarial generator ends with steps for interfaces: its images hardly change with z until a whole pixel
        flips. The last layer is scaled so that the median absolute logit over the images of z, (n, d), is SOFTNESS.
        """
        scale = SOFTNESS / self.logits(z).abs().median()
        for parameter in self.phase.parameters():
            parameter.mul_(scale)


class Critic(nn.Module):
    """Scores images: higher means more like a real microstructure. Used in training only.

    Args:
        architecture: of the generator; the critic mirrors its widths.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        up = architecture.widths[::-1]
        layers: list[nn.Module] = [convolution(1, up[0]), nn.LeakyReLU(0.2)]
        for a, b in pairwise(up):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1, padding_mode="circular"), nn.LeakyReLU(0.2)]
        self.features = nn.Sequential(*layers)
        self.score = nn.Linear(up[-1] * math.prod(architecture.grid), 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score (n, 1, H, W) images in [0, 1]; returns (n,)."""
        scores: torch.Tensor = self.score(self.features(2 * image - 1).flatten(1))
        return scores.squeeze(1)
