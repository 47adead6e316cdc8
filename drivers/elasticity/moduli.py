"""What is read off a stiffness in Voigt's notation: its components, and moduli by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from matloop.drivers.elasticity.voigt import PAIRS, components


def moduli(stiffness: torch.Tensor, direction: Sequence[float]) -> dict[str, torch.Tensor]:
    """All that is measured, differentiable.

    Args:
        stiffness: (3, 3) or (6, 6).
        direction: of the pull of `youngs_modulus` and `poissons_ratio`, x first, of length 1.

    Returns:
        `youngs_modulus` is stress over strain along the direction, with no stress across it; `poissons_ratio` is the
        contraction across over the strain along it, in space the mean of both directions across. `bulk_modulus` and
        `shear_modulus` are averages over all directions, by Voigt: of a body held at a uniform strain.
    """
    d = len(direction)
    found = {name: stiffness[at] for name, at in components(d).items()}
    pull = stiffness.new_tensor([direction[a] * direction[b] for a, b in PAIRS[d]])
    strain = torch.linalg.solve(stiffness, pull)
    along = pull @ strain
    found["youngs_modulus"] = 1 / along
    found["poissons_ratio"] = (along - strain[:d].sum()) / ((d - 1) * along)
    trace, normal, shear = stiffness.diagonal()[:d].sum(), stiffness[:d, :d].sum(), stiffness.diagonal()[d:].sum()
    found["bulk_modulus"] = normal / d**2
    found["shear_modulus"] = (d * trace - normal + 2 * d * shear) / (d * (d - 1) * (d + 2))
    return found


def isotropic(bulk: float, shear: float, dimension: int) -> torch.Tensor:
    """Stiffness of an isotropic body, in Voigt's notation."""
    found = torch.zeros((len(PAIRS[dimension]),) * 2, dtype=torch.float64)
    found[:dimension, :dimension] = bulk - 2 / dimension * shear
    found += torch.diag(torch.tensor([2 * shear] * dimension + [shear] * (len(found) - dimension), dtype=torch.float64))
    return found
