"""Crystal structures as graphs, or as the elements at their sites."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from matloop.search_spaces.formulas.elements import HEAVIEST, table

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

SUFFIXES = (".cif", ".vasp", "poscar", "contcar")
"""Ends of the names of files, in small letters."""

CELL = "_cell_length_a"
"""What stands once in the description of a structure as CIF."""

_SHARP = 12  # a neighbour counts half at the mean distance of atoms, and next to nothing beyond
_ALIKE = 0.5  # difference of coordination up to which sites are of one kind


def of_file(path: Path) -> Structure:
    """The structure in a CIF or POSCAR.

    Raises:
        ValueError: there is none.
    """
    return of_text(
        path.read_text(encoding="utf-8", errors="replace"), "cif" if path.suffix.lower() == ".cif" else "poscar"
    )


def of_text(text: str, form: str = "cif") -> Structure:
    """The structure that a text describes.

    Raises:
        ValueError: it describes none, or sites that several elements share.
    """
    from pymatgen.core.structure import Structure

    if form == "cif" and (count := len(re.findall(rf"^\s*{CELL}\s", text, re.MULTILINE))) > 1:
        raise ValueError(f"expected one structure, got {count}; save each in a file, or a row, of its own")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen says that it rounded coordinates
        try:
            found = Structure.from_str(text, fmt=form)  # type: ignore[arg-type]
        except Exception as error:  # its parsers raise anything
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(f"expected a structure as {form.upper()}, got: {first}") from error
    if not found.is_ordered:
        raise ValueError(f"expected every site to hold one element, got {found.composition.formula}")
    return found


def sites(structures: Sequence[Structure], elements: Sequence[int]) -> npt.NDArray[np.float32]:
    """(n, d) float32: of each site which element, and its properties; volume of an atom, lengths, angles of the cell.

    Sites are in the order of their coordination, whatever the elements, and of the atomic number where that is equal:
    so the same place of a prototype is the same place of the vector.

    Args:
        structures: n, all of one number of sites.
        elements: atomic numbers that have places; a site with another has none.
    """
    properties = table() / np.abs(table()[1 : HEAVIEST + 1]).max(axis=0)
    places = {number: i for i, number in enumerate(elements)}
    rows = []
    for structure in structures:
        numbers = [structure[i].specie.Z for i in _ordered(structure)]
        which = np.zeros((len(numbers), len(elements)))
        for site, number in enumerate(numbers):
            if number in places:
                which[site, places[number]] = 1
        lattice = structure.lattice
        cell = [structure.volume / len(structure), *np.round(lattice.abc, 4), *np.round(lattice.angles, 2)]
        rows.append(np.concatenate([np.hstack([which, properties[numbers]]).ravel(), cell]))
    return np.array(rows, dtype=np.float32)


def _ordered(structure: Structure) -> list[int]:
    """Numbers of the sites, the highest coordination first."""
    count = _coordination(structure)
    order = np.argsort(-count, kind="stable")
    kind = np.concatenate([[0], np.cumsum(-np.diff(count[order]) > _ALIKE)])
    return [int(i) for i in order[np.lexsort(([structure[int(i)].specie.Z for i in order], kind))]]


def _coordination(structure: Structure) -> npt.NDArray[np.float64]:
    """Neighbours of each site up to the mean distance of atoms, the farther the less."""
    length = (structure.volume / len(structure)) ** (1 / 3)
    receivers, _, _, distances = structure.get_neighbor_list(2 * length)
    weights = 1 / (1 + (distances / length) ** _SHARP)
    return np.asarray(np.bincount(receivers, weights, minlength=len(structure)))


def formula(structure: Structure) -> str:
    """Reduced, the same for all structures of one composition."""
    return str(structure.composition.reduced_formula)


def elements(structures: Sequence[Any]) -> list[int]:
    """Atomic numbers that occur, in order."""
    return sorted({site.specie.Z for structure in structures for site in structure})
