"""Strains of a periodic body under mean strains, and its effective stiffness, by conjugate gradients.

The unknowns are displacements at the corners of pixels; the preconditioner is a uniform body with the smallest bulk and
shear modulus of the structure's. Since no pixel is softer than that body, the energy of the out-of-balance forces in it
bounds the energy of the strain's error from above, and the iteration stops when it is as small as asked: the relative
error of each diagonal component of the stiffness is then at most the tolerance squared.

References: Zeman et al., Int. J. Numer. Meth. Engng 111, 903 (2017); Ladecký et al., Appl. Math. Comput. 446, 127835
(2023), for preconditioned displacements; the discretisation is `grid`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from matloop.drivers.elasticity.grid import Preconditioner, divergence, gradient
from matloop.drivers.elasticity.voigt import PAIRS

CACHED = 2**16
"""Numbers of displacements that are solved for at once, so that they stay in a processor's cache."""


class NotConverged(ArithmeticError):
    """The residual stayed above the tolerance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """When to stop.

    Attributes:
        tolerance: of the energy of the out-of-balance forces, as the square root of its share in the body's energy.
        most: iterations.
    """

    tolerance: float = 1e-6
    most: int = 5000


@dataclass(frozen=True, slots=True)
class Body:
    """One period of an isotropic body that differs from place to place.

    Attributes:
        first: ([D,] H, W) float64, Lamé's first parameter.
        second: ([D,] H, W) float64, shear modulus, > 0.
    """

    first: torch.Tensor
    second: torch.Tensor

    @property
    def dimension(self) -> int:
        """2 for plane problems, or 3."""
        return self.first.dim()

    def stress(self, strain: torch.Tensor) -> torch.Tensor:
        """(..., s, [D,] H, W) in Voigt's notation, by Hooke's law."""
        d = self.dimension
        normal, shear = _normal_and_shear(strain, d)
        pressure = self.first * normal.sum(dim=-d - 1, keepdim=True)
        return torch.cat([2 * self.second * normal + pressure, self.second * shear], dim=-d - 1)


def unit_strains(dimension: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """(s, s) float64: one mean strain for each component, in Voigt's notation."""
    return torch.eye(len(PAIRS[dimension]), dtype=torch.float64, device=device)


def strains(body: Body, means: torch.Tensor, accuracy: Accuracy) -> torch.Tensor:
    """Periodic strains whose stress is in equilibrium.

    Args:
        body: of n pixels.
        means: (m, s) float64, mean strains in Voigt's notation.
        accuracy: when to stop.

    Returns:
        (m, s, [D,] H, W) float64.

    Raises:
        NotConverged: not within so many iterations.
    """
    together = max(1, CACHED // (body.dimension * body.first.numel()))
    with torch.no_grad():
        return torch.cat([_Problem(body, part).solved(accuracy) for part in torch.split(means, together)])


def stiffness(body: Body, strain: torch.Tensor) -> torch.Tensor:
    """Effective stiffness in Voigt's notation, from the energies of unit strains.

    Differentiable in the body though the strains are constants: the energy is stationary in them.

    Args:
        body: see `Body`.
        strain: (s, s, [D,] H, W), those of `unit_strains`.

    Returns:
        (s, s) float64, symmetric.
    """
    d = body.dimension
    normal, shear = (part.flatten(start_dim=2) for part in _normal_and_shear(strain, d))
    first, second = body.first.flatten(), body.second.flatten()
    trace = normal.sum(dim=1)
    energy = torch.einsum("ip,jp->ij", trace * first, trace)
    energy = energy + 2 * torch.einsum("icp,jcp->ij", normal * second, normal)
    energy = energy + torch.einsum("icp,jcp->ij", shear * second, shear)
    return (energy + energy.T) / (2 * first.numel())


class _Problem:
    """A body under some mean strains at once; each is a problem of its own with step lengths of its own."""

    def __init__(self, body: Body, means: torch.Tensor) -> None:
        self.body, self.dimension = body, body.dimension
        grid = [1] * self.dimension
        self.means = means.reshape(*means.shape, *grid)
        second = float(body.second.min())
        first = float((body.first + 2 / self.dimension * body.second).min()) - 2 / self.dimension * second
        self.solve = Preconditioner(body.first.shape, first, second, means.device)

    def solved(self, accuracy: Accuracy) -> torch.Tensor:
        """See `strains`."""
        shape = (len(self.means), self.dimension, *self.body.first.shape)
        u = self.means.new_zeros(shape)
        stress = self.body.stress(self.means.expand(*self.means.shape[:2], *self.body.first.shape))
        residual = -self._forces(stress)
        energy = _dot(self.means.expand_as(stress), stress)
        step, size = torch.zeros_like(u), torch.ones_like(energy)
        for _ in range(accuracy.most + 1):
            towards = self.solve(residual)
            size, before = _dot(residual, towards), size
            if bool((size <= accuracy.tolerance**2 * energy).all()):
                return self.means + self._strain(u)
            step.mul_(_ratio(size, before)).add_(towards)
            applied = self._forces(self.body.stress(self._strain(step)))
            length = _ratio(size, _dot(step, applied))
            u.addcmul_(length, step)
            residual.addcmul_(length, applied, value=-1)
            energy = energy - (length * size)
        reached = float((size / energy).max().sqrt())
        raise NotConverged(
            f"expected a residual of at most {accuracy.tolerance:g} within {accuracy.most} iterations, got "
            f"{reached:.1e}; allow more (max_iterations), a larger tolerance, or phases whose stiffness differs less"
        )

    def _strain(self, u: torch.Tensor) -> torch.Tensor:
        slopes = gradient(u, self.dimension)  # by direction; components of u within
        parts = [slopes[a][:, a] if a == b else slopes[a][:, b] + slopes[b][:, a] for a, b in PAIRS[self.dimension]]
        return torch.stack(parts, dim=1)

    def _forces(self, stress: torch.Tensor) -> torch.Tensor:
        at = {pair: stress[:, i] for i, pair in enumerate(PAIRS[self.dimension])}
        axes = range(self.dimension)
        fluxes = [torch.stack([at[min(a, b), max(a, b)] for b in axes], dim=1) for a in axes]
        return divergence(fluxes, self.dimension)


def _normal_and_shear(strain: torch.Tensor, d: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Components on the diagonal, and those off it."""
    return strain.narrow(-d - 1, 0, d), strain.narrow(-d - 1, d, strain.shape[-d - 1] - d)


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """By problem, (m, 1, …), as many dimensions as the arguments have."""
    found = (a * b).flatten(start_dim=1).sum(dim=1)
    return found.reshape(-1, *[1] * (a.dim() - 1))


def _ratio(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """0 where b is: what is solved exactly stays."""
    return torch.where(b == 0, 0.0, a / torch.where(b == 0, 1.0, b))
