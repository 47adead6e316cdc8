"""What people give on the command line, as the source of a bundle reads it: texts, files and folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matloop.drivers.training.sources.source import New

TABLES = (".csv", ".gz", ".parquet", ".pq", ".npz", ".npy", ".h5", ".hdf5", ".zarr", ".tsv", ".txt", ".xlsx")
"""Endings of what has many inputs; any other file is one, if it can be read so."""

UNREADABLE = (ValueError, TypeError, OSError)


@dataclass
class Given:
    """Inputs that were asked about.

    Attributes:
        inputs: reads them, see `Bundle.inputs`.
        problems: what could not be read, with file, row and reason; filled in while they are read.
    """

    inputs: Callable[[Any], New]
    problems: list[str] = field(default_factory=list)

    def read(self, items: Sequence[str]) -> Iterator[New]:
        """Inputs of texts, which are taken together, of single files, likewise, and of tables and folders one by one.

        Args:
            items: a path where there is a file or folder of that name, else a text such as a formula.
        """
        paths = [Path(item) for item in items if _is_there(item)]
        texts = [item for item in items if not _is_there(item)]
        single = [path for path in paths if not _has_many(path)]
        if texts:
            names = ", ".join(texts[:3]) + (", …" if len(texts) > 3 else "")
            yield from self._read(texts, f"{names}: there is no such file or folder, and read as text: ")
        if single:
            yield from self._single(single)
        for path in paths:
            if _has_many(path):
                yield from self._read(path, f"{path}: ")

    def _single(self, paths: list[Path]) -> Iterator[New]:
        """Files together, or each by itself where that cannot be, such as tables whose names end in another way."""
        try:
            found = self.inputs(paths)
        except UNREADABLE:
            for path in paths:
                yield from self._read(path, f"{path}: ")
        else:
            yield self._noted(found)

    def _read(self, new: Any, named: str) -> Iterator[New]:
        try:
            found = self._either(new)
        except UNREADABLE as error:
            self.problems.append(f"{named}{error}")
            return
        if not len(found.ids) and not found.problems:
            self.problems.append(f"{named}expected rows, got none")
        yield self._noted(found)

    def _either(self, new: Any) -> New:
        """Inputs, or of a folder that is called like one, such as `Fe2O3`, that one."""
        try:
            return self.inputs(new)
        except UNREADABLE:
            if not isinstance(new, Path) or not new.is_dir():
                raise
            with suppress(*UNREADABLE):
                if len((found := self.inputs([str(new)])).ids):
                    return found
            raise

    def _noted(self, found: New) -> New:
        """What was read; what was not is a problem."""
        self.problems += found.problems
        return found


def _has_many(path: Path) -> bool:
    """Whether there are many inputs in it."""
    return path.is_dir() or path.suffix.lower() in TABLES


def _is_there(item: str) -> bool:
    """Whether it is the name of a file or folder."""
    try:
        return bool(item) and Path(item).exists()
    except (OSError, ValueError):  # too long for one, or with characters that none can have
        return False
