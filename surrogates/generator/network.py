"""The two networks of the GAN: a generator whose latent grid maps to a periodic microstructure, and its critic.

Both are convolutions with circular padding throughout, so images are periodic, and moving the latent grid by one cell
moves the image by the matching number of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

LATENT = (4, 4)
"""Height and width of the latent grid; one channel, so that d = 16."""


SOFTNESS = 4.0
"""Median absolute logit of a softened generator: half of all pixels lie within 0.02 of 0 or 1."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a generator's weights need beside them to be built again.

    Attributes:
        widths: channels at each resolution, from the latent grid's up; each step doubles the side.
    """

    widths: tuple[int, ...]

    @classmethod
    def of_size(cls, size: int) -> Architecture:
        """Architecture for images of a side of 8, 16, 32, 64, … pixels: 8 channels at full resolution, then doubled."""
        doublings = (size // LATENT[0]).bit_length() - 1
        if doublings < 1 or size != LATENT[0] << doublings:
            raise ValueError(f"expected a size among 8, 16, 32, 64, 128, …, got {size}")
        return cls(widths=tuple(8 << k for k in range(doublings, -1, -1)))

    @property
    def size(self) -> int:
        """Side of the image, pixels."""
        return LATENT[0] << (len(self.widths) - 1)


def convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    """3x3 convolution that sees the image as periodic."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, padding_mode="circular")


class Generator(nn.Module):
    """Latent vectors to soft microstructures; differentiable, in the precision of its weights.

    Args:
        architecture: widths and size.

    Attributes:
        shape: of one image, (1, H, W).
        dimension: length d of a latent vector.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.dimension = LATENT[0] * LATENT[1]
        self.shape = (1, architecture.size, architecture.size)
        widths = (1, *architecture.widths)
        self.convolutions = nn.ModuleList(convolution(a, b) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in architecture.widths)
        self.phase = convolution(widths[-1], 1)

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
        x = z.reshape(-1, 1, *LATENT)
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
        self.score = nn.Linear(up[-1] * LATENT[0] * LATENT[1], 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score (n, 1, H, W) images in [0, 1]; returns (n,)."""
        scores: torch.Tensor = self.score(self.features(2 * image - 1).flatten(1))
        return scores.squeeze(1)
