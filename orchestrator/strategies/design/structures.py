"""A latent space as a strategy of design sees it: structures of vectors, steps that stay in the space, and slopes.

Where latent numbers are standard normal, almost all vectors lie close to a sphere, and far from it the generator was
never meant to be; so steps turn a vector and keep its length. Elsewhere steps end at the bounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from matloop.orchestrator.protocols import Array, Normal, Rendering, Space, Vectorised, require
from matloop.orchestrator.threads import limited
from matloop.orchestrator.trial import Point

Labels = npt.NDArray[np.uint8]

RENDERED = 64
"""Structures rendered at once: more do not fit the cache."""


class Structures:
    """Vectors of a space and what they look like.

    Args:
        space: Vectorised and Rendering, as `latent` is.
        user: whose space it is, for errors.

    Attributes:
        space: it.
        bounds: (2, d) float64.
        normal: whether vectors are kept on a sphere.
        sides: of a structure, pixels.
    """

    def __init__(self, space: Space, user: str) -> None:
        self.space = space
        self._rendering = require(space, Rendering, user)  # type: ignore[type-abstract]
        self._vectors = require(space, Vectorised, user)  # type: ignore[type-abstract]
        self.bounds: Array = np.asarray(self._vectors.bounds, dtype=np.float64)
        self.normal = isinstance(space, Normal) and bool(space.normal)
        self.sides: tuple[int, ...] = self.labels(self.bounds.mean(axis=0)[None]).shape[1:]

    def vectors(self, points: Sequence[Point]) -> Array:
        """(n, d) float64."""
        return self._vectors.encode(points)

    def point(self, z: Array) -> Point:
        """Point at (d,)."""
        return self._vectors.decode(z)

    def soft(self, z: torch.Tensor) -> torch.Tensor:
        """(n, d) -> (n, *sides) in (0, 1), differentiable."""
        return self._rendering.render(z)[:, 0]

    def labels(self, z: Array, dtype: torch.dtype = torch.float32) -> Labels:
        """(n, d) -> (n, *sides): 1 (inclusion) where the soft structure is above 1/2.

        The driver renders in float64; in float32 a pixel in a million is another, in a fraction of the time.
        """
        with torch.inference_mode(), limited(1):
            parts = [self.soft(part) > 0.5 for part in torch.split(torch.as_tensor(z, dtype=dtype), RENDERED)]
        return torch.cat(parts).numpy().astype(np.uint8)

    def random(self, n: int, rng: np.random.Generator) -> Array:
        """n vectors of random points, (n, d)."""
        return self.vectors([self.space.sample(rng) for _ in range(n)])

    def near(self, z: Array, n: int, step: float, rng: np.random.Generator) -> Array:
        """n vectors near (d,), turned by an angle or moved by normal numbers, in half widths of the bounds.

        Args:
            z: (d,).
            n: how many.
            step: radians, or half widths.
            rng: of the steps.
        """
        noise = rng.standard_normal((n, len(z)))
        if self.normal:
            return self._kept(math.cos(step) * z + math.sin(step) * noise, z)
        return np.clip(z + step * noise * (self.bounds[1] - self.bounds[0]) / 2, *self.bounds)

    def moved(self, z: Array, direction: Array, step: float) -> Array:
        """(d,) vector further along a direction (d,) of any length; numbers change by `step` in root mean square, in
        the measure of `near`."""
        size = np.sqrt(np.mean(direction**2))
        if not size > 0:
            return z
        if self.normal:
            return self._kept(z + step * np.sqrt(np.mean(z**2)) * direction / size, z)
        return np.clip(z + step * direction / size * (self.bounds[1] - self.bounds[0]) / 2, *self.bounds)

    def slope(self, z: Array, by_pixel: npt.NDArray[Any]) -> Array:
        """Derivative by the numbers of (d,), of what changes by (*sides) with each pixel.

        This is the straight-through estimator: pixels are those of the labels, the way back leads through the soft
        structure, whose phases pass into each other.
        """
        with limited(1):
            place = torch.tensor(z[None], dtype=torch.float64, requires_grad=True)
            soft = self.soft(place)
            weights = torch.as_tensor(by_pixel, dtype=torch.float64).reshape(soft.shape)
            (found,) = torch.autograd.grad(soft, place, weights)
        return found[0].numpy()

    def _kept(self, found: Array, z: Array) -> Array:
        """(..., d) vectors at the length of (d,)."""
        lengths = np.linalg.norm(found, axis=-1, keepdims=True)
        return np.clip(found * np.linalg.norm(z) / lengths, *self.bounds)
