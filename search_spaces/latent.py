"""Latent space of a generator: every vector within its bounds is a microstructure, so design is a smooth box search."""

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
"""Standard deviation of a step: in a range of width 2, or of a standard normal number."""


class Latent:
    """Points `{"z": [d floats]}` of a generator of microstructures.

    Args:
        generator: name of a shipped generator ("grf32"), path of a file by `matloop.surrogates.generator.train`, or
            options: {kind: field, size: 64, length: 4, volume_fraction: 0.5} for cut Gaussian fields, whose latent
            vector is white noise, one number a pixel; {kind: gan, file: grf32, size: 64} for a trained one at another
            size (docs/generators.md).

    Attributes:
        shape: (1, H, W) of a rendered image, or (1, D, H, W).
        normal: whether latent numbers are standard normal; else they are uniform between the bounds.

    Raises:
        ConfigError: no such generator.
    """

    def __init__(self, generator: str | Path | dict[str, Any] = "grf32") -> None:
        from matloop.surrogates.generator.weights import load

        self.generator = generator
        network = load(generator)
        self.shape: tuple[int, ...] = network.shape
        self.normal = network.distribution == "normal"
        self._network = network

    @property
    def dimension(self) -> int:
        """Length d of z."""
        return self._network.dimension

    @property
    def bounds(self) -> Array:
        """(2, d) float64: the lowest and the highest z."""
        return self._network.bounds

    def sample(self, rng: np.random.Generator) -> Point:
        """Draw z from the generator's latent distribution."""
        return self.decode(self._network.sample(1, rng)[0])

    def check(self, point: Point) -> None:
        """Raise InvalidPoint unless the point is `{"z": [d finite floats within the bounds]}`."""
        if not isinstance(point, Mapping) or set(point) != {"z"}:
            raise InvalidPoint(f"expected a mapping with the one key 'z', got {point!r}")
        z = point["z"]
        if isinstance(z, str | bytes) or not isinstance(z, Sequence) or len(z) != self.dimension:
            got = f"{len(z)} values" if isinstance(z, Sequence) else type(z).__name__
            raise InvalidPoint(f"expected 'z' to be a list of {self.dimension} numbers, got {got}", at="z")
        for i, (value, low, high) in enumerate(zip(z, *self.bounds.tolist(), strict=True)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise InvalidPoint(f"expected z[{i}] to be a number in [{low:g}, {high:g}], got {value!r}", at=("z", i))

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64: the vectors as they are."""
        return np.array([p["z"] for p in points], dtype=np.float64).reshape(len(points), self.dimension)

    def decode(self, x: Array) -> Point:
        """Point at (d,) float64, clipped to the bounds."""
        return {"z": np.clip(x, *self.bounds).astype(np.float64).tolist()}

    def mutate(self, point: Point, rng: np.random.Generator) -> Point:
        """Move some coordinates (a quarter on average, at least one) by a step that keeps the latent distribution.

        Between bounds it is Gaussian and reflected at them; normal numbers are turned towards fresh ones.
        """
        z = self.encode([point])[0]
        moved = rng.random(self.dimension) < 0.25
        moved[rng.integers(self.dimension)] = True
        step = MUTATION_STD * rng.standard_normal(int(moved.sum()))
        if self.normal:
            z[moved] = np.sqrt(1 - MUTATION_STD**2) * z[moved] + step
            return self.decode(z)
        low, high = self.bounds
        half = (high - low) / 2
        z[moved] += half[moved] * step
        phase = (z - low) / half  # the triangle wave of period 4 is the identity between the bounds
        return self.decode(low + half * (2 - np.abs(phase % 4 - 2)))

    def cross(self, a: Point, b: Point, rng: np.random.Generator) -> Point:
        """Mix two parents: each coordinate from one of them or, half of the time, anywhere between the two.

        Of normal numbers, what lies between is scaled so that its variance remains 1.
        """
        first, second = self.encode([a, b])
        share = rng.random(self.dimension)
        if rng.random() < 0.5:
            share = np.round(share)
        child = first + share * (second - first)
        return self.decode(child / np.hypot(share, 1 - share) if self.normal else child)

    def render(self, z: torch.Tensor) -> torch.Tensor:
        """Soft images of latent vectors, differentiable in z.

        Args:
            z: (..., d) float32 or float64 within the bounds.

        Returns:
            (..., *shape) in (0, 1), dtype and device of z.
        """
        from matloop.surrogates.generator.weights import load

        image: torch.Tensor = load(self.generator, z.dtype, z.device)(z)
        return image

    def microstructure(self, point: Point) -> npt.NDArray[np.uint8]:
        """Two-phase image of a point, (H, W) or (D, H, W) uint8: 1 (inclusion) where the soft image is above 1/2."""
        import torch

        self.check(point)
        with torch.inference_mode():
            image: npt.NDArray[Any] = self.render(torch.tensor(point["z"], dtype=torch.float64))[0].numpy()
        return (image > 0.5).astype(np.uint8)
