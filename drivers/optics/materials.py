"""Refractive indices: by number, by one number for each wavelength, or by the name of a material in a small table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from matloop.drivers.optics import indices
from matloop.orchestrator.errors import ConfigError

Index = str | float | Sequence[float] | Sequence[Sequence[float]]
"""What an option may give: a name, n, [n, k], or one [n, k] for each wavelength."""


@dataclass(frozen=True, slots=True)
class Material:
    """A material of the table.

    Attributes:
        low_nm, high_nm: between which its index is known.
        index: n + ik, (w,) complex128, at wavelengths (w,) float64, nm, within that range.
        source: where the values were published.
    """

    low_nm: float
    high_nm: float
    index: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.complex128]]
    source: str


def _tabulated(rows: Sequence[tuple[float, float, float]], source: str) -> Material:
    """Linear between the rows."""
    wavelengths, n, k = (np.array(column) for column in zip(*rows, strict=True))
    return Material(
        float(wavelengths[0]),
        float(wavelengths[-1]),
        lambda at: np.interp(at, wavelengths, n) + 1j * np.interp(at, wavelengths, k),
        source,
    )


def _silica(wavelengths_nm: npt.NDArray[np.float64]) -> npt.NDArray[np.complex128]:
    squared = (wavelengths_nm / 1000) ** 2
    terms = ((0.6961663, 0.0684043), (0.4079426, 0.1162414), (0.8974794, 9.896161))
    return np.sqrt(1 + sum(b * squared / (squared - c**2) for b, c in terms)).astype(np.complex128)


def _rutile(wavelengths_nm: npt.NDArray[np.float64]) -> npt.NDArray[np.complex128]:
    return np.sqrt(5.913 + 0.2441 / ((wavelengths_nm / 1000) ** 2 - 0.0803)).astype(np.complex128)


_NOBLE = "Johnson & Christy, Phys. Rev. B 6, 4370 (1972)"
MATERIALS: Final[Mapping[str, Material]] = {
    "air": Material(0.0, np.inf, lambda at: np.ones(len(at), dtype=np.complex128), "vacuum, n = 1"),
    "silica": Material(210, 3710, _silica, "Malitson, J. Opt. Soc. Am. 55, 1205 (1965)"),
    "silicon": _tabulated(indices.SILICON, "Green, Sol. Energ. Mat. Sol. Cells 92, 1305 (2008)"),
    "titanium dioxide": Material(430, 1530, _rutile, "Devore, J. Opt. Soc. Am. 41, 416 (1951), rutile, ordinary ray"),
    "titanium nitride": _tabulated(
        indices.TITANIUM_NITRIDE, "Pflüger & Fink, Handbook of Optical Constants of Solids II, 293 (1991)"
    ),
    "gold": _tabulated(indices.GOLD, _NOBLE),
    "silver": _tabulated(indices.SILVER, _NOBLE),
    "aluminium": _tabulated(indices.ALUMINIUM, "Rakić, Appl. Opt. 34, 4755 (1995)"),
}
"""By name."""


def refractive_indices(value: Index, wavelengths_nm: Sequence[float], *, at: str) -> tuple[complex, ...]:
    """n + ik at each wavelength.

    Args:
        value: see `Index`; n > 0, k >= 0.
        wavelengths_nm: in vacuum.
        at: name of the option, for messages.

    Raises:
        ConfigError: no such material, a wavelength outside its table, or no index.
    """
    if isinstance(value, str):
        return _of_material(value, wavelengths_nm, at)
    found = _pairs(value, len(wavelengths_nm))
    if found is None or not all(n > 0 and k >= 0 and np.isfinite((n, k)).all() for n, k in found):
        raise ConfigError(
            f"expected {at} to be the name of a material, n, [n, k], or [n, k] for each of {len(wavelengths_nm)} "
            f"wavelengths, with n > 0 and k >= 0, got {value!r}",
            at=at,
        )
    return tuple(complex(n, k) for n, k in found)


def _of_material(name: str, wavelengths_nm: Sequence[float], at: str) -> tuple[complex, ...]:
    if (material := MATERIALS.get(name)) is None:
        raise ConfigError(
            f"expected {at} to be one of {', '.join(MATERIALS)}, got {name!r}; give others as [n, k]", at=at
        )
    outside = [w for w in wavelengths_nm if not material.low_nm <= w <= material.high_nm]
    if outside:
        raise ConfigError(
            f"expected wavelengths of {material.low_nm:g} to {material.high_nm:g} nm, where the index of {name} is "
            f"known ({material.source}), got {outside[0]:g} nm; give {at} as [n, k] for each wavelength",
            at=at,
        )
    return tuple(complex(n) for n in material.index(np.asarray(wavelengths_nm, dtype=np.float64)))


def _pairs(value: Any, n: int) -> list[tuple[float, float]] | None:
    """One pair for each of n wavelengths; None where it is not that."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if array.shape == ():
        array = np.array([float(array), 0.0])
    if array.shape == (2,):
        array = np.tile(array, (n, 1))
    return [(float(a), float(b)) for a, b in array] if array.shape == (n, 2) else None
