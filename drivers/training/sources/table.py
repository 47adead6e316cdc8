"""A table with named columns of numbers and categories, one row for each thing that was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from matloop.drivers.training.data import Data, data
from matloop.drivers.training.sources.columns import check_features, encode, learn, nameless, targets
from matloop.drivers.training.sources.frames import Frame, frame
from matloop.drivers.training.sources.rows import OfRows, OfTable, reported, usable
from matloop.drivers.training.sources.source import New


@dataclass(frozen=True, kw_only=True)
class Table(OfTable):
    """CSV, CSV.GZ, Excel or Parquet. A column of texts becomes as many inputs as it has categories.

    Rows with gaps are left out and reported.

    Args:
        path: of the file.
        target: column of the property or the class to predict, or several columns of numbers.
        features: columns to predict it from; None for all others that have a name.
        categorical: those of them whose numbers name categories.
        id: column that names each row.
        group: column, or several, with equal values in rows that belong together, such as those of one specimen.
        part: column of "train", "validation" and "test".
        time: column of numbers or dates.
    """

    kind: ClassVar[str] = "table"
    path: Path
    target: str | list[str]
    features: list[str] | None = None
    categorical: list[str] | None = None

    def __post_init__(self) -> None:
        check_features(self.features, self.target)

    def read(self) -> Data:
        """See `Source`."""
        table = frame(self.path)
        return tabulated(table, self.target, self._chosen(table), self.categorical or (), self.of_rows, self.known)

    def inputs(self, new: Any) -> New:
        """See `Source`.

        Args:
            new: a file, a table in memory or a mapping of columns; targets and groups may be missing.
        """
        table = frame(new)
        x = encode(table, self.learnt()["columns"])
        keep, problems = usable(table, x.problems)
        ids = np.array(self.of_rows.ids(table.kept(keep)), dtype=np.str_)
        return New(x.values[keep], ids, tuple(problems))

    def files(self) -> list[Path]:
        """See `Source`."""
        return [self.path]

    def _chosen(self, table: Frame) -> list[str]:
        own = [self.target] if isinstance(self.target, str) else self.target
        others = {*own, *self.of_rows.columns}
        chosen = list(self.features or ())
        if self.features is None:
            chosen = [str(name) for name in table.columns if name not in others and not nameless(name)]
        table.require([*chosen, *own, *self.of_rows.columns])
        if not chosen:
            raise ValueError(
                f"expected columns to predict {own} from in {self.path}, got none beside the target and what names or "
                f"groups rows, {sorted(others)}"
            )
        return chosen


def tabulated(
    table: Frame,
    target: str | list[str],
    features: Sequence[str],
    categorical: Sequence[str],
    rows: OfRows,
    known: Mapping[str, Any] | None,
) -> Data:
    """Data of a table's rows.

    Args:
        table: with all these columns.
        target: column, or columns, to predict.
        features: columns to predict it from.
        categorical: those of them whose numbers name categories.
        rows: columns that say something of each row.
        known: see `Options`.
    """
    learnt = known["columns"] if known else learn(table, features, categorical)
    goal, x = targets(table, target), encode(table, learnt)
    keep, problems = reported(table, goal.problems, x.problems)
    return data(
        x.values[keep],
        goal.y[keep],
        path=table.path,
        names=goal.names,
        problems=problems,
        known={"columns": learnt, "inputs": list(x.names)},
        **rows.of(table.kept(keep)),
    )
