"""Multilinear finite elements, one to a pixel or voxel, assembled as matrices: what most programs use."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import cg

from matloop.drivers.elasticity.phases import Phases
from matloop.drivers.elasticity.voigt import PAIRS

Array = npt.NDArray[Any]


class Elements:
    """Assembled elements under unit mean strains.

    Args:
        structure: labels, ([D,] H, W).
        phases: what they are of.
        selective: whether the change of volume is taken at the centre (selectively reduced integration), as Abaqus does
            in its element C3D8; else all is integrated fully.
    """

    def __init__(self, structure: Array, phases: Phases, *, selective: bool = False) -> None:
        self.d, self.n = structure.ndim, structure.size
        bulk, shear = np.array(phases.bulk_moduli(self.d)), np.array(phases.shear_moduli)
        first = bulk - 2 / self.d * shear
        corners = list(itertools.product((0, 1), repeat=self.d))
        at = np.stack(np.unravel_index(np.arange(self.n), structure.shape), axis=1)
        sides = np.array(structure.shape)
        nodes = np.stack([np.ravel_multi_index(((at + c) % sides).T, structure.shape) for c in corners], axis=1)
        self.freedoms = (nodes[:, :, None] * self.d + np.arange(self.d)).reshape(self.n, -1)
        points = itertools.product([0.5 - 0.5 / 3**0.5, 0.5 + 0.5 / 3**0.5], repeat=self.d)
        self.strain = [_strain_of(corners, point) for point in points]
        if selective:
            self.strain = [_with_volume_of(b, sum(self.strain) / len(self.strain), self.d) for b in self.strain]
        labels = structure.ravel()
        self.local = first[labels, None, None] * sum(self._energy(b, normal=True) for b in self.strain)
        self.local = self.local + shear[labels, None, None] * sum(self._energy(b, normal=False) for b in self.strain)
        shape = (self.n * self.d,) * 2
        k = self.freedoms.shape[1]
        where = np.repeat(self.freedoms, k, axis=1).ravel(), np.tile(self.freedoms, (1, k)).ravel()
        self.whole = sparse.csr_matrix((self.local.ravel(), where), shape=shape)
        x = np.array(corners, dtype=float)[:, ::-1]  # x is the last axis
        self.affine = {
            i: np.stack([x[:, b] * (0.5 if a != b else 1.0) * (c == a) + x[:, a] * 0.5 * (a != b) * (c == b)
                         for c in range(self.d)], axis=1).ravel()
            for i, (a, b) in enumerate(PAIRS[self.d])
        }  # fmt: skip

    def _energy(self, b: Array, *, normal: bool) -> Array:
        d, points = self.d, 2**self.d
        trace = b[:d].sum(axis=0)
        return np.outer(trace, trace) / points if normal else (2 * b[:d].T @ b[:d] + b[d:].T @ b[d:]) / points

    def displacements(self, component: int) -> Array:
        """Of each element's corners, (n, corners x d), under a unit mean strain."""
        forces = np.zeros(self.n * self.d)
        np.add.at(forces, self.freedoms, self.local @ self.affine[component])
        inverse = sparse.diags(1 / self.whole.diagonal())
        u, failed = cg(self.whole, -forces, rtol=1e-8, maxiter=20_000, M=inverse)
        if failed:
            raise RuntimeError("the assembled elements were not solved")
        return u[self.freedoms] + self.affine[component]

    def stiffness(self, component: int = 0) -> float:
        """A diagonal component."""
        u = self.displacements(component)
        return float(np.einsum("ei,eij,ej->", u, self.local, u) / self.n)

    def mean_strain(self, component: int) -> Array:
        """That component of each element's mean strain."""
        row = sum(b[component] for b in self.strain) / len(self.strain)
        return self.displacements(component) @ row


def _with_volume_of(strain: Array, other: Array, d: int) -> Array:
    """A strain with the change of volume of another."""
    found = strain.copy()
    found[:d] += (other[:d].sum(axis=0) - strain[:d].sum(axis=0)) / d
    return found


def _strain_of(corners: list[tuple[int, ...]], point: tuple[float, ...]) -> Array:
    """(s, corners x d): strain at a point of the corners' displacements."""
    d = len(point)
    shapes = np.array([[c * p + (1 - c) * (1 - p) for c, p in zip(corner, point, strict=True)] for corner in corners])
    found = np.zeros((len(PAIRS[d]), len(corners) * d))
    for i, corner in enumerate(corners):
        slope = [np.prod(np.delete(shapes[i], axis)) * (2 * corner[axis] - 1) for axis in range(d)][::-1]
        for row, (a, b) in enumerate(PAIRS[d]):
            found[row, i * d + a] += slope[b]
            if a != b:
                found[row, i * d + b] += slope[a]
    return found
