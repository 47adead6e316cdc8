"""What a film does to light at each wavelength, a few wavelengths at a time, and the gradients of weighted means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.optics.rcwa import Film, Light, Setup
from matloop.orchestrator.threads import limited

Array = npt.NDArray[np.float64]

TOGETHER = 2**19
"""Entries of a matrix of all wavelengths that are solved at once; a gradient keeps some forty of such matrices."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Of one structure.

    Attributes:
        values: by name, (w,) at each wavelength: reflectance, transmittance, absorption, absorption_in_film.
        means: their weighted means.
        gradients: of the means that were asked for, by the density of each pixel, (H, W).
    """

    values: Mapping[str, Array]
    means: Mapping[str, float]
    gradients: Mapping[str, Array]


def spectrum(
    setup: Setup,
    density: npt.NDArray[np.generic],
    *,
    shares: tuple[float, float],
    weights: Sequence[float],
    gradients: Sequence[str] = (),
) -> Spectrum:
    """Solve.

    Args:
        setup: of w wavelengths.
        density: (H, W), 0 where phase 0 is and 1 where phase 1 is.
        shares: of p and s light.
        weights: of the wavelengths in the means, (w,).
        gradients: names of values whose means' gradients are wanted.

    Raises:
        FloatingPointError: see `Film`.
    """
    found: list[Mapping[str, torch.Tensor]] = []
    slopes = {name: np.zeros(density.shape) for name in gradients}
    start = 0
    with limited(1), torch.set_grad_enabled(bool(gradients)):
        pixels = torch.tensor(density, dtype=torch.float64, requires_grad=bool(gradients))
        for part in _parts(setup):
            values = _values(_film(part)(pixels), shares)
            end = start + len(part.wavelengths_nm)
            for name in gradients:
                share = values[name] @ values[name].new_tensor(weights[start:end])
                slopes[name] += torch.autograd.grad(share, pixels, retain_graph=name != gradients[-1])[0].numpy()
            found.append({name: value.detach() for name, value in values.items()})
            start = end
    whole = {name: torch.cat([part[name] for part in found]).cpu().numpy() for name in found[0]}
    means = {name: float(value @ np.asarray(weights)) for name, value in whole.items()}
    return Spectrum(whole, means, slopes)


def over_angles(each: Sequence[Spectrum], better: Mapping[str, int] | None) -> Spectrum:
    """Of light from several directions.

    Args:
        each: of one direction.
        better: +1 or -1 by value: the worst is the least or the largest; None for the mean of the directions.

    Returns:
        `means` and `gradients` are those of the mean or, value by value, of the worst direction; `values` are means.
    """
    values = {name: np.mean([of.values[name] for of in each], axis=0) for name in each[0].values}

    def taken(name: str, of_each: Sequence[Any]) -> Any:
        if better is None:
            return sum(of_each) / len(of_each)
        return of_each[int(np.argmin([better[name] * of.means[name] for of in each]))]

    return Spectrum(
        values,
        {name: float(taken(name, [of.means[name] for of in each])) for name in each[0].means},
        {name: taken(name, [of.gradients[name] for of in each]) for name in each[0].gradients},
    )


def _parts(setup: Setup) -> list[Setup]:
    """The same by fewer wavelengths each."""
    size = max(1, TOGETHER // (4 * (2 * setup.order + 1) ** 4))
    return [_part(setup, slice(i, i + size)) for i in range(0, len(setup.wavelengths_nm), size)]


def _part(setup: Setup, at: slice) -> Setup:
    above, below = ([replace(of, indices=of.indices[at]) for of in of_side] for of_side in (
        setup.layers_above, setup.layers_below
    ))  # fmt: skip
    return replace(
        setup,
        wavelengths_nm=setup.wavelengths_nm[at],
        indices=(setup.indices[0][at], setup.indices[1][at]),
        above=setup.above and setup.above[at],
        below=setup.below and setup.below[at],
        layers_above=tuple(above),
        layers_below=tuple(below),
    )


@lru_cache(maxsize=4)
def _film(setup: Setup) -> Film:
    """Kept for the next structures."""
    return Film(setup)


def _values(light: Light, shares: tuple[float, float]) -> dict[str, torch.Tensor]:
    share = light.kept.new_tensor(shares)
    reflected, transmitted = light.reflected.sum(-1) @ share, light.transmitted.sum(-1) @ share
    return {
        "absorption": 1 - reflected - transmitted,
        "absorption_in_film": light.kept @ share,
        "reflectance": reflected,
        "transmittance": transmitted,
    }
