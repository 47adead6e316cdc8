"""Signals along an axis, such as diffraction patterns: a file each, or all in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.data import Data, data
from matloop.drivers.training.sources.columns import targets
from matloop.drivers.training.sources.frames import Frame, frame, numbers
from matloop.drivers.training.sources.labelled import Labels, files, given
from matloop.drivers.training.sources.rows import OfTable, reported, usable
from matloop.drivers.training.sources.source import New
from matloop.drivers.training.sources.twins import together
from matloop.orchestrator.errors import ConfigError

SUFFIXES = (".csv", ".csv.gz", ".txt", ".tsv", ".xy", ".dat")

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Signals(OfTable):
    """Either a folder with a text file for each signal, or one table with a row for each.

    A file has the axis in its first column and one or more channels in the others; what does not lie at the same places
    is interpolated, between the largest beginning and the smallest end of all. Without `table`, a file is of the class
    that its folder is called by. In a table, columns whose names are numbers are the signal, in the order of these.

    Args:
        path: the folder, or the table, CSV or Parquet.
        target: column, or columns, to predict, of the table.
        table: for a folder, CSV or Parquet with a row for each file.
        file: its column of file names.
        points: number of places that signals are interpolated at; None for as many as most files have.
        id: column that names each signal.
        group: column, or several, with equal values in signals that belong together; for a folder without a table, a
            regular expression whose first group in a file's name says so.
        part: column of "train", "validation" and "test".
        time: column of numbers or dates.
    """

    kind: ClassVar[str] = "signals"
    path: Path
    target: str | list[str] | None = None
    table: Path | None = None
    file: str = "file"
    points: int | None = None

    def __post_init__(self) -> None:
        if self.points is not None and self.points < 2:
            raise ConfigError(f"expected at least 2 points, got {self.points}", at="points")

    def read(self) -> Data:
        """See `Source`."""
        return self._of_folder() if self.path.is_dir() else self._of_table()

    def inputs(self, new: Any) -> New:
        """See `Source`.

        Args:
            new: a signal's file, a folder or a list of them, or a table as the one of the training.
        """
        known = self.learnt()
        if "columns" in known:
            table = frame(new)
            table.require(known["columns"])
            x, bad = _rows(table, known["columns"])
            keep, problems = usable(table, bad)
            return New(x[keep], np.array(self.of_rows.ids(table.kept(keep)), dtype=np.str_), tuple(problems))
        paths, names = given(new, SUFFIXES)
        signals, problems_by = _signals(paths)
        axis = np.asarray(known["axis"])
        found, ids, unknown = [], [], []
        for i, signal in enumerate(signals):
            if signal is None:
                continue
            if len(signal) - 1 != known["channels"]:
                problems_by[i] = f"expected {known['channels']} columns beside the axis, got {len(signal) - 1}"
                continue
            found.append(_at(axis, signal))
            ids.append(names[i])
            unknown.append(_beyond(signal[0], axis))
        texts = tuple(f"{names[i]}: {text}; left out" for i, text in sorted(problems_by.items()))
        if not found:
            raise ValueError(f"expected signals, got none that can be used{f': {texts[0]}' if texts else ''}")
        return New(np.stack(found), np.array(ids, dtype=np.str_), texts, unknown=tuple(unknown))

    def files(self) -> list[Path]:
        """See `Source`."""
        found = files(self.path, SUFFIXES) if self.path.is_dir() else [self.path]
        return found + ([self.table] if self.table is not None and self.table not in found else [])

    def _of_table(self) -> Data:
        table = frame(self.path)
        columns = self.known["columns"] if self.known else signal_columns(table)
        if len(columns) < 2:
            raise ValueError(
                f"expected columns in {self.path} whose names are numbers, such as angles, got "
                f"{[*map(str, table.columns)][:8]}; for a file each, name their folder"
            )
        if self.target is None:
            raise ConfigError(f"expected `target:`, a column of {self.path.name}, got none", at="target")
        goal, (x, bad) = targets(table, self.target), _rows(table, columns)
        keep, problems = reported(table, goal.problems, bad)
        return data(
            x[keep],
            goal.y[keep],
            path=self.path,
            names=goal.names,
            problems=problems,
            known={"columns": list(columns)},
            **self.of_rows.of(table.kept(keep)),
        )

    def _of_folder(self) -> Data:
        labels = Labels(self.path, SUFFIXES, self.table, self.file, self.target, self.of_rows)
        found = labels.by_folder() if self.table is None else labels.by_table()
        signals, bad = _signals(found.files)
        channels = self.known["channels"] if self.known else _commonest([len(s) - 1 for s in signals if s is not None])
        for i, signal in enumerate(signals):
            if signal is not None and len(signal) - 1 != channels:
                bad[i] = f"expected {channels} columns beside the axis, got {len(signal) - 1}"
        usable = {i: signal for i, signal in enumerate(signals) if signal is not None and i not in bad}
        bad |= _elsewhere(usable) if self.known is None else {}
        keep = np.array([i not in bad for i in range(len(signals))])
        kept = found.kept(keep, [f"{found.names[i]}: {text}; left out" for i, text in sorted(bad.items())])
        good = [signal for signal, use in zip(signals, keep, strict=True) if use and signal is not None]
        if not good:
            raise ValueError(f"expected signals in {self.path}, got none that can be used: {kept.problems[0]}")
        axis = np.asarray(self.known["axis"]) if self.known else self._axis(good)
        shared = [] if all(np.array_equal(signal[0], axis) for signal in good) else [
            f"signals are interpolated at {len(axis)} places from {axis[0]:g} to {axis[-1]:g}, where all have values"
        ]  # fmt: skip
        rows = data(
            np.stack([_at(axis, signal) for signal in good]),
            kept.y,  # type: ignore[arg-type]  # by folder or by table
            path=self.path,
            names=kept.classes,
            problems=[*kept.problems, *shared],
            known={"axis": axis.tolist(), "channels": channels},
            **kept.of_rows,
        )
        return together(rows, kept.names)

    def _axis(self, signals: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """Places that all signals have, or evenly between those that they have in common.

        Raises:
            ValueError: they have no stretch in common.
        """
        first = signals[0][0]
        if self.points is None and all(np.array_equal(signal[0], first) for signal in signals):
            return np.asarray(first)
        begin, end = max(signal[0, 0] for signal in signals), min(signal[0, -1] for signal in signals)
        if begin >= end:
            raise ValueError(
                f"expected signals in {self.path} with a stretch of the axis in common, got beginnings up to {begin:g} "
                f"and ends from {end:g} on"
            )
        return np.linspace(begin, end, self.points or _commonest([signal.shape[1] for signal in signals]))


def _elsewhere(signals: Mapping[int, npt.NDArray[np.float64]]) -> dict[int, str]:
    """Signals that cover less than half of what most signals cover, and so would leave little of all others."""
    if not signals:
        return {}
    begin = float(np.median([signal[0, 0] for signal in signals.values()]))
    end = float(np.median([signal[0, -1] for signal in signals.values()]))
    found = {}
    for i, (first, last) in {i: (signal[0, 0], signal[0, -1]) for i, signal in signals.items()}.items():
        if min(last, end) - max(first, begin) < (end - begin) / 2:
            found[i] = f"expected values from {begin:g} to {end:g}, as most signals have, got {first:g} to {last:g}"
    return found if len(found) < len(signals) else {}


def signal_columns(table: Frame) -> list[str]:
    """Columns whose names are numbers, in the order of these."""
    places = {}
    for name in table.columns:
        try:
            places[name] = float(str(name))
        except ValueError:
            continue
    return sorted(places, key=places.__getitem__)


def _rows(table: Frame, columns: Sequence[str]) -> tuple[Values, dict[int, str]]:
    """(n, 1, length) signals, and what is wrong with rows that have gaps."""
    values = np.stack([numbers(table.columns[name]) for name in columns], axis=1)
    gaps = np.isnan(values)
    bad = {int(row): f"expected numbers in the signal, got none at {columns[int(gaps[row].argmax())]!r}"
           for row in np.flatnonzero(gaps.any(axis=1))}  # fmt: skip
    return values.astype(np.float32)[:, None], bad


def _signals(paths: Sequence[Path]) -> tuple[list[npt.NDArray[np.float64] | None], dict[int, str]]:
    """Signals (1 + channels, length) by rising places, None where a file is none, and why."""
    found: list[npt.NDArray[np.float64] | None] = []
    bad: dict[int, str] = {}
    for i, path in enumerate(paths):
        try:
            found.append(_signal(path))
        except (ValueError, OSError) as error:
            found.append(None)
            bad[i] = str(error)
    return found, bad


def _signal(path: Path) -> npt.NDArray[np.float64]:
    """(1 + channels, length): the axis, and the channels, of a text file with or without a header."""
    import pandas as pd

    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        cells = pd.read_csv(
            path, sep=r"[,;\t ]+", engine="python", header=None, comment="#", skipinitialspace=True, dtype=str,
            compression="gzip" if packed else None, encoding="utf-8-sig", index_col=False,
        )  # fmt: skip
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"expected columns of numbers, got: {error}") from error
    values = cells.apply(numbers).to_numpy(dtype=np.float64)
    while len(values) and np.isnan(values[0]).any():  # a header
        values = values[1:]
        if len(cells) - len(values) > _HEADER:
            break
    if values.shape[1] < 2:
        raise ValueError("expected an axis and a column beside it, got one column")
    if len(values) < 2 or np.isnan(values).any():
        raise ValueError("expected columns of numbers, the axis first, got gaps or texts")
    values = values[np.argsort(values[:, 0], kind="stable")]
    if not (np.diff(values[:, 0]) > 0).all():
        raise ValueError("expected each place of the axis once, got one again")
    return np.asarray(values.T)


_HEADER = 3
"""Most lines before the numbers."""


def _at(axis: npt.NDArray[np.float64], signal: npt.NDArray[np.float64]) -> Values:
    """(channels, length) values at the places of an axis; beyond its ends a signal keeps its last value."""
    if np.array_equal(signal[0], axis):
        return signal[1:].astype(np.float32)
    return np.stack([np.interp(axis, signal[0], channel) for channel in signal[1:]]).astype(np.float32)


def _beyond(places: npt.NDArray[np.float64], axis: npt.NDArray[np.float64]) -> str:
    """That a signal has no values at some of the axis' places, in words; empty if it has, but for a step."""
    step = (axis[-1] - axis[0]) / (len(axis) - 1)
    if places[0] <= axis[0] + step and places[-1] >= axis[-1] - step:
        return ""
    return f"values from {places[0]:g} to {places[-1]:g} only, of {axis[0]:g} to {axis[-1]:g}"


def _commonest(values: Sequence[int]) -> int:
    return max({*values}, key=list(values).count) if values else 0
