"""What the shares of the phases alone say of the stiffness: bounds by Voigt and Reuss, and by Hashin and Shtrikman.

Those of Hashin and Shtrikman hold for averages over all directions too where the composite is anisotropic, which
`bulk_modulus` and `shear_modulus` are. With phases of which one has the larger bulk and the other the larger shear
modulus they are Walpole's. Sources: J. Mech. Phys. Solids 11, 127 (1963) and 14, 151 (1966); in the plane, Z. Hashin,
J. Mech. Phys. Solids 13, 119 (1965).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def surroundings(bulk: float, shear: float, dimension: int) -> tuple[float, float]:
    """What a uniform body adds to the bulk and the shear modulus of an inclusion in it."""
    if dimension == 2:
        return shear, bulk * shear / (bulk + 2 * shear)
    return 4 / 3 * shear, shear * (9 * bulk + 8 * shear) / (6 * (bulk + 2 * shear))


def mixed(moduli: Sequence[float], shares: Sequence[Any], zeta: float) -> Any:
    """Modulus of a mixture in such surroundings.

    Args:
        moduli: of the phases.
        shares: of the phases, floats or tensors.
        zeta: 0 for the harmonic mean, infinity for the mean.
    """
    if math.isinf(zeta):
        return sum(share * m for m, share in zip(moduli, shares, strict=True))
    return 1 / sum(share / (m + zeta) for m, share in zip(moduli, shares, strict=True)) - zeta


def hashin_shtrikman(
    bulk: Sequence[float], shear: Sequence[float], shares: Sequence[float], dimension: int
) -> dict[str, tuple[float, float]]:
    """Lowest and highest `bulk_modulus` and `shear_modulus`.

    Args:
        bulk: moduli of the phases; in the plane those of the plane problem.
        shear: likewise.
        shares: volume fractions, of sum 1.
        dimension: 2 or 3.
    """
    ends = [surroundings(end(bulk), end(shear), dimension) for end in (min, max)]
    low, high = ([mixed(of, shares, zeta) for of, zeta in zip((bulk, shear), zetas, strict=True)] for zetas in ends)
    return {"bulk_modulus": (low[0], high[0]), "shear_modulus": (low[1], high[1])}


def reuss_voigt(moduli: Sequence[float], shares: Sequence[float]) -> tuple[float, float]:
    """Harmonic and arithmetic mean."""
    return mixed(moduli, shares, 0.0), mixed(moduli, shares, math.inf)
