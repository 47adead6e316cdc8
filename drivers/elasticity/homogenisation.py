"""Effective moduli of one structure, and their gradients by the density of each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.elasticity.bounds import hashin_shtrikman, reuss_voigt
from matloop.drivers.elasticity.moduli import isotropic, moduli
from matloop.drivers.elasticity.phases import Phases
from matloop.drivers.elasticity.solver import Accuracy, Body, stiffness, strains, unit_strains
from matloop.orchestrator.threads import limited

Array = npt.NDArray[np.float64]
Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Effective:
    """Of one structure.

    Attributes:
        values: moduli by name, see `moduli`.
        gradients: of those that were asked for, by the density of each pixel, of the structure's shape.
    """

    values: Mapping[str, float]
    gradients: Mapping[str, Array]


def homogenised(
    phases: Phases,
    structure: npt.NDArray[np.generic],
    *,
    direction: Sequence[float],
    accuracy: Accuracy,
    gradients: Sequence[str] = (),
    device: str = "cpu",
) -> Effective:
    """Solve.

    Args:
        phases: what the structure is of.
        structure: ([D,] H, W), labels (integers) or a density (floats).
        direction: see `moduli`.
        accuracy: when to stop.
        gradients: names of moduli whose gradients are wanted; labels are taken for densities then.
        device: where it is computed.

    Raises:
        NotConverged: the accuracy was not reached.
    """
    with limited(1), torch.set_grad_enabled(bool(gradients)):
        pixels = torch.tensor(structure, device=device, dtype=torch.float64 if gradients else None)
        pixels.requires_grad_(bool(gradients))
        found = moduli(effective_stiffness(phases.body(pixels), accuracy), direction)
        slopes = {
            name: torch.autograd.grad(found[name], pixels, retain_graph=name != gradients[-1])[0].cpu().numpy()
            for name in gradients
        }
    return Effective({name: float(value.detach()) for name, value in found.items()}, slopes)


def effective_stiffness(body: Body, accuracy: Accuracy) -> torch.Tensor:
    """Of a body, (s, s) float64 in Voigt's notation; differentiable once in the body, at no further solve.

    Raises:
        NotConverged: the accuracy was not reached.
    """
    fixed = Body(body.first.detach(), body.second.detach())
    return stiffness(body, strains(fixed, unit_strains(body.dimension, body.first.device), accuracy))


def bounds(
    phases: Phases, shares: Sequence[float], dimension: int, direction: Sequence[float]
) -> dict[str, dict[str, Pair]]:
    """What the shares of the phases alone allow, lowest and highest.

    Returns:
        By modulus `voigt_reuss`, for those that these bound, and for `bulk_modulus` and `shear_modulus` also
        `hashin_shtrikman`.
    """
    bulk, shear = phases.bulk_moduli(dimension), phases.shear_moduli
    ends = zip(reuss_voigt(bulk, shares), reuss_voigt(shear, shares), strict=True)
    low, high = (moduli(isotropic(k, g, dimension), direction) for k, g in ends)
    bounded = [name for name in low if name[1:2] == name[2:] or name.endswith("_modulus")]
    found: dict[str, dict[str, Pair]] = {n: {"voigt_reuss": (float(low[n]), float(high[n]))} for n in bounded}
    for name, pair in hashin_shtrikman(bulk, shear, shares, dimension).items():
        found[name]["hashin_shtrikman"] = pair
    return found
