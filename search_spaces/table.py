"""Rows of a CSV file with a header, numeric columns as numbers; every error has its line and column."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.spreadsheets import read
from matloop.search_spaces.parameter import finite, suggest

DECIMAL_COMMA = re.compile(r"^(\s*[-+]?\d*),(\d+(?:[eE][-+]?\d+)?\s*)$")
"""A number as files with semicolons between cells write it."""

Columns = dict[str, list[Any]]
"""Name to values, all of the same length, in the order of the file."""


def read_table(path: Path, columns: Sequence[str] | None = None) -> Columns:
    """Read some columns of a file.

    The file is UTF-8, with or without a byte-order mark, gzipped if its name ends in .gz, with commas, semicolons or
    tabs between cells, whichever the header has; with semicolons, numbers may have decimal commas. A column is integers
    if every cell is a whole number, else numbers if every cell is one, else texts. Lines without any content are passed
    over; line numbers in errors count the header as 1. An apostrophe that keeps a text from being taken for a formula,
    as in tables that matloop writes, is not part of it.

    Args:
        path: of the file.
        columns: those to read; None for all. Others may have gaps.

    Raises:
        ConfigError: no such file, an unknown or repeated column, or a missing or infinite cell.
    """
    header, rows = _cells(path)
    chosen = header if columns is None else list(columns)
    for name in chosen:
        if name not in header:
            raise ConfigError(f"unknown column {name!r} in {path}; {suggest(name, header)}")
    places = [header.index(name) for name in chosen]
    return {
        name: _parse(name, [(line, row[place].strip()) for line, row in rows], path)
        for name, place in zip(chosen, places, strict=True)
    }


def read_header(path: Path) -> list[str]:
    """Names of the columns of a file."""
    return _cells(path, header_only=True)[0]


def _cells(path: Path, *, header_only: bool = False) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Names of the columns, and the lines with their numbers; decimal commas become points."""
    limit = csv.field_size_limit(2**31 - 1)  # texts of crystal structures are long
    try:
        with _open(path) as file:
            first = file.readline()
            separator = max(",;\t", key=first.count)
            reader = csv.reader(chain([first], () if header_only else file), delimiter=separator)
            header = [read(name.strip()) for name in next(reader, [])]
            rows = [
                (reader.line_num, [read(cell) if "'" in cell else cell for cell in row])
                for row in reader
                if any(cell.strip() for cell in row)
            ]
    except FileNotFoundError as error:
        raise ConfigError(f"expected a table in {path}, found no such file; correct the path") from error
    except IsADirectoryError as error:
        raise ConfigError(f"expected a table in {path}, found a folder; correct the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"expected {path} to be UTF-8, got other bytes ({error.reason}); save it as UTF-8") from error
    except (csv.Error, gzip.BadGzipFile) as error:
        raise ConfigError(f"expected a table with cells in {path}: {error}") from error
    finally:
        csv.field_size_limit(limit)
    if len(set(header)) < len(header):
        raise ConfigError(f"expected different column names in {path}, got {header}; rename one")
    for line, row in rows:
        if len(row) != len(header):
            raise ConfigError(
                f"expected {len(header)} cells in line {line} of {path}, got {len(row)}; correct the line"
            )
    if separator == ";":
        rows = [(line, [DECIMAL_COMMA.sub(r"\1.\2", cell) for cell in row]) for line, row in rows]
    return header, rows


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _parse(name: str, cells: Sequence[tuple[int, str]], path: Path) -> list[Any]:
    for line, cell in cells:
        if cell == "" or cell.lower() == "nan":
            raise ConfigError(
                f"expected a value in line {line}, column {name!r} of {path}, got {cell!r}; fill or drop it"
            )
    if any("_" in cell for _, cell in cells):  # Python would read 1_0 as ten
        return [cell for _, cell in cells]
    for convert in (int, float):
        try:
            values = [convert(cell) for _, cell in cells]
        except ValueError:
            continue
        for (line, cell), value in zip(cells, values, strict=True):
            if not finite(value):
                raise ConfigError(f"expected a finite number in line {line}, column {name!r} of {path}, got {cell!r}")
        return values
    return [cell for _, cell in cells]
