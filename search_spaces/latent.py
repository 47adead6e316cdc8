"""Latent space of a generator: every vector within [-1, 1] is a microstructure, so design is a smooth box search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import InvalidPoint
from matloop.orchestrator.protocols import Array
from matloop.orchestrator.trial import Point

if TYPE_CHECKING:
    import torch

MUTATION_STD = 0.3
"""Standard deviation of a Gaussian step, in a range of width 2."""


class Latent:
    """Points `{"z": [d floats in [-1, 1]]}` of a trained generator.

    Args:
        generator: name of a shipped generator ("grf32") or path of a file by `matloop.surrogates.generator.train`.

    Attributes:
        shape: (1, H, W) of a rendered image.

    Raises:
        ConfigError: no such generator.
    """

    def __init__(self, generator: str | Path = "grf32") -> None:
        from matloop.surrogates.generator.weights import load

        self.generator = generator
        network = load(generator)
        self.shape: tuple[int, ...] = network.shape
        self._dimension = network.dimension

    @property
    def dimension(self) -> int:
        """Length d of z."""
        return self._dimension

    @property
    def bounds(self) -> Array:
        """(2, d) float64: -1 and 1."""
        return np.array([[-1.0], [1.0]]) * np.ones(self.dimension)

    def sample(self, rng: np.random.Generator) -> Point:
        """Draw z uniformly, as in the generator's training."""
        return self.decode(rng.uniform(-1, 1, self.dimension))

    def check(self, point: Point) -> None:
        """Raise InvalidPoint unless the point is `{"z": [d finite floats in [-1, 1]]}`."""
        if not isinstance(point, Mapping) or set(point) != {"z"}:
            raise InvalidPoint(f"expected a mapping with the one key 'z', got {point!r}")
        z = point["z"]
        if isinstance(z, str | bytes) or not isinstance(z, Sequence) or len(z) != self.dimension:
            got = f"{len(z)} values" if isinstance(z, Sequence) else type(z).__name__
            raise InvalidPoint(f"expected 'z' to be a list of {self.dimension} numbers, got {got}", at="z")
        for i, value in enumerate(z):
            if isinstance(value, bool) or not isinstance(value, int | float) or not -1 <= value <= 1:
                raise InvalidPoint(f"expected z[{i}] to be a number in [-1, 1], got {value!r}", at=("z", i))

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64: the vectors as they are."""
        return np.array([p["z"] for p in points], dtype=np.float64).reshape(len(points), self.dimension)

    def decode(self, x: Array) -> Point:
        """Point at (d,) float64, clipped to the bounds."""
        return {"z": [float(v) for v in np.clip(x, -1, 1)]}

    def mutate(self, point: Point, rng: np.random.Generator) -> Point:
        """Move some coordinates (a quarter on average, at least one) by a Gaussian step, reflected at the bounds."""
        z = self.encode([point])[0]
        moved = rng.random(self.dimension) < 0.25
        moved[rng.integers(self.dimension)] = True
        z[moved] += MUTATION_STD * rng.standard_normal(int(moved.sum()))
        return self.decode(1 - np.abs((z + 1) % 4 - 2))  # the triangle wave of period 4 is the identity on [-1, 1]

    def cross(self, a: Point, b: Point, rng: np.random.Generator) -> Point:
        """Mix two parents: each coordinate from one of them or, half of the time, anywhere between the two."""
        first, second = self.encode([a, b])
        share = rng.random(self.dimension)
        if rng.random() < 0.5:
            share = np.round(share)
        return self.decode(first + share * (second - first))

    def render(self, z: torch.Tensor) -> torch.Tensor:
        """Soft images of latent vectors, differentiable in z.

        Args:
            z: (..., d) float32 or float64 in [-1, 1].

        Returns:
            (..., 1, H, W) in (0, 1), dtype and device of z.
        """
        from matloop.surrogates.generator.weights import load

        image: torch.Tensor = load(self.generator, z.dtype, z.device)(z)
        return image

    def microstructure(self, point: Point) -> npt.NDArray[np.uint8]:
        """Two-phase image of a point, (H, W) uint8: 1 (inclusion) where the soft image is above 1/2."""
        import torch

        self.check(point)
        with torch.inference_mode():
            image: npt.NDArray[Any] = self.render(torch.tensor(point["z"], dtype=torch.float64))[0].numpy()
        return (image > 0.5).astype(np.uint8)
