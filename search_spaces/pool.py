"""A finite set of candidates: the rows of a table that could be made or measured next."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint, inside
from matloop.orchestrator.protocols import Allowed, Array, Column, Past
from matloop.orchestrator.trial import Point
from matloop.search_spaces.choices import is_number
from matloop.search_spaces.narrowing.listed import ListedPart, around
from matloop.search_spaces.parameter import finite, suggest
from matloop.search_spaces.table import Columns, read_header, read_table


class Pool:
    """Space of the rows of a list or of a CSV file with a header.

    A column whose every cell is a number is numeric, any other is categorical. Rows that are equal in the inputs are
    one candidate, at the place of the first: tables of measurements repeat their inputs, and a candidate is listed
    once.

    Args:
        points: rows, all with the same keys.
        csv: file of rows instead; see `matloop.search_spaces.table.read_table`.
        inputs: columns that make up a point; None for all.
        features: columns that a model sees in place of the inputs, such as descriptors of a molecule that the point
            only names; inputs may be among them. None for the inputs.
        former: CSV file, with the same columns, of candidates that are not to be had any more: a model that sees
            features goes on knowing them. Without features that needs no file.
        before: values of inputs that experiments had which do not say, since these were no inputs then.
        past: what is on record; filled in by matloop. Levels of a category that no candidate has any more are encoded.

    Raises:
        ConfigError: no rows, an unknown column, a missing cell, with its row and column, or rows with the same inputs
            but different features.
    """

    def __init__(
        self,
        *,
        points: list[dict[str, Any]] | None = None,
        csv: Path | None = None,
        inputs: list[str] | None = None,
        features: list[str] | None = None,
        former: Path | None = None,
        before: dict[str, Any] | None = None,
        past: Past | None = None,
    ) -> None:
        if (points is None) == (csv is None):
            raise ConfigError(
                "expected a pool to have either points or csv, got " + ("neither" if csv is None else "both")
            )
        if points is not None and not points:
            raise ConfigError("expected a pool to have at least one candidate, got none; add rows")
        known = _header(Path(csv)) if csv is not None else list((points or [{}])[0])
        chosen = None if features is None else _chosen("features", features, known)
        self.inputs = _chosen("inputs", inputs, known)
        needed = [*self.inputs, *(name for name in chosen or () if name not in self.inputs)]
        table = _table(Path(csv), needed) if csv is not None else _listed(points or [], needed)
        rows = list(zip(*(table[name] for name in self.inputs), strict=True))
        if not rows:
            raise ConfigError("expected a pool to have at least one candidate, got none; add rows")
        first = {row: i for i, row in reversed(list(enumerate(rows)))}
        kept = sorted(first.values())
        self._rows = {rows[i]: place for place, i in enumerate(kept)}
        self._points = tuple(dict(zip(self.inputs, rows[i], strict=True)) for i in kept)
        past, self._before = past or Past(), before or {}
        for name, value in self._before.items():
            if name not in self.inputs or not isinstance(value, str | int | float):
                raise ConfigError(
                    f"expected before: {{input: value}} for inputs out of {self.inputs}, got {name!r}: {value!r}",
                    at=("before", name),
                )
        seen = {name: [*past.values(name), *([before[name]] if before and name in before else [])] for name in known}
        self._columns = [_Column(name, [table[name][i] for i in kept], seen[name]) for name in self.inputs]
        self._features = None if chosen is None else [_Column(name, [table[name][i] for i in kept]) for name in chosen]
        if former is not None:
            self._remember(Path(former), needed)
        for name in chosen or ():
            for i, row in enumerate(rows):
                if table[name][i] != table[name][first[row]]:
                    point = dict(zip(self.inputs, row, strict=True))
                    raise ConfigError(
                        f"expected one value of the feature {name!r} for {point}, got {table[name][first[row]]!r} and "
                        f"{table[name][i]!r}; correct it, or make {name!r} an input",
                        at="features",
                    )

    def _remember(self, former: Path, needed: Sequence[str]) -> None:
        """Take over the features of candidates that are not to be had any more."""
        if self._features is None:
            raise ConfigError("expected former together with features, got it alone; leave it out", at="former")
        with inside("former"):
            table = read_table(former, needed)
        count = len(self._points)
        for row in zip(*(table[name] for name in self.inputs), strict=True):
            self._rows.setdefault(row, count)
            count += 1
        for column in self._features:
            column.extend(table[column.name], at=("former",))

    @property
    def points(self) -> Sequence[Point]:
        """Every candidate, each once, in the order of the table."""
        return self._points

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """A random candidate."""
        return dict(self._points[int(rng.integers(len(self._points)))])

    def check(self, point: Point) -> None:
        """Raise InvalidPoint, naming the column, unless the point is one of the candidates."""
        self._check_names(point)
        for column in self._columns:
            column.check(point[column.name])
        if self._place(point) is None:
            raise InvalidPoint(
                f"expected one of the {len(self._points)} candidates, got {dict(point)}; take a listed row"
            )

    def check_measured(self, point: Point, *, outside: bool = False) -> None:
        """As `check`, for what was really done: numbers may be any within the range of their column, or outside.

        With `features` only candidates are accepted, and outside the former ones, since nothing is known of the
        features of other points.
        """
        if self._features is not None and not (outside and self.knows(point)):
            return self.check(point)
        self._check_names(point)
        for column in self._columns:
            column.check_measured(point[column.name], outside=outside)

    def knows(self, point: Point) -> bool:
        """Whether `encode` has a place for the point."""
        try:
            self.encode([point])
        except (InvalidPoint, TypeError):
            return False
        return True

    def _place(self, point: Point) -> int | None:
        """Of a candidate in the table."""
        place = self._rows.get(tuple(point[name] for name in self.inputs))
        return place if place is not None and place < len(self._points) else None

    def _check_names(self, point: Point, *, surplus: bool = False) -> None:
        if not isinstance(point, Mapping):
            raise InvalidPoint(f"expected a mapping with {self.inputs}, got {point!r}")
        for name in () if surplus else point:
            if name not in self.inputs:
                raise InvalidPoint(f"unknown column {name!r}; {suggest(name, self.inputs)}", at=str(name))
        for name in self.inputs:
            if name not in point:
                raise InvalidPoint(f"expected a value for {name}, got none; add it", at=name)

    @property
    def dimension(self) -> int:
        """Length of an encoded point."""
        return sum(column.width for column in self._encoded)

    @property
    def columns(self) -> tuple[Column, ...]:
        """What each column of an encoded point stands for."""
        return tuple(
            Column(column.name, "number") if column.numeric else Column(column.name, "category", str(level))
            for column in self._encoded
            for level in ([""] if column.numeric else column.places)
        )

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64: numbers by the range of their column (0 if constant), categories one-hot.

        Candidates are within [0, 1]. What was measured outside has its place there, and is never moved.

        Raises:
            InvalidPoint: it has none: a text among numbers, a level that nobody has met, or a point without features.
        """
        if not points:
            return np.zeros((0, self.dimension))
        points = [{**self._before, **point} for point in points] if self._before else points
        for point in points:
            self._check_names(point, surplus=True)
        if self._features is None:
            return np.hstack([column.encode([point[column.name] for point in points]) for column in self._columns])
        places = []
        for point in points:
            place = self._rows.get(tuple(point[name] for name in self.inputs))
            if place is None:
                raise InvalidPoint(
                    f"expected one of the candidates, whose features are known, got {dict(point)}; "
                    "list it in a file of `former` candidates"
                )
            places.append(place)
        return np.hstack([column.encode([column.values[i] for i in places]) for column in self._features])

    def narrowed(self, allowed: Mapping[str, Allowed]) -> ListedPart:
        """The candidates with allowed values; see `matloop.orchestrator.protocols.Narrowable`."""
        return ListedPart(self, allowed)

    def around(self, point: Point, within: float, free: Collection[str]) -> dict[str, Allowed]:
        """The neighbourhood of a point; see `matloop.orchestrator.protocols.Narrowable`.

        With `features`, texts are not kept: those count as near that the features say are most alike.
        """
        texts = [column.name for column in self._columns if not column.numeric]
        return around(self, texts if self._features else (), point, within, free)

    @property
    def _encoded(self) -> list[_Column]:
        return self._columns if self._features is None else self._features


