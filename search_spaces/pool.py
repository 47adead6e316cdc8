"""A finite set of candidates: the rows of a table that could be made or measured next."""

from __future__ import annotations

import csv as table_format
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.errors import ConfigError, InvalidPoint
from orchestrator.protocols import Array
from orchestrator.trial import Point
from search_spaces.columns import Column
from search_spaces.parameter import suggest


class Pool:
    """Space of the rows of a list or of a CSV file with a header.

    A column whose every cell is a number is numeric, any other is categorical. Rows that are equal in the inputs are
    one candidate, at the place of the first: tables of measurements repeat their inputs, and a candidate is listed
    once.

    Args:
        points: rows, all with the same keys.
        csv: file of rows instead; UTF-8, with or without a byte-order mark.
        inputs: columns that make up a point; None for all.

    Raises:
        ConfigError: no rows, an unknown column, or a missing cell, with its row and column.
    """

    def __init__(
        self,
        *,
        points: list[dict[str, Any]] | None = None,
        csv: Path | None = None,
        inputs: list[str] | None = None,
    ) -> None:
        if (points is None) == (csv is None):
            raise ConfigError(
                "expected a pool to have either points or csv, got " + ("neither" if csv is None else "both")
            )
        rows = _read(Path(csv), inputs) if csv is not None else _listed(points or [], inputs)
        if not rows:
            raise ConfigError("expected a pool to have at least one candidate, got none; add rows")
        self.inputs = list(rows[0])
        unique = {tuple(row[name] for name in self.inputs): None for row in rows}
        self._rows = {row: i for i, row in enumerate(unique)}
        self._points = tuple(dict(zip(self.inputs, row, strict=True)) for row in unique)
        self._columns = [_Column(name, [point[name] for point in self._points]) for name in self.inputs]

    @property
    def points(self) -> Sequence[Point]:
        """Every candidate, each once, in the order of the table."""
        return self._points

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """A random candidate."""
        return dict(self._points[int(rng.integers(len(self._points)))])

    def check(self, point: Point) -> None:
        """Raise InvalidPoint, naming the column, unless the point is one of the candidates."""
        if not isinstance(point, Mapping):
            raise InvalidPoint(f"expected a mapping with {self.inputs}, got {point!r}")
        for name in point:
            if name not in self.inputs:
                raise InvalidPoint(f"unknown column {name!r}; {suggest(name, self.inputs)}")
        for column in self._columns:
            if column.name not in point:
                raise InvalidPoint(f"expected a value for {column.name}, got none; add it")
            column.check(point[column.name])
        if tuple(point[name] for name in self.inputs) not in self._rows:
            raise InvalidPoint(
                f"expected one of the {len(self._points)} candidates, got {dict(point)}; take a listed row"
            )

    @property
    def dimension(self) -> int:
        """Length of an encoded point."""
        return sum(column.width for column in self._columns)

    @property
    def columns(self) -> tuple[Column, ...]:
        """What each column of an encoded point stands for."""
        return tuple(
            Column(column.name, "number") if column.numeric else Column(column.name, "category", str(level))
            for column in self._columns
            for level in ([""] if column.numeric else column.known)
        )

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64 in [0, 1]: numbers by the range of their column (0 if constant), categories one-hot."""
        if not points:
            return np.zeros((0, self.dimension))
        return np.hstack([column.encode([point[column.name] for point in points]) for column in self._columns])


class _Column:
    """Values of one input, and how they become numbers."""

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        self.name = name
        self.known = {value: value for value in values}
        self.numeric = all(_is_number(value) for value in values)
        self.width = 1 if self.numeric else len(self.known)
        self.low, self.high = (float(min(values)), float(max(values))) if self.numeric else (0.0, 0.0)
        self.places = {value: i for i, value in enumerate(self.known)}

    def check(self, value: Any) -> None:
        try:  # 1 and true are equal to Python
            known = value in self.known and isinstance(value, bool) == isinstance(self.known[value], bool)
        except TypeError:  # not hashable
            known = False
        if not known:
            some = ", ".join(repr(v) for v in list(self.known)[:5]) + (", …" if len(self.known) > 5 else "")
            raise InvalidPoint(f"expected {self.name} to be one of {some}, got {value!r}")

    def encode(self, values: Sequence[Any]) -> Array:
        if self.numeric:
            span = self.high - self.low
            scaled = (np.array(values, dtype=np.float64) - self.low) / (span or 1.0)
            return scaled[:, None]
        return np.eye(self.width)[[self.places[value] for value in values]]


def _listed(points: Sequence[Mapping[str, Any]], inputs: Sequence[str] | None) -> list[dict[str, Any]]:
    rows = []
    for number, point in enumerate(points, start=1):
        for name in dict.fromkeys((*points[0], *point)):
            if name not in point or name not in points[0]:
                raise ConfigError(f"expected every point to have {list(points[0])}; point {number} differs in {name!r}")
        row = {name: point[name] for name in _chosen(inputs, list(points[0]))}
        for name, value in row.items():
            if (
                not isinstance(value, str | int | float)
                or value == ""
                or value in (math.inf, -math.inf)
                or value != value
            ):
                raise ConfigError(f"expected a text or a finite number in {name!r} of point {number}, got {value!r}")
        rows.append(row)
    return rows


def _read(path: Path, inputs: Sequence[str] | None) -> list[dict[str, Any]]:
    """Rows of a CSV file with numeric columns as numbers; line numbers in errors count the header as 1."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = table_format.reader(file)
            header = [name.strip() for name in next(lines, [])]
            cells = [(lines.line_num, row) for row in lines if any(cell.strip() for cell in row)]
    except FileNotFoundError as error:
        raise ConfigError(f"expected a table in {path}, found no such file; correct `csv`") from error
    if len(set(header)) < len(header):
        raise ConfigError(f"expected different column names in {path}, got {header}; rename one")
    for line, row in cells:
        if len(row) != len(header):
            raise ConfigError(
                f"expected {len(header)} cells in line {line} of {path}, got {len(row)}; correct the line"
            )
    chosen = _chosen(inputs, header)
    places = [header.index(name) for name in chosen]
    columns = [
        _parse(name, [(line, row[place].strip()) for line, row in cells], path)
        for name, place in zip(chosen, places, strict=True)
    ]
    return [dict(zip(chosen, values, strict=True)) for values in zip(*columns, strict=True)]


def _parse(name: str, cells: Sequence[tuple[int, str]], path: Path) -> list[Any]:
    """Integers if all cells are, else floats if all cells are, else texts."""
    for line, cell in cells:
        if cell == "" or cell.lower() == "nan":
            raise ConfigError(
                f"expected a value in line {line}, column {name!r} of {path}, got {cell!r}; fill or drop it"
            )
    for convert in (int, float):
        try:
            values = [convert(cell) for _, cell in cells]
        except ValueError:
            continue
        for (line, cell), value in zip(cells, values, strict=True):
            if not math.isfinite(value):
                raise ConfigError(f"expected a finite number in line {line}, column {name!r} of {path}, got {cell!r}")
        return values
    return [cell for _, cell in cells]


def _chosen(inputs: Sequence[str] | None, columns: Sequence[str]) -> list[str]:
    """The columns that make up a point."""
    for name in inputs or ():
        if name not in columns:
            raise ConfigError(f"unknown column {name!r} in inputs; {suggest(name, columns)}")
    if inputs is not None and (not inputs or len(set(inputs)) < len(inputs)):
        raise ConfigError(f"expected inputs: different columns out of {list(columns)}, got {list(inputs)}")
    return list(columns if inputs is None else inputs)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
