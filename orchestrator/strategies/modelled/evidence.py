"""How well a smooth function explains values: the marginal likelihood of a small Gaussian process, in closed form.

It is asked which of several scales suits the values, and what the others say of one that may be a slip. Its length
scales are drawn from a prior rather than fitted, so that the answer is an average over what the function may be like,
and the kernel's decomposition is shared by all questions about the same points.

Reference: Snelson, Rasmussen & Ghahramani, NIPS 2003: scales by the likelihood of the warped values.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.randomness import derive

Array = npt.NDArray[np.float64]

MOST_ROWS = 100
"""Rows that are looked at; the cost grows with their number cubed."""

DRAWS = 24
"""Sets of length scales."""

NOISES = np.array([1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 0.05, 0.2, 1.0, 10.0])
"""Variances of the noise that are compared, in those of the function."""

NEGLIGIBLE = 1e-3
"""Likelihood, as a share of the largest, that does not count in an average."""

SEPARATE = 40
"""Columns up to which each has a length scale of its own."""


class Evidence:
    """Of values at the same points.

    Args:
        x: (n, d) float64, encoded points, n >= 2. Beyond `MOST_ROWS` a random part of them is looked at.
        added: (n, n) covariance of what is not a function of the points, in variances of the function; None for none.
    """

    def __init__(self, x: Array, added: Array | None = None) -> None:
        n = len(x)
        self.rows = np.arange(n) if n <= MOST_ROWS else np.sort(derive("evidence", n).permutation(n)[:MOST_ROWS])
        low, high = x.min(axis=0), x.max(axis=0)
        moves = high > low
        self._low, self._range, self._moves = low[moves], (high - low)[moves], moves
        self._places = self._scaled(x[self.rows])
        d = max(1, int(moves.sum()))
        draws = derive("length scales", d).normal(size=(DRAWS, d if d <= SEPARATE else 1))
        self._scales = np.exp(0.3 + 0.5 * math.log(d) + draws)
        more = 0.0 if added is None else added[np.ix_(self.rows, self.rows)]
        self._parts = [np.linalg.eigh(self._kernel(self._places, self._places, s) + more) for s in self._scales]

    def log(self, z: Array) -> float:
        """Logarithm of the marginal likelihood of values z (n,) up to a constant; level and size are free.

        -inf for values that do not differ.
        """
        found = self._likelihoods(z[self.rows])[0]
        top = found.max()
        return float(top + np.log(np.exp(found - top).mean())) if np.isfinite(top) else -math.inf

    def predict(self, z: Array, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of a measurement at (k, d) points, each (k,), given the values z (n,)."""
        own = z[self.rows]
        likelihoods, levels, sizes = self._likelihoods(own)
        i, j = np.unravel_index(int(np.argmax(likelihoods)), likelihoods.shape)
        values, vectors = self._parts[i]
        inverse = (vectors / (values.clip(0.0) + NOISES[j])) @ vectors.T
        across = self._kernel(self._scaled(x), self._places, self._scales[i])
        mean = levels[i, j] + across @ inverse @ (own - levels[i, j])
        left = 1 + NOISES[j] - np.einsum("ij,jk,ik->i", across, inverse, across)
        return mean, np.sqrt(sizes[i, j] * left.clip(NOISES[0]))

    def part(self, z: Array, kernel: Array) -> tuple[float, Array]:
        """As `log`, and the mean (k,) of what has the covariance `kernel` (k, n) with a part of the values z (n,)."""
        own = z[self.rows]
        likelihoods, levels, _ = self._likelihoods(own)
        weights = np.exp(likelihoods - likelihoods.max())
        across, found = kernel[:, self.rows], np.zeros(len(kernel))
        for i, j in np.argwhere(weights > NEGLIGIBLE):
            values, vectors = self._parts[i]
            solved = vectors @ ((vectors.T @ (own - levels[i, j])) / (values.clip(0.0) + NOISES[j]))
            found += weights[i, j] * (across @ solved)
        return self.log(z), found / weights[weights > NEGLIGIBLE].sum()

    def _likelihoods(self, z: Array) -> tuple[Array, Array, Array]:
        """Log likelihood, level and variance of the function for each kernel and noise, each (kernels, noises)."""
        n = len(z)
        found = np.full((3, len(self._parts), len(NOISES)), -math.inf)
        for i, (values, vectors) in enumerate(self._parts):
            total = values.clip(0.0)[:, None] + NOISES
            ones, turned = vectors.sum(axis=0)[:, None], (vectors.T @ z)[:, None]
            weight = (ones**2 / total).sum(axis=0)
            level = (ones * turned / total).sum(axis=0) / weight
            square = ((turned - level * ones) ** 2 / total).sum(axis=0)
            with np.errstate(divide="ignore"):
                found[0, i] = -0.5 * (np.log(total).sum(axis=0) + np.log(weight) + (n - 1) * np.log(square))
            found[1, i], found[2, i] = level, square / max(1, n - 1)
        found[0][~np.isfinite(found[0])] = -math.inf
        return found[0], found[1], found[2]

    def _scaled(self, x: Array) -> Array:
        """To the unit cube of the data, without columns that never differ."""
        scaled: Array = (x[:, self._moves] - self._low) / self._range
        return scaled

    @staticmethod
    def _kernel(a: Array, b: Array, scales: Array) -> Array:
        """Matérn-5/2 between (p, d) and (q, d) places: (p, q)."""
        a, b = a / scales, b / scales
        squared = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b) - 2 * a @ b.T
        r = np.sqrt(5 * squared.clip(0.0))
        kernel: Array = (1 + r + r**2 / 3) * np.exp(-r)
        return kernel
