"""Data sets for live searches: handwritten digits, and the effective diffusivity of random two-phase microstructures.

The microstructures are thresholded Gaussian random fields, periodic, of random volume fraction and correlation length.
Their effective diffusivity is that of the steady state under a mean gradient along the first axis, from a balance of
fluxes on the grid with harmonic means between neighbours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import splu

from matloop.orchestrator.randomness import derive

Array = npt.NDArray[np.float64]
SIZE = 16
"""Pixels along each axis of a microstructure."""
SLOW = 0.02
"""Diffusivity of one phase, that of the other is 1."""


def digits(folder: Path) -> Path:
    """scikit-learn's 1,797 digits of 8 x 8 pixels: x (n, 1, 8, 8), y (n,) classes."""
    from sklearn.datasets import load_digits

    file = folder / "digits.npz"
    if not file.exists():
        x, y = load_digits(return_X_y=True)
        _save(file, x.reshape(-1, 1, 8, 8) / 16, y)
    return file


def diffusivity(folder: Path, n: int = 1000) -> Path:
    """Random microstructures: x (n, 1, SIZE, SIZE) of 0 and 1, y (n,) effective diffusivity in units of the faster."""
    file = folder / f"diffusivity-{n}-{SIZE}.npz"
    if not file.exists():
        rng = derive("microstructures")
        x = np.stack([microstructure(SIZE, rng) for _ in range(n)])
        _save(file, x[:, None], np.array([effective(np.where(image > 0, 1.0, SLOW)) for image in x]))
    return file


def microstructure(size: int, rng: np.random.Generator) -> Array:
    """(size, size) of 0 and 1: a Gaussian random field with a random correlation length, cut at a random level."""
    wave = 2 * np.pi * np.fft.fftfreq(size)
    length = rng.uniform(0.8, 2.5)  # pixels
    filtered = np.exp(-0.5 * length**2 * (wave[:, None] ** 2 + wave**2))
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(size, size))) * filtered).real
    return (field > np.quantile(field, 1 - rng.uniform(0.25, 0.75))).astype(np.float64)


def effective(d: Array) -> float:
    """Effective diffusivity along the first axis of a periodic medium.

    Args:
        d: (h, w) local diffusivities, > 0.
    """
    h, w = d.shape
    cells = np.arange(h * w).reshape(h, w)
    rows, columns, values = [], [], []
    right = np.zeros(h * w)
    faces = {}
    for axis in (0, 1):
        faces[axis] = face = 2 / (1 / d + 1 / np.roll(d, -1, axis))
        here, there, g = cells.ravel(), np.roll(cells, -1, axis).ravel(), face.ravel()
        rows += [here, there, here, there]
        columns += [here, there, there, here]
        values += [g, g, -g, -g]
        if axis == 0:  # the mean gradient is 1: each face carries g more
            right += (face - np.roll(face, 1, axis)).ravel()
    matrix = coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))).tocsc()
    c = np.zeros(h * w)
    c[1:] = splu(matrix[1:, 1:]).solve(right[1:])  # the level is free: the first cell has 0
    fluctuation = c.reshape(h, w)
    return float((faces[0] * (1 + np.roll(fluctuation, -1, 0) - fluctuation)).mean())


def _save(file: Path, x: Array, y: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, x=x.astype(np.float32), y=y)
