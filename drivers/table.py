"""Looks a point's outcome up in a table of measurements: for benchmarks, replays and dry runs of a campaign."""

from __future__ import annotations

import csv as table_format
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Array
from matloop.orchestrator.trial import Measurement, Objective, Trial

Cell = float | str
Row = tuple[Cell, ...]


class Table:
    """Driver that answers with what a CSV file says of a point.

    Args:
        csv: file with a header; UTF-8, with or without a byte-order mark.
        inputs: columns that make up a point; numbers are compared as numbers, anything else as text.
        objectives: columns that are measured, by the names that the campaign file gives its objectives.
        repeats: what to answer where several rows have the same inputs: their "mean", or a "random" one of them, by
            the trial's seed, as if it were measured again.

    Raises:
        ConfigError: the file cannot be read, or lacks a column.
    """

    repeatable = True

    def __init__(
        self,
        *,
        csv: Path,
        inputs: list[str],
        objectives: tuple[Objective, ...] = (),
        repeats: Literal["mean", "random"] = "mean",
    ) -> None:
        if not inputs or not objectives:
            missing = "inputs" if not inputs else "objectives"
            raise ConfigError(
                f"expected a table with at least one column of {missing}, got none; name them", at=missing
            )
        if repeats not in ("mean", "random"):
            raise ConfigError(f"expected repeats: mean or random, got {repeats!r}", at="repeats")
        self._csv = Path(csv).resolve()
        self._inputs = tuple(inputs)
        self._objectives = tuple(objectives)
        self._repeats = repeats
        self._rows()

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The measured columns."""
        return self._objectives

    def __call__(self, trial: Trial) -> Measurement:
        """Look the trial's point up.

        Raises:
            InvalidPoint: the table has no row with these inputs.
        """
        outcomes = self._outcomes(trial.point)
        if self._repeats == "random":
            row = outcomes[np.random.default_rng(trial.seed).integers(len(outcomes))]
        else:
            row = outcomes.mean(axis=0)
        values = {o.name: float(value) for o, value in zip(self._objectives, row, strict=True)}
        return Measurement(values=values, info={"rows": len(outcomes)})

    def _outcomes(self, point: Mapping[str, Any]) -> Array:
        """(rows with these inputs, m) float64."""
        missing = [name for name in self._inputs if name not in point]
        if missing:
            raise InvalidPoint(f"expected a point with {list(self._inputs)}, got none of {missing} in {dict(point)}")
        found = self._rows().get(tuple(_cell(point[name]) for name in self._inputs))
        if found is None:
            wanted = {name: point[name] for name in self._inputs}
            raise InvalidPoint(
                f"expected a point that {self._csv.name} has a row for, got {wanted}; "
                "search a pool made from the same file, or add the measurement to it"
            )
        return found

    def _rows(self) -> dict[Row, Array]:
        return _read(self._csv, self._inputs, tuple(o.name for o in self._objectives))


@cache
def _read(path: Path, inputs: tuple[str, ...], outcomes: tuple[str, ...]) -> dict[Row, Array]:
    """Outcomes by inputs, read once per process."""
    grouped: dict[Row, list[list[float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = table_format.DictReader(file)
            absent = [name for name in (*inputs, *outcomes) if name not in (reader.fieldnames or ())]
            if absent:
                raise ConfigError(
                    f"expected columns {absent} in {path.name}, got {reader.fieldnames}; correct the names",
                    at="inputs" if absent[0] in inputs else "csv",
                )
            for row in reader:
                values = [_number(row[name], path, reader.line_num, name) for name in outcomes]
                grouped.setdefault(tuple(_cell(row[name]) for name in inputs), []).append(values)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"expected a readable CSV file in UTF-8, got {path}: {error}; correct the path", at="csv"
        ) from error
    return {key: np.array(rows, dtype=np.float64) for key, rows in grouped.items()}


def _cell(value: object) -> Cell:
    """A number if it can be read as a finite one, else text."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else str(value)


def _number(text: str | None, path: Path, line: int, column: str) -> float:
    number = _cell(text)
    if isinstance(number, str):
        raise ConfigError(
            f"expected a number in {path.name}, line {line}, column {column!r}, got {text!r}; correct it", at="csv"
        )
    return number
