"""A table of elemental properties, H to Lr, from pymatgen; gaps are filled from the element's group."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from matloop.orchestrator.protocols import Array

if TYPE_CHECKING:
    from pymatgen.core.periodic_table import Element

HEAVIEST = 103
"""Atomic number of the last element of the table; little is known of those after it."""

MEASURED = {
    "atomic_number": "Z",
    "mendeleev_number": "mendeleev_no",
    "group": "group",
    "period": "row",
    "atomic_mass": "atomic_mass",  # u
    "electronegativity": "X",  # Pauling
    "atomic_radius": "atomic_radius",  # Å
    "ionic_radius": "average_ionic_radius",  # Å
    "van_der_waals_radius": "van_der_waals_radius",  # Å
    "molar_volume": "molar_volume",  # cm³/mol
    "melting_point": "melting_point",  # K
    "boiling_point": "boiling_point",  # K
    "thermal_conductivity": "thermal_conductivity",  # W/(m K)
    "electron_affinity": "electron_affinity",  # eV
    "ionization_energy": "ionization_energy",  # eV, of the first electron
}
"""Our name of a property, and the attribute of pymatgen's Element that holds it."""

ORBITALS = "spdf"
CAPACITY = {"s": 2, "p": 6, "d": 10, "f": 14}

PROPERTIES = (
    *MEASURED,
    *(f"{orbital}_valence" for orbital in ORBITALS),
    "valence",
    "unfilled",
)
"""Columns of `table`. Valence electrons are those beyond the core of the last noble gas; `unfilled` counts the empty
places in the subshells that hold them."""


@lru_cache(maxsize=1)
def table() -> Array:
    """Properties of the elements.

    A property that is not known is the median of the known ones in the element's group (the column of the periodic
    table; lanthanides and actinides count as group 3), or of all elements if none is.

    Returns:
        (104, p) float64, row Z for the element of that atomic number (row 0 is unused and zero), columns as in
        `PROPERTIES`, units as in `MEASURED`. Read-only.
    """
    from pymatgen.core.periodic_table import Element

    elements = [Element.from_Z(z) for z in range(1, HEAVIEST + 1)]
    values = np.array([[*_measured(element), *_electrons(element)] for element in elements])
    groups = np.array([element.group for element in elements])
    for column in values.T:
        known = np.isfinite(column)
        for i in np.flatnonzero(~known):
            mates = known & (groups == groups[i])
            column[i] = np.median(column[mates if mates.any() else known])
    result = np.vstack([np.zeros(len(PROPERTIES)), values])
    result.setflags(write=False)
    return result


def _measured(element: Element) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # says that a value is missing
        values = [getattr(element, attribute) for attribute in MEASURED.values()]
    values = [np.nan if value is None else float(value) for value in values]
    return [
        np.nan if value == 0 and name == "ionic_radius" else value for name, value in zip(MEASURED, values, strict=True)
    ]


def _electrons(element: Element) -> list[float]:
    """Valence electrons in s, p, d and f subshells, their sum, and the places left in those subshells."""
    from pymatgen.core.periodic_table import Element

    noble = [z for z in (2, 10, 18, 36, 54, 86) if z < element.Z]
    core = {shell[:2] for shell in Element.from_Z(noble[-1]).full_electronic_structure} if noble else set()
    outer = [shell for shell in element.full_electronic_structure if shell[:2] not in core]
    counts = [sum(n for _, orbital, n in outer if orbital == o) for o in ORBITALS]
    unfilled = sum(CAPACITY[orbital] - n for _, orbital, n in outer)
    return [float(v) for v in (*counts, sum(counts), unfilled)]
