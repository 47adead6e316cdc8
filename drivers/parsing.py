"""Numbers read from what a program left: by regular expression, from JSON, or from the last row of a CSV file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.measurement import check_value, number, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where one number is found: exactly one of `regex`, `json` and `csv`.

    Attributes:
        regex: pattern whose last match is taken: its first group, or all of it.
        file: file that `regex` searches; standard output if left out.
        json: JSON file.
        key: dotted path into the JSON, such as `result.energy` or `energies.0`; the number's own name if left out.
        csv: CSV file with a header; its last row is taken.
        column: name of the CSV column; the number's own name if left out.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    regex: str | None = None
    file: str | None = None
    json: str | None = None
    key: str | None = None
    csv: str | None = None
    column: str | None = None


class CommandFailed(RuntimeError):
    """The program ended badly or left nothing that can be read."""


def read(name: str, spec: Output, folder: Path) -> float:
    """Read one number that a program left.

    Raises:
        CommandFailed: it is not there or not a number.
    """
    source = spec.json or spec.csv or spec.file or "stdout.txt"
    try:
        text = (folder / source).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CommandFailed(f"output {name!r}: cannot read {source!r}: {error.strerror}") from error
    raw = _READERS["json" if spec.json else "csv" if spec.csv else "regex"](name, spec, text, source)
    try:
        value = float(raw) if isinstance(raw, str) else number(raw)
    except ValueError:
        value = None
    if value is None:
        raise CommandFailed(f"output {name!r}: expected a number in {source!r}, got {shown(raw)}")
    for problem in check_value(value, name):
        raise CommandFailed(f"output {name!r}: {problem.message} in {source!r}")
    return value


def _read_regex(name: str, spec: Output, text: str, source: str) -> Any:
    found = list(re.finditer(spec.regex or "", text, re.MULTILINE))
    if not found:
        raise CommandFailed(f"output {name!r}: nothing in {source!r} matches {spec.regex!r}; it ends: {text[-200:]!r}")
    return found[-1].group(1 if found[-1].re.groups else 0)


def _read_json(name: str, spec: Output, text: str, source: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CommandFailed(f"output {name!r}: {source!r} is not JSON: {error}") from error
    for part in (spec.key or name).split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            has = ", ".join(value) if isinstance(value, dict) else f"a {type(value).__name__}"
            raise CommandFailed(f"output {name!r}: no {part!r} in {source!r}, which has {has}") from error
    return value


def _read_csv(name: str, spec: Output, text: str, source: str) -> Any:
    rows = list(csv.DictReader(text.splitlines(), skipinitialspace=True))
    if not rows:
        raise CommandFailed(f"output {name!r}: {source!r} has no rows below its header")
    column = spec.column or name
    if column not in rows[-1]:
        has = ", ".join(str(key) for key in rows[-1])
        raise CommandFailed(f"output {name!r}: no column {column!r} in {source!r}, which has {has}")
    return rows[-1][column]


_READERS: Mapping[str, Callable[[str, Output, str, str], Any]] = {
    "regex": _read_regex,
    "json": _read_json,
    "csv": _read_csv,
}


def check(name: str, spec: Output) -> Output:
    """Return the specification of a number if it makes sense.

    Raises:
        ConfigError: it does not.
    """
    given = [kind for kind in ("regex", "json", "csv") if getattr(spec, kind) is not None]
    if len(given) != 1:
        raise ConfigError(
            f"output {name!r}: expected one of regex, json and csv, got {' and '.join(given) or 'none'}",
            at=("output", name),
        )
    partner = {"regex": "file", "json": "key", "csv": "column"}
    stray = [option for kind, option in partner.items() if kind != given[0] and getattr(spec, option) is not None]
    if stray:
        raise ConfigError(
            f"output {name!r}: {stray[0]!r} does not go with {given[0]!r}; remove it", at=("output", name, stray[0])
        )
    try:
        re.compile(spec.regex or "")
    except re.error as error:
        raise ConfigError(
            f"output {name!r}: {spec.regex!r} is not a regular expression: {error}", at=("output", name, "regex")
        ) from error
    return spec
