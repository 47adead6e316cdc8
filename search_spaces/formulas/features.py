"""Formulas as vectors: statistics of their elements' properties, weighted by amount.

The recipe is that of Ward et al., npj Computational Materials 2, 16028 (2016) ("Magpie"), over the properties in
`elements.py`: of each property the mean over the atoms, the mean absolute deviation from it, minimum, maximum, range
and the value of the most abundant element; norms of the fractions; shares of the valence electrons; ionic character.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isfinite

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import InvalidPoint
from matloop.orchestrator.protocols import Array
from matloop.search_spaces.formulas.elements import HEAVIEST, ORBITALS, PROPERTIES, table

STATISTICS = ("mean", "deviation", "min", "max", "range", "mode")
NORMS = (2, 3, 5, 7, 10)
CHUNK = 4096

HYDRATE = re.compile("[·•⋅∙*]")
PART = re.compile(r"(\d*\.?\d*)(.*)", re.DOTALL)
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def feature_names() -> tuple[str, ...]:
    """Names of the columns of `featurise`."""
    return (
        *(f"{name}_{statistic}" for statistic in STATISTICS for name in PROPERTIES),
        "elements",
        *(f"norm_{p}" for p in NORMS),
        *(f"{orbital}_share" for orbital in ORBITALS),
        "ionic_character_mean",
        "ionic_character_max",
    )


def featurise(formulas: Sequence[str]) -> Array:
    """Vectors of chemical formulas, in any notation that pymatgen reads: `Fe2(SO4)3`, `LiFe0.5Mn1.5O4`; hydrates with
    a raised dot or an asterisk (a point on the line is a decimal one), and subscripts.

    Amounts count by their ratio, so `TiO2` and `Ti2O4` are the same vector; so are formulas that differ in the order of
    the elements, up to rounding.

    Returns:
        (n, d) float64, finite, columns as in `feature_names`; units of each property as in `elements.MEASURED`.

    Raises:
        InvalidPoint: names a formula that cannot be read, or an element after Lr.
    """
    parts = [_describe(*fractions(formulas[i : i + CHUNK])) for i in range(0, len(formulas), CHUNK)]
    return np.vstack(parts) if parts else np.zeros((0, len(feature_names())))


def fractions(formulas: Sequence[str]) -> tuple[npt.NDArray[np.int64], Array]:
    """Elements of each formula and their shares of the atoms.

    Returns:
        numbers: (n, k) int64 atomic numbers, 0 where a formula has fewer than k elements.
        shares: (n, k) float64, each row sums to 1.
    """
    amounts = [composition(formula) for formula in formulas]
    width = max((len(amount) for amount in amounts), default=1)
    numbers = np.zeros((len(amounts), width), dtype=np.int64)
    shares = np.zeros((len(amounts), width))
    for i, amount in enumerate(amounts):
        numbers[i, : len(amount)] = list(amount)
        shares[i, : len(amount)] = list(amount.values())
    return numbers, shares / shares.sum(axis=1, keepdims=True)


def composition(formula: str) -> dict[int, float]:
    """Amount of each element by atomic number.

    Raises:
        InvalidPoint: names the formula.
    """
    from pymatgen.core.composition import Composition
    from pymatgen.core.periodic_table import Element

    if not isinstance(formula, str):
        raise InvalidPoint(f"expected a chemical formula such as 'Fe2O3', got {formula!r}")
    amounts: dict[int, float] = {}
    try:
        for times, part in _parts(formula):
            for symbol, n in Composition(part).get_el_amt_dict().items():
                amounts[Element(symbol).Z] = amounts.get(Element(symbol).Z, 0.0) + times * n
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidPoint(f"expected a chemical formula such as 'Fe2O3', got {formula!r} ({error})") from error
    if not isfinite(sum(amounts.values())):
        raise InvalidPoint(f"expected finite amounts, got {formula!r}; correct them")
    if not amounts or sum(amounts.values()) <= 0:
        raise InvalidPoint(f"expected a chemical formula such as 'Fe2O3', got {formula!r}, which has no atoms")
    if max(amounts) > HEAVIEST:
        raise InvalidPoint(f"expected elements from H to Lr, got {formula!r}; drop it from the pool")
    return amounts


def _parts(formula: str) -> list[tuple[float, str]]:
    """What is joined by a raised dot or an asterisk, and how many times each: `CuSO4·5H2O`."""
    parts = [PART.fullmatch(part.strip()) for part in HYDRATE.split(formula.translate(SUBSCRIPTS))]
    return [(float(found[1] or 1), found[2]) for found in parts if found]


def _describe(numbers: npt.NDArray[np.int64], shares: Array) -> Array:
    """(n, k) atomic numbers and shares -> (n, d) features."""
    values = table()[numbers]  # (n, k, p)
    present = (numbers > 0)[..., None]
    weights = shares[..., None]
    mean = (weights * values).sum(axis=1)
    deviation = (weights * np.abs(values - mean[:, None])).sum(axis=1)
    low = np.where(present, values, np.inf).min(axis=1)
    high = np.where(present, values, -np.inf).max(axis=1)
    most = np.isclose(shares, shares.max(axis=1, keepdims=True))[..., None]  # several if equally abundant
    mode = (most * values).sum(axis=1) / most.sum(axis=1)
    norms = [np.linalg.norm(shares, ord=p, axis=1) for p in NORMS]
    electrons = mean[:, [PROPERTIES.index(f"{orbital}_valence") for orbital in ORBITALS]]
    columns = [mean, deviation, low, high, high - low, mode, present.sum(axis=1), np.stack(norms, axis=1)]
    columns += [electrons / electrons.sum(axis=1, keepdims=True), _ionic(values, shares)]
    return np.hstack(columns)


def _ionic(values: Array, shares: Array) -> Array:
    """(n, 2): Pauling's ionic character 1 − exp(−Δχ²/4), averaged over pairs of atoms, and of the most ionic pair."""
    chi = values[..., PROPERTIES.index("electronegativity")]
    present = shares > 0
    pairs = present[:, :, None] & present[:, None, :]
    character = np.where(pairs, 1 - np.exp(-((chi[:, :, None] - chi[:, None, :]) ** 2) / 4), 0.0)
    mean = (character * shares[:, :, None] * shares[:, None, :]).sum(axis=(1, 2))
    return np.stack([mean, character.max(axis=(1, 2))], axis=1)
