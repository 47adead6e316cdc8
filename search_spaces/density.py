"""Films between two phases, pixel by pixel: what density (topology) optimisation passes through."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Array
from matloop.orchestrator.trial import Point

DIGITS = 6
"""Decimal places of a density."""


class Density:
    """Points `{"density": [[…], …]}`, each pixel from 0 (phase 0) to 1 (phase 1); periodic.

    Args:
        shape: sides [H, W], or [D, H, W] of a volume, in pixels, >= 2.
        length: correlation length of random points, pixels, > 0. These are of both phases alone: Gaussian fields cut at
            zero.

    Raises:
        ConfigError: an option is out of range.
    """

    def __init__(self, shape: list[int] = [32, 32], length: float = 4.0) -> None:  # noqa: B006 (never changed)
        if len(shape) not in (2, 3) or not all(side >= 2 for side in shape):
            raise ConfigError(f"expected shape: two or three sides >= 2 pixels, got {shape}", at="shape")
        if not (math.isfinite(length) and length > 0):
            raise ConfigError(f"expected length > 0 pixels, got {length}", at="length")
        self.shape = tuple(shape)
        self.length = length

    @property
    def dimension(self) -> int:
        """Number of pixels."""
        return math.prod(self.shape)

    @property
    def bounds(self) -> Array:
        """(2, d) float64: 0 and 1."""
        return np.array([[0.0], [1.0]]) * np.ones(self.dimension)

    def sample(self, rng: np.random.Generator) -> Point:
        """A random microstructure."""
        return {"density": (self._field(rng) > 0).astype(float).tolist()}

    def check(self, point: Point) -> None:
        """Raise InvalidPoint unless the point is `{"density": rows of numbers in [0, 1]}` of the shape."""
        if not isinstance(point, Mapping) or set(point) != {"density"}:
            got = sorted(point) if isinstance(point, Mapping) else type(point).__name__
            raise InvalidPoint(f"expected a mapping with the one key 'density', got {got}")
        try:
            values = np.asarray(point["density"], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidPoint(f"expected 'density' to be rows of equal length: {error}", at="density") from error
        if values.shape != self.shape:
            raise InvalidPoint(f"expected 'density' of shape {self.shape}, got {values.shape}", at="density")
        if not ((values >= 0) & (values <= 1)).all():
            raise InvalidPoint(
                f"expected 'density' from 0 to 1, got {values.min():g} to {values.max():g}", at="density"
            )

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64, row by row."""
        return np.array([p["density"] for p in points], dtype=np.float64).reshape(len(points), self.dimension)

    def decode(self, x: Array) -> Point:
        """Point at (d,) float64, clipped to 0 and 1."""
        values: npt.NDArray[Any] = np.round(np.clip(x, 0, 1), DIGITS).reshape(self.shape)
        return {"density": values.tolist()}

    def _field(self, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Gaussian field of mean 0, by filtered noise."""
        frequencies = [np.fft.fftfreq(side) for side in self.shape]
        squared = sum(k**2 for k in np.meshgrid(*frequencies, indexing="ij"))
        smooth = np.exp(
            -((math.pi * self.length) ** 2) * squared / 2
        )  # square root of the spectrum of exp(-(r/length)²)
        found: npt.NDArray[np.float64] = np.fft.ifftn(np.fft.fftn(rng.standard_normal(self.shape)) * smooth).real
        return found
