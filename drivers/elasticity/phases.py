"""Isotropic phases, in space or in a plane problem, and bodies made of them, also of densities between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from matloop.drivers.elasticity.bounds import mixed, surroundings
from matloop.drivers.elasticity.solver import Body

Plane = Literal["strain", "stress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Of a composite, by label.

    Attributes:
        youngs_moduli: > 0, in the unit that stiffness is wanted in.
        poissons_ratios: each in (-1, 0.5).
        plane: what two-dimensional structures are: cross-sections of a body that cannot stretch along its length
            (strain), or thin sheets that are free to (stress).
    """

    youngs_moduli: tuple[float, ...]
    poissons_ratios: tuple[float, ...]
    plane: Plane = "strain"

    def bulk_moduli(self, dimension: int) -> tuple[float, ...]:
        """Of a plane problem (the mean stress over the relative change of area) or in space."""
        pairs = zip(self.youngs_moduli, self.poissons_ratios, strict=True)
        if dimension == 3:
            return tuple(e / (3 * (1 - 2 * nu)) for e, nu in pairs)
        if self.plane == "stress":
            return tuple(e / (2 * (1 - nu)) for e, nu in pairs)
        return tuple(e / (2 * (1 + nu) * (1 - 2 * nu)) for e, nu in pairs)

    @property
    def shear_moduli(self) -> tuple[float, ...]:
        """The same in all cases."""
        pairs = zip(self.youngs_moduli, self.poissons_ratios, strict=True)
        return tuple(e / (2 * (1 + nu)) for e, nu in pairs)

    def body(self, structure: torch.Tensor) -> Body:
        """What a structure is made of; differentiable in a density.

        Args:
            structure: ([D,] H, W); integers are labels of phases. Floats in [0, 1] lie between phases 0 and 1, and the
                material there has the bulk and shear modulus of Hashin and Shtrikman's lower bound, which fine mixtures
                of both can have. It is continuous, and steep enough for black and white to pay.
        """
        d = structure.dim()
        bulk, shear = self.bulk_moduli(d), self.shear_moduli
        if not structure.is_floating_point():
            labels = structure.long()
            return _body(*(structure.new_tensor(of, dtype=torch.float64)[labels] for of in (bulk, shear)))
        shares = (1 - structure, structure)
        zetas = surroundings(min(bulk), min(shear), d)
        return _body(*(mixed(of, shares, zeta) for of, zeta in zip((bulk, shear), zetas, strict=True)))


def _body(bulk: torch.Tensor, shear: torch.Tensor) -> Body:
    return Body(bulk - 2 / bulk.dim() * shear, shear)
