"""What is said of each row of a table beside inputs and targets: ids, groups, parts, times. Bad rows are reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.sources.frames import Frame, cells, numbers, shown
from matloop.drivers.training.sources.source import Options


@dataclass(frozen=True, kw_only=True)
class OfRows:
    """Columns of a table that are no inputs.

    Attributes:
        id: names each row, each once.
        group: equal in rows that belong together, such as those of one specimen; rows that share one of several such
            columns belong together.
        part: "train", "validation" or "test".
        time: numbers or dates.
    """

    id: str | None = None
    group: str | Sequence[str] | None = None
    part: str | None = None
    time: str | None = None

    @property
    def columns(self) -> list[str]:
        """All that are given."""
        groups = [self.group] if isinstance(self.group, str) else list(self.group or ())
        return [name for name in (self.id, *groups, self.part, self.time) if name is not None]

    def of(self, table: Frame, *groups: Sequence[str]) -> dict[str, Any]:
        """Arguments of `matloop.drivers.training.data.data`.

        Args:
            table: rows that are kept.
            groups: further columns (n,) of texts, equal in rows that belong together.
        """
        table.require(self.columns)
        own = [self.group] if isinstance(self.group, str) else list(self.group or ())
        shared = [*(table.texts(name) for name in own), *groups]
        return {
            "ids": self.ids(table),
            "groups": [*zip(*shared, strict=True)] if shared else None,
            "parts": None if self.part is None else table.texts(self.part),
            "time": None if self.time is None else _time(table, self.time),
        }

    def ids(self, table: Frame) -> list[str]:
        """Of the rows: of the column, or what people find a row by."""
        if self.id is not None and self.id in table.columns:
            return table.texts(self.id)
        return list(table.rows)


@dataclass(frozen=True, kw_only=True)
class OfTable(Options):
    """A source with columns of a table that say something of each row, see `OfRows`."""

    id: str | None = None
    group: str | list[str] | None = None
    part: str | None = None
    time: str | None = None

    @property
    def of_rows(self) -> OfRows:
        """These columns."""
        return OfRows(id=self.id, group=self.group, part=self.part, time=self.time)


def reported(table: Frame, *problems: Mapping[int, str]) -> tuple[npt.NDArray[np.bool_], list[str]]:
    """Rows that can be used, and a line for each of the others with its first fault."""
    found: dict[int, str] = {}
    for some in problems:
        for row, text in some.items():
            found.setdefault(row, text)
    keep = np.ones(len(table), dtype=bool)
    keep[list(found)] = False
    return keep, [f"{table.rows[row]}: {found[row]}; left out" for row in sorted(found)]


def usable(table: Frame, *problems: Mapping[int, str]) -> tuple[npt.NDArray[np.bool_], list[str]]:
    """As `reported`, for rows that are to be predicted.

    Raises:
        ValueError: there are none.
    """
    keep, texts = reported(table, *problems)
    if not keep.any():
        raise ValueError(
            f"expected rows in {table.path} that can be predicted, got none{f': {texts[0]}' if texts else ''}"
        )
    return keep, texts


def _time(table: Frame, name: str) -> npt.NDArray[np.float64]:
    import pandas as pd

    found = numbers(table.columns[name])
    if np.isnan(found).all():  # day and month of 04/03/2021 could be either
        dates = pd.to_datetime(table.columns[name], errors="coerce", format="ISO8601", utc=True)
        found = (dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(dtype=np.float64)
    if np.isnan(found).any():
        row = int(np.flatnonzero(np.isnan(found))[0])
        raise ValueError(
            f"expected numbers, or dates such as 2021-03-04 or 2021-03-04 10:30, in {name!r} of {table.path}, got "
            f"{shown(cells(table.columns[name])[row])} in {table.rows[row]}"
        )
    return found
