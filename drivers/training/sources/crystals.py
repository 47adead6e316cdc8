"""Crystal structures: a folder of CIF or POSCAR files, or a table with a column of CIF texts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.crystals import graph
from matloop.drivers.training.data import Data, data
from matloop.drivers.training.graphs import together
from matloop.drivers.training.sources import structures
from matloop.drivers.training.sources.columns import targets
from matloop.drivers.training.sources.elements import unknown
from matloop.drivers.training.sources.frames import Frame, frame
from matloop.drivers.training.sources.labelled import Labels, files, given
from matloop.drivers.training.sources.rows import OfTable, reported
from matloop.drivers.training.sources.source import New
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least
from matloop.search_spaces.networks.graph.graphs import Graphs

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure


@dataclass(frozen=True, kw_only=True)
class Crystals(OfTable):
    """Structures with a table of targets; those of one reduced formula are one group.

    Args:
        path: a folder of .cif, .vasp, POSCAR and CONTCAR files; or CSV, CSV.GZ or Parquet with a column of CIF texts.
        target: column, or columns, to predict.
        table: for a folder, CSV or Parquet with a row for each file; without, a structure is of the class that its
            folder is called by.
        file: its column of file names.
        column: that of the CIF texts.
        descriptor: "graphs" of atoms and neighbours for graph networks; or "sites", for structures that all have as
            many: elements and their properties site by site, and the cell, as one vector.
        cutoff: of neighbours, Å.
        neighbours: of an atom, the nearest ones.
        bins: that a distance is expanded in.
        id: column that names each structure.
        group: column, or several, with equal values in structures that belong together; beside the formula.
        part: column of "train", "validation" and "test".
        time: column of numbers or dates.
    """

    kind: ClassVar[str] = "crystals"
    path: Path
    target: str | list[str] | None = None
    table: Path | None = None
    file: str = "file"
    column: str = "cif"
    descriptor: Literal["graphs", "sites"] = "graphs"
    cutoff: float = 8.0
    neighbours: int = 12
    bins: int = 16

    def __post_init__(self) -> None:
        at_least(1, neighbours=self.neighbours)
        at_least(2, bins=self.bins)
        if not self.cutoff > 0:
            raise ConfigError(f"expected cutoff above 0 Å, got {self.cutoff}", at="cutoff")

    def read(self) -> Data:
        """See `Source`."""
        return self._of_folder() if self.path.is_dir() else self._of_table()

    def inputs(self, new: Any) -> New:
        """See `Source`.

        Args:
            new: a file, a folder or a list of files; a table with the column of CIF texts; or structures of pymatgen.
        """
        found, names, problems = self._given(new)
        bad = dict(problems)
        known = self.learnt()
        for i, structure in enumerate(found):
            if structure is not None and (text := self._missized(structure, known)):
                bad[i] = text
        kept = [(s, names[i]) for i, s in enumerate(found) if s is not None and i not in bad]
        texts = tuple(f"{names[i]}: {text}; left out" for i, text in sorted(bad.items()))
        if not kept:
            raise ValueError(f"expected structures, got none that can be used{f': {texts[0]}' if texts else ''}")
        return New(
            self._x([s for s, _ in kept], known["elements"]),
            np.array([n for _, n in kept]),
            texts,
            unknown=tuple(unknown({site.specie.Z for site in s} - {*known["elements"]}) for s, _ in kept),
        )

    def files(self) -> list[Path]:
        """See `Source`."""
        found = files(self.path, structures.SUFFIXES) if self.path.is_dir() else [self.path]
        return found + ([self.table] if self.table is not None else [])

    def _of_table(self) -> Data:
        table = frame(self.path)
        table.require([self.column, *self.of_rows.columns])
        if self.target is None:
            raise ConfigError(f"expected `target:`, a column of {self.path.name}, got none", at="target")
        goal, (found, bad) = targets(table, self.target), _texts(table, self.column)
        known, misfits = self._known(found)
        keep, problems = reported(table, bad, misfits, goal.problems)
        kept = [structure for structure, good in zip(found, keep, strict=True) if good and structure is not None]
        formulas = [structures.formula(structure) for structure in kept]
        return data(
            self._x(kept, known["elements"]) if kept else np.zeros((0, 1)),
            goal.y[keep],
            path=self.path,
            names=goal.names,
            problems=problems,
            known=known,
            **self.of_rows.of(table.kept(keep), formulas),
        )

    def _of_folder(self) -> Data:
        labels = Labels(self.path, structures.SUFFIXES, self.table, self.file, self.target, self.of_rows)
        listed = labels.by_folder() if self.table is None else labels.by_table()
        found, bad = _files(listed.files)
        known, misfits = self._known(found)
        bad = misfits | bad
        keep = np.array([i not in bad for i in range(len(found))])
        kept = listed.kept(keep, [f"{listed.names[i]}: {text}; left out" for i, text in sorted(bad.items())])
        good = [structure for structure, use in zip(found, keep, strict=True) if use and structure is not None]
        if not good:
            raise ValueError(f"expected structures in {self.path}, got none that can be used: {kept.problems[0]}")
        formulas = [structures.formula(structure) for structure in good]
        own = kept.of_rows.get("groups")
        groups = formulas if own is None else np.column_stack([np.array(own, dtype=np.str_), formulas])
        return data(
            self._x(good, known["elements"]),
            kept.y,  # type: ignore[arg-type]  # by folder or by table
            path=self.path,
            names=kept.classes,
            problems=kept.problems,
            known=known,
            **{**kept.of_rows, "groups": groups},
        )

    def _known(self, found: list[Structure | None]) -> tuple[dict[str, Any], dict[int, str]]:
        """Elements, and the number of sites if it matters; and structures that are of others."""
        good = [structure for structure in found if structure is not None]
        if self.known is not None:
            known = dict(self.known)
        else:
            counts = Counter(len(structure) for structure in good)
            known = {"sites": counts.most_common(1)[0][0] if good else 0}
            if self.descriptor == "sites":
                good = [structure for structure in good if len(structure) == known["sites"]]
            known["elements"] = structures.elements(good)
        bad = {i: self._misfit(s, known) for i, s in enumerate(found) if s is not None}
        return known, {i: text for i, text in bad.items() if text}

    def _misfit(self, structure: Structure, known: dict[str, Any] | Any) -> str:
        """Why a structure cannot be used with the others; empty if it can."""
        if text := self._missized(structure, known):
            return text
        if other := sorted({site.specie.symbol for site in structure if site.specie.Z not in known["elements"]}):
            return f"it has elements that no structure of the training data has: {', '.join(other)}"
        return ""

    def _missized(self, structure: Structure, known: dict[str, Any] | Any) -> str:
        if self.descriptor == "sites" and len(structure) != known["sites"]:
            return f"expected {known['sites']} sites, as most structures have, got {len(structure)}"
        return ""

    def _x(self, found: list[Structure], elements: list[int]) -> npt.NDArray[np.float32] | Graphs:
        if self.descriptor == "sites":
            return structures.sites(found, elements)
        options = {"cutoff": self.cutoff, "neighbours": self.neighbours, "bins": self.bins}
        return together([graph(structure, **options) for structure in found])  # type: ignore[arg-type]

    def _given(self, new: Any) -> tuple[list[Structure | None], list[str], dict[int, str]]:
        """Structures that are given, their names, and what is wrong."""
        if isinstance(new, str | Path):
            path = Path(new)
            if not path.is_dir() and not path.name.lower().endswith(structures.SUFFIXES):
                new = frame(path)
        elif not isinstance(new, list | tuple):
            new = frame(new)
        if isinstance(new, Frame):
            new.require([self.column])
            found, bad = _texts(new, self.column)
            return found, self.of_rows.ids(new), bad
        if isinstance(new, str | Path) or all(isinstance(item, str | Path) for item in new):
            paths, names = given(new, structures.SUFFIXES)
            found, bad = _files(paths)
            return found, names, bad
        return list(new), [f"{structures.formula(s)} ({i})" for i, s in enumerate(new)], {}


def _texts(table: Frame, column: str) -> tuple[list[Structure | None], dict[int, str]]:
    return _parsed([(structures.of_text, text) for text in table.texts(column)])


def _files(paths: list[Path]) -> tuple[list[Structure | None], dict[int, str]]:
    return _parsed([(structures.of_file, path) for path in paths])


def _parsed(given: list[tuple[Any, Any]]) -> tuple[list[Structure | None], dict[int, str]]:
    """Structures, None where there is none, and why."""
    found: list[Structure | None] = []
    bad: dict[int, str] = {}
    for i, (parse, item) in enumerate(given):
        try:
            found.append(parse(item))
        except (ValueError, OSError) as error:
            found.append(None)
            bad[i] = str(error)
    return found, bad
