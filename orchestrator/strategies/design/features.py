"""What a model of structures goes by: features of the decoded image that stay the same when the image is moved.

A periodic structure moved by some pixels is the same structure, yet its latent vector is another. Its power spectrum
is the same: it is the two-point correlation, by frequency. The low frequencies, which a wave sees most of, are enough
for a model of few measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.protocols import Array
from matloop.orchestrator.strategies.design.structures import Structures
from matloop.orchestrator.trial import Point

KEPT = 4096
"""Points whose features are remembered."""


class PowerSpectrum:
    """Amplitudes of the low frequencies; the first is the volume fraction.

    Args:
        sides: of the structure, pixels.
        highest: frequency along each axis, in periods per cell, >= 1.
        symmetric: whether turned and mirrored structures count as the same, as to unpolarised light at normal
            incidence in a square cell; if not, only moved ones do.
    """

    def __init__(self, sides: tuple[int, ...], *, highest: int = 3, symmetric: bool = True) -> None:
        highest = min(highest, *((side - 1) // 2 for side in sides))
        symmetric = symmetric and len(set(sides)) == 1
        groups: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        for k in product(range(-highest, highest + 1), repeat=len(sides)):
            groups.setdefault(_representative(k, symmetric), []).append(k)
        self._groups = [tuple(np.array(group).T) for _, group in sorted(groups.items())]
        self._sides = sides

    def __call__(self, labels: npt.NDArray[np.generic]) -> Array:
        """(n, *sides) -> (n, p) float64."""
        over = tuple(range(1, labels.ndim))
        power = np.abs(np.fft.fftn(labels.astype(np.float64), axes=over) / np.prod(self._sides)) ** 2
        return np.sqrt(np.stack([power[(slice(None), *group)].mean(axis=1) for group in self._groups], axis=1))


def _representative(k: tuple[int, ...], symmetric: bool) -> tuple[int, ...]:
    """Of frequencies whose power is averaged; that of k and -k is equal."""
    if not symmetric:
        return max(k, tuple(-i for i in k))
    return max(permutations([abs(i) for i in k]))


class Decoded:
    """A latent space as a model of its images sees it: encoded points are features.

    Args:
        structures: of the space.
        features: (n, *sides) labels -> (n, p).
    """

    def __init__(self, structures: Structures, features: PowerSpectrum) -> None:
        self._structures, self._features = structures, features
        self._known: dict[bytes, Array] = {}
        middle = structures.bounds.mean(axis=0)[None]
        self._dimension = self.of(middle, structures.labels(middle)).shape[1]

    @property
    def dimension(self) -> int:
        """Number p of features."""
        return self._dimension

    def sample(self, rng: np.random.Generator) -> Point:
        """As the space does."""
        return self._structures.space.sample(rng)

    def check(self, point: Point) -> None:
        """As the space does."""
        self._structures.space.check(point)

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, p) float64; each point is rendered once."""
        z = self._structures.vectors(points)
        keys = [row.tobytes() for row in z]
        if len(self._known) + len(keys) > KEPT:
            self._known.clear()
        for i, key in enumerate(keys):
            if key not in self._known:  # each by itself: in company numbers are rounded otherwise, and a replay differs
                self._known[key] = self.of(z[i : i + 1], self._structures.labels(z[i : i + 1]))[0]
        return np.stack([self._known[key] for key in keys]) if keys else np.empty((0, self.dimension))

    def of(self, z: Array, labels: npt.NDArray[np.uint8]) -> Array:
        """(n, d) vectors and their structures (n, *sides) -> (n, p)."""
        return self._features(labels)


class Plain(Decoded):
    """The space as it is: encoded points are latent vectors, in half widths of the bounds or standard deviations."""

    def of(self, z: Array, labels: npt.NDArray[np.uint8]) -> Array:
        """(n, d) -> (n, d)."""
        low, high = self._structures.bounds
        return z if self._structures.normal else (2 * z - low - high) / (high - low)
