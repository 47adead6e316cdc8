"""Checks of the driver's options: lengths, wavelengths and their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError

BAND = ("low", "high", "count")


def above_zero(name: str, value: Any) -> float:
    """A length.

    Raises:
        ConfigError: it is no number, or not above 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise ConfigError(f"expected {name} > 0, got {value!r}", at=name)
    return float(value)


def wavelengths(value: Any) -> tuple[float, ...]:
    """One, several, or a band `{low, high, count}`, evenly spaced, nm.

    Raises:
        ConfigError: it is none of these.
    """
    name = "wavelength_nm"
    if isinstance(value, Mapping):
        if set(value) != {*BAND}:
            raise ConfigError(f"expected {name}: {{low: 400, high: 700, count: 7}}, got {dict(value)!r}", at=name)
        low, high, count = (above_zero(name, value[key]) for key in BAND)
        if not (low < high and count >= 2 and count == int(count)):
            raise ConfigError(f"expected {name} with low < high and a whole count >= 2, got {dict(value)!r}", at=name)
        return tuple(float(w) for w in np.linspace(low, high, int(count)))
    given = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return tuple(above_zero(name, w) for w in given or [math.nan])


def angles(value: Any) -> tuple[float, ...]:
    """One angle of incidence or several, degrees.

    Raises:
        ConfigError: there is none, or one is not in [0, 90).
    """
    given = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not given or not all(0 <= angle < 90 for angle in given):
        raise ConfigError(f"expected angle_deg in [0, 90), or a list of such, got {value!r}", at="angle_deg")
    return tuple(float(angle) for angle in given)


def normalised(weights: Sequence[float] | None, n: int) -> tuple[float, ...]:
    """Weights of n wavelengths, with sum 1.

    Raises:
        ConfigError: there are not n of them, one is below 0, or all are 0.
    """
    if weights is None:
        return (1 / n,) * n
    total = math.fsum(weights)
    if len(weights) != n or not all(w >= 0 for w in weights) or not (0 < total < math.inf):
        raise ConfigError(f"expected {n} weights >= 0, one for each wavelength, got {weights!r}", at="weights")
    return tuple(w / total for w in weights)


def periods(value: Any) -> tuple[float, float]:
    """Along x and y, nm.

    Raises:
        ConfigError: they are no lengths.
    """
    given = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value, value]
    if len(given) != 2:
        raise ConfigError(f"expected period_nm or [along x, along y], got {value!r}", at="period_nm")
    return above_zero("period_nm", given[0]), above_zero("period_nm", given[1])
