"""A least-squares support vector machine with a Gaussian kernel: exact, small, and sure of what it does not know.

With the regularisation as the variance of measurement noise it is at the same time a Gaussian process, which gives
each prediction a standard deviation and the data an evidence by which the kernel is chosen.

References:
    J. A. K. Suykens, J. Vandewalle, "Least squares support vector machine classifiers", Neural Processing Letters 9
    (1999) 293.
    T. Van Gestel, J. A. K. Suykens, G. Lanckriet, A. Lambrechts, B. De Moor, J. Vandewalle, "Bayesian framework for
    least-squares support vector machine classifiers, Gaussian processes, and kernel Fisher discriminant analysis",
    Neural Computation 14 (2002) 1115.
    A. Rahimi, B. Recht, "Random features for large-scale kernel machines", NIPS 20 (2007).
    J. T. Wilson et al., "Efficiently sampling functions from Gaussian process posteriors", ICML (2020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dtrtrs

from matloop.orchestrator.protocols import Array

FEATURES = 256
"""Random features of a sampled function."""

FLOOR = 0.02
"""Least variance explained, so that equal targets leave a machine that can be asked."""


@dataclass(frozen=True)
class Machine:
    """A fitted machine; k(x, x') = exp(-|x - x'|² / length).

    Attributes:
        x: (n, d) float64, inputs.
        y: (n,) float64, targets, of mean 0 where nothing is known.
        length: squared length scale, > 0.
        noise: regularisation, > 0: variance of the noise as a multiple of the amplitude.
        amplitude: variance of the function, of largest evidence.
        inverse: (n, n) float64, of the kernel matrix with noise.
        weights: (n,) float64, of the kernel functions at `x`.
    """

    x: Array
    y: Array
    length: float
    noise: float
    amplitude: float
    inverse: Array
    weights: Array

    @classmethod
    def fit(cls, x: Array, y: Array, length: float, noise: float) -> Machine:
        """Solve for the weights; O(n³)."""
        matrix = np.exp(squared_distances(x, x) / -length)
        matrix[np.diag_indices_from(matrix)] += noise
        lower, _ = dpotri(dpotrf(matrix, lower=True)[0], lower=True)
        inverse = np.tril(lower) + np.tril(lower, -1).T
        weights = inverse @ y
        return cls(x, y, length, noise, max(float(y @ weights) / len(y), FLOOR), inverse, weights)

    def kernel(self, x: Array) -> Array:
        """(m, n) float64 between m inputs and those learnt."""
        k: Array = np.exp(squared_distances(x, self.x) / -self.length)
        return k

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the function, without noise, at (m, d) inputs; (m,) float64 each."""
        k = self.kernel(x)
        variance = 1.0 - np.einsum("ij,ij->i", k @ self.inverse, k)
        return k @ self.weights, np.sqrt(self.amplitude * np.maximum(variance, 1e-12))

    def left_out(self) -> Array:
        """(n,) float64: what the machine would predict of each of its inputs had it not learnt that one."""
        predicted: Array = self.y - self.weights / np.diag(self.inverse)
        return predicted

    def believing(self, x: Array) -> Machine:
        """The machine that takes what it predicts at (m, d) inputs for measured: its means stay, and are surer."""
        if not len(x):
            return self
        k = self.kernel(x)
        own = np.exp(squared_distances(x, x) / -self.length) + self.noise * np.eye(len(x))
        carried = k @ self.inverse
        corner = np.linalg.inv(own - carried @ k.T)
        side = -carried.T @ corner
        return replace(
            self,
            x=np.concatenate([self.x, x]),
            y=np.concatenate([self.y, k @ self.weights]),
            inverse=np.block([[self.inverse - side @ carried, side], [side.T, corner]]),
            weights=np.concatenate([self.weights, np.zeros(len(x))]),
        )

    def sample(self, rng: np.random.Generator) -> Callable[[Array], Array]:
        """A function drawn from the posterior: (m, d) to (m,) float64."""
        frequencies = rng.normal(scale=(2.0 / self.length) ** 0.5, size=(self.x.shape[1], FEATURES))
        phases = rng.uniform(0.0, 2.0 * np.pi, FEATURES)
        coefficients = rng.normal(scale=(2.0 * self.amplitude / FEATURES) ** 0.5, size=FEATURES)

        def prior(x: Array) -> Array:
            values: Array = np.cos(x @ frequencies + phases) @ coefficients
            return values

        noise = rng.normal(scale=(self.noise * self.amplitude) ** 0.5, size=len(self.y))
        weights = self.inverse @ (self.y - prior(self.x) - noise)
        return lambda x: prior(x) + self.kernel(x) @ weights


def squared_distances(a: Array, b: Array) -> Array:
    """(n, m) float64 between the rows of (n, d) and (m, d)."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2.0 * a @ b.T
    distances: Array = np.maximum(squares, 0.0)
    return distances


def likeliest(x: Array, y: Array, lengths: Sequence[float], noises: Sequence[float]) -> tuple[float, float]:
    """Squared length scale and regularisation of largest evidence, each with the amplitude that suits them best.

    Args:
        x: (n, d) float64, inputs.
        y: (n,) float64, targets.
        lengths: to choose from, > 0.
        noises: to choose from, > 0.
    """
    distances = squared_distances(x, x)
    kernels = ((length, np.exp(distances / -length)) for length in lengths)
    found = [(negative_log_evidence(kernel, y, noise), length, noise) for length, kernel in kernels for noise in noises]
    return min(found)[1:]


def negative_log_evidence(kernel: Array, y: Array, noise: float) -> float:
    """Negative logarithm of the evidence, up to a constant, with the amplitude of largest evidence.

    Args:
        kernel: (n, n) float64, without noise.
        y: (n,) float64, targets.
        noise: regularisation, > 0.
    """
    n = len(y)
    matrix = kernel.copy()
    matrix[np.diag_indices(n)] += noise
    factor, _ = dpotrf(matrix, lower=True, overwrite_a=True)
    whitened, _ = dtrtrs(factor, y, lower=True)
    return float(0.5 * n * np.log(max(whitened @ whitened / n, 1e-12)) + np.log(factor.diagonal()).sum())
