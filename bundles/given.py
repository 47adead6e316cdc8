"""What people give on the command line, as the source of a bundle reads it: texts, files and folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matloop.drivers.training.sources.source import New

TABLES = (".csv", ".gz", ".parquet", ".npz", ".npy", ".h5", ".hdf5", ".zarr", ".tsv", ".xlsx")
"""Endings of what has many inputs; any other file is one."""


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
        paths = [Path(item) for item in items if Path(item).exists()]
        texts = [item for item in items if not Path(item).exists()]
        many = [path for path in paths if path.is_dir() or path.suffix.lower() in TABLES]
        single = [path for path in paths if path not in many]
        groups: list[tuple[str, Any]] = [(", ".join(texts[:3]), texts)] if texts else []
        groups += [(str(single[0]), single)] if single else []
        groups += [(str(path), path) for path in many]
        for name, new in groups:
            try:
                found = self.inputs(new)
            except (ValueError, TypeError, OSError) as error:
                self.problems.append(f"{name}: {error}")
                continue
            self.problems += found.problems
            yield found