class _Column:
    """Values of one input or feature, and how they become numbers."""

    def __init__(self, name: str, values: Sequence[Any], seen: Sequence[Any] = ()) -> None:
        self.name = name
        self.values = list(values)
        self.known = {value: value for value in values}
        self.numeric = all(is_number(value) for value in values)
        self.low, self.high = (float(min(values)), float(max(values))) if self.numeric else (0.0, 0.0)
        self.places = {value: i for i, value in enumerate(dict.fromkeys([*self.known, *seen]))}

    @property
    def width(self) -> int:
        """Number of columns."""
        return 1 if self.numeric else len(self.places)

    def extend(self, values: Sequence[Any], at: Sequence[str]) -> None:
        """Take over values of what is no candidate any more."""
        for value in values:
            if self.numeric and not is_number(value):
                raise ConfigError(f"expected numbers in column {self.name!r}, got {value!r}; correct it", at=at)
            self.places.setdefault(value, len(self.places))
        self.values += values

    def check(self, value: Any) -> None:
        try:  # 1 and true are equal to Python
            known = value in self.known and isinstance(value, bool) == isinstance(self.known[value], bool)
        except TypeError:  # not hashable
            known = False
        if not known:
            some = ", ".join(repr(v) for v in list(self.known)[:5]) + (", …" if len(self.known) > 5 else "")
            raise InvalidPoint(f"expected {self.name} to be one of {some}, got {value!r}", at=self.name)

    def check_measured(self, value: Any, *, outside: bool = False) -> None:
        if not self.numeric:
            if not (outside and isinstance(value, str | int | float) and value != ""):
                self.check(value)
        elif not (is_number(value) and finite(value) and (outside or self.low <= value <= self.high)):
            text = f"expected {self.name} to be {self.low:g} to {self.high:g}, got {value!r}"
            raise InvalidPoint(text, at=self.name)

    def encode(self, values: Sequence[Any]) -> Array:
        for value in values:
            if not (is_number(value) if self.numeric else value in self.places):
                word = "a number" if self.numeric else f"one of {list(self.places)[:5]}"
                raise InvalidPoint(f"expected {self.name} to be {word}, got {value!r}", at=self.name)
        if self.numeric:
            span = self.high - self.low
            scaled = (np.array(values, dtype=np.float64) - self.low) / (span or 1.0)
            return scaled[:, None]
        one_hot = np.zeros((len(values), self.width))
        one_hot[np.arange(len(values)), [self.places[value] for value in values]] = 1.0
        return one_hot


