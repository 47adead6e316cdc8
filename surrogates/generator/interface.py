"""What every generator of microstructures offers: a law of latent vectors, and a soft image that is smooth in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

Latents = npt.NDArray[np.float64]

Distribution = Literal["uniform", "normal"]

Named = str | Path | Mapping[str, Any]
"""How a user names a generator: a shipped one ("grf32"), a file, or options such as {"kind": "field", "size": 64}."""

SOFTNESS = 4.0
"""Median absolute logit of soft images: half of all pixels lie within 0.02 of 0 or 1."""


@runtime_checkable
class MicrostructureGenerator(Protocol):
    """A torch module from latent vectors to periodic two-phase microstructures; `weights.load` gives one.

    Attributes:
        shape: of one image, (1, H, W), or (1, D, H, W) of a volume.
        dimension: length d of a latent vector.
        bounds: (2, d) float64, the lowest and the highest latent vector that may be asked for.
        distribution: of each number of a latent vector, all independent: uniform between the bounds, or standard
            normal (the bounds are then so wide that they do not matter).
        card: for people, JSON-able: how it came to be, and statistics of its images.
    """

    shape: tuple[int, ...]
    dimension: int
    distribution: Distribution

    @property
    def bounds(self) -> Latents: ...

    @property
    def card(self) -> Mapping[str, Any]: ...

    def sample(self, n: int, rng: np.random.Generator) -> Latents:
        """Draw n latent vectors from their distribution, (n, d) float64 within the bounds."""
        ...

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Render.

        Args:
            z: (..., d) within the bounds.

        Returns:
            (..., *shape) in (0, 1), dtype of z; above 1/2 is the inclusion phase. Differentiable in z.
        """
        ...


@torch.no_grad()
def phases(generator: MicrostructureGenerator, z: Latents, batch: int = 256) -> npt.NDArray[np.uint8]:
    """Microstructures of latent vectors.

    Args:
        generator: in float32 on the CPU.
        z: (n, d) float64.
        batch: rendered at once.

    Returns:
        (n, H, W) or (n, D, H, W) uint8: 1 where the soft image is above 1/2, the inclusion.
    """
    parts = [generator(torch.from_numpy(z[i : i + batch]).float())[:, 0] > 0.5 for i in range(0, len(z), batch)]
    return torch.cat(parts).numpy().astype(np.uint8)
