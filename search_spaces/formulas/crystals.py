"""A pool of crystals from CIF files, seen by models as statistics of their elements and a few of their structures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from math import pi
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint, inside
from matloop.orchestrator.protocols import Array, Column
from matloop.orchestrator.trial import Point
from matloop.search_spaces.formulas.described import Described, one_of
from matloop.search_spaces.formulas.elements import PROPERTIES, table
from matloop.search_spaces.formulas.features import feature_names, featurise
from matloop.search_spaces.formulas.space import standardise
from matloop.search_spaces.pool import Pool
from matloop.search_spaces.table import read_table

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

STRUCTURE = (
    "density",
    "volume_per_atom",
    "packing_fraction",
    "space_group",
    "symmetry_operations",
    "shortest_distance",
)
"""g/cm³; Å³; share of the volume within spheres of the atomic radii; international number; of the point group; Å."""

TOLERANCE = 0.1
"""Å within which positions count as symmetric: computed structures are relaxed to about this."""


class Crystals(Described):
    """Space of crystal structures; a point is `{"crystal": name}`.

    Args:
        csv: table with one structure a line, as CIF text.
        column: that of the CIF texts.
        label: column of the names, which must all be different.
        directory: folder of files `*.cif` instead, named by their files.

    Raises:
        ConfigError: no structures, equal names, or what cannot be read as CIF.
    """

    def __init__(
        self,
        *,
        csv: Path | None = None,
        column: str = "cif",
        label: str = "material_id",
        directory: Path | None = None,
    ) -> None:
        one_of(csv=csv, directory=directory)
        texts = _from_table(Path(csv), column, label) if csv is not None else _from_files(Path(directory or ""))
        self._pool = Pool(points=[{"crystal": name} for name in texts])
        self._places = {name: i for i, name in enumerate(texts)}
        self._codes, kept = standardise(featurise_crystals(texts))
        names = (*feature_names(), *STRUCTURE)
        self.columns = tuple(
            Column("crystal", "descriptor", name) for name, keep in zip(names, kept, strict=True) if keep
        )

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64: features with mean 0 and standard deviation 1 over the pool.

        Raises:
            InvalidPoint: a structure is no candidate, so that nothing is known of it.
        """
        codes: Array = self._codes[[self._place(self._places, "crystal", point) for point in points]]
        return codes


def featurise_crystals(texts: Mapping[str, str]) -> Array:
    """Vectors of crystal structures: features of their formulas (`featurise`), then those of `STRUCTURE`.

    Args:
        texts: CIF text by name.

    Returns:
        (n, d) float64.

    Raises:
        ConfigError: names a structure that cannot be read.
    """
    structures = [_read(name, text) for name, text in texts.items()]
    try:
        composition = featurise([structure.formula.replace(" ", "") for structure in structures])
    except InvalidPoint as error:
        raise ConfigError(str(error)) from error
    return np.hstack([composition, [_describe(structure) for structure in structures]])


def _describe(structure: Structure) -> list[float]:
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # spglib's own, of how it will report errors
        symmetry = SpacegroupAnalyzer(structure, symprec=TOLERANCE)
        group, operations = symmetry.get_space_group_number(), symmetry.get_point_group_operations()
    radii = table()[:, PROPERTIES.index("atomic_radius")]
    volume = sum(
        4 / 3 * pi * radii[element.Z] ** 3 * amount
        for element, amount in structure.composition.element_composition.items()
    )
    distances = structure.distance_matrix + np.diag(np.full(len(structure), np.inf))
    return [
        float(structure.density),
        structure.volume / len(structure),
        volume / structure.volume,
        float(group),
        float(len(operations)),
        float(min(distances.min(), *structure.lattice.get_niggli_reduced_lattice().abc)),
    ]


def _read(name: str, text: str) -> Structure:
    from pymatgen.core.structure import Structure

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pymatgen says of many files that it rounded some coordinates
            return Structure.from_str(text, fmt="cif")
    except Exception as error:  # the parser raises whatever it stumbles over
        raise ConfigError(f"expected a crystal structure as CIF in {name!r}: {error}") from error


def _from_table(path: Path, column: str, label: str) -> dict[str, str]:
    with inside("csv"):
        table = read_table(path, [label, column])
    names = [str(name) for name in table[label]]
    if len(set(names)) < len(names):
        raise ConfigError(f"expected different names in column {label!r} of {path}; remove the repeated ones", at="csv")
    return dict(zip(names, map(str, table[column]), strict=True))


def _from_files(directory: Path) -> dict[str, str]:
    files = sorted(directory.glob("*.cif"))
    if not files:
        raise ConfigError(f"expected files *.cif in {directory}, found none; correct the path", at="directory")
    return {file.stem: file.read_text(encoding="utf-8") for file in files}