def _header(csv: Path) -> list[str]:
    with inside("csv"):
        return read_header(csv)


def _table(csv: Path, columns: Sequence[str]) -> Columns:
    with inside("csv"):
        return read_table(csv, columns)


def _listed(points: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Columns:
    for number, point in enumerate(points, start=1):
        for name in dict.fromkeys((*points[0], *point)):
            if name not in point or name not in points[0]:
                raise ConfigError(
                    f"expected every point to have {list(points[0])}; point {number} differs in {name!r}",
                    at=("points", number - 1),
                )
        for name in columns:
            value = point[name]
            plain = isinstance(value, str | int | float) and value != ""
            if not plain or (isinstance(value, float) and not math.isfinite(value)):
                raise ConfigError(
                    f"expected a text or a finite number in {name!r} of point {number}, got {value!r}",
                    at=("points", number - 1, name),
                )
    return {name: [point[name] for point in points] for name in columns}


def _chosen(option: str, names: Sequence[str] | None, columns: Sequence[str]) -> list[str]:
    """The columns that an option names; all if it names none."""
    for name in names or ():
        if name not in columns:
            raise ConfigError(f"unknown column {name!r} in {option}; {suggest(name, columns)}", at=option)
    if names is not None and (not names or len(set(names)) < len(names)):
        raise ConfigError(f"expected {option}: different columns out of {list(columns)}, got {list(names)}", at=option)
    return list(columns if names is None else names)
