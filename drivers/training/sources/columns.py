"""What the columns of a table are for: inputs as numbers, targets, ids, groups, parts and times."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from matloop.drivers.training.sources.frames import Frame, cells, is_numeric, numbers, shown
from matloop.orchestrator.errors import ConfigError

MOST_CATEGORIES = 100

_NAMELESS = re.compile(r"Unnamed: \d+(_level_\d+)?")  # as pandas calls a column without a name
_EXACT = 2**53  # whole numbers from which on a float has no room for all digits

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Columns as numbers.

    Attributes:
        values: (n, d) float32.
        names: of the d values.
        good: (n,) whether a row has all of them; the values of others mean nothing.
        problems: what is wrong with each of the others, by row.
    """

    values: npt.NDArray[np.float32]
    names: tuple[str, ...]
    good: Bools
    problems: Mapping[int, str]


def nameless(name: object) -> bool:
    """Whether a column has no name in its file, such as one of the rows' numbers."""
    return _NAMELESS.fullmatch(str(name)) is not None


def check_features(features: Sequence[str] | None, target: str | Sequence[str]) -> None:
    """Raise ConfigError for a feature that is given twice or is the target."""
    own = [target] if isinstance(target, str) else list(target)
    given = list(features or ())
    if known := [name for name in given if name in own]:
        raise ConfigError(f"expected features beside the target, got {known[0]!r} as both", at="features")
    if len({*given}) < len(given):
        raise ConfigError(f"expected each feature once, got {given}", at="features")


def learn(table: Frame, names: Sequence[str], categorical: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What `encode` needs to know of input columns, JSON-able: their names, and categories where they hold texts.

    Raises:
        ValueError: a column of texts that name rows rather than categories.
    """
    learnt: list[dict[str, Any]] = []
    for name in names:
        if name not in categorical and (is_numeric(table.columns[name]) or bool(table.columns[name].dtype == bool)):
            learnt.append({"name": name, "categories": None})
            continue
        found = sorted({text for text in table.texts(name) if text})
        if not found:
            raise ValueError(f"expected values in the column {name!r} of {table.path}, got none; leave it out")
        if len(found) > MOST_CATEGORIES or (len(found) > 20 and 2 * len(found) > len(table)):
            raise ValueError(
                f"expected numbers or at most {MOST_CATEGORIES} categories in the column {name!r} of {table.path}, got "
                f"{len(found)} different texts in {len(table)} rows; say `id: {name}` if it names rows, "
                f"`group: {name}` if it names specimens, or list the other columns in `features`"
            )
        learnt.append({"name": name, "categories": found})
    return learnt


def encode(table: Frame, learnt: Sequence[Mapping[str, Any]]) -> Encoded:
    """Input columns as numbers, categories as a 1 in one of their places."""
    table.require([column["name"] for column in learnt])
    blocks: list[npt.NDArray[np.float32]] = []
    names: list[str] = []
    problems: dict[int, str] = {}
    for column in learnt:
        name, categories = column["name"], column["categories"]
        if categories is None:
            block = numbers(table.columns[name])[:, None]
            bad, wanted = np.isnan(block[:, 0]), "a number"
            names.append(name)
        else:
            places = {category: i for i, category in enumerate(categories)}
            codes = np.array([places.get(text, -1) for text in table.texts(name)], dtype=np.int64)
            block, bad = np.eye(len(categories))[codes], codes < 0
            wanted = f"one of {categories[:8]}{'…' if len(categories) > 8 else ''}"
            names += [f"{name}={category}" for category in categories]
        blocks.append(block.astype(np.float32))
        _note(problems, table, name, bad, wanted)
    good = np.ones(len(table), dtype=bool)
    good[list(problems)] = False
    values = np.hstack(blocks) if blocks else np.zeros((len(table), 0), dtype=np.float32)
    return Encoded(values, tuple(names), good, problems)


@dataclass(frozen=True, slots=True)
class Targets:
    """Target columns.

    Attributes:
        y: (n,) or (n, m); rows that are not good hold 0.
        names: of the targets or the classes.
        good: (n,).
        problems: by row.
    """

    y: npt.NDArray[Any]
    names: tuple[str, ...]
    good: Bools
    problems: Mapping[int, str]


def targets(table: Frame, given: str | Sequence[str]) -> Targets:
    """Numbers of one or several columns, or the classes that the texts of one name.

    Raises:
        ValueError: no such columns, or several of which one holds texts.
    """
    names = [given] if isinstance(given, str) else list(given)
    if len({*names}) < len(names):
        raise ValueError(f"expected each target once, got {names}")
    table.require(names)
    if len(names) == 1 and not is_numeric(table.columns[names[0]]):
        return _labels(table, names[0])
    problems: dict[int, str] = {}
    columns = []
    for name in names:
        if not is_numeric(table.columns[name]):
            raise ValueError(
                f"expected numbers in the target {name!r} of {table.path}, got texts such as "
                f"{next((text for text in table.texts(name) if text), '')!r}; classes can only be a single target"
            )
        columns.append(numbers(table.columns[name]))
        _note(problems, table, name, np.isnan(columns[-1]), "a number")
    good = np.ones(len(table), dtype=bool)
    good[list(problems)] = False
    y = np.where(good[:, None], np.stack(columns, axis=1), 0.0)
    if len(names) == 1:
        y = y[:, 0]
        if _whole(table.columns[names[0]].loc[good]) and np.abs(y).max(initial=0) < _EXACT:
            y = y.astype(np.int64)
    return Targets(y, tuple(names) if y.dtype.kind == "f" else (), good, problems)


def _whole(values: pd.Series) -> bool:
    """Whether all are written as whole numbers, which may be classes."""
    kind = values.dtype.kind
    return kind in "iu" or (kind != "f" and all(str(value).strip().lstrip("+-").isdigit() for value in cells(values)))


def _labels(table: Frame, name: str) -> Targets:
    texts = np.array(table.texts(name), dtype=np.str_)
    good = texts != ""
    classes, codes = np.unique(texts[good], return_inverse=True)
    y = np.zeros(len(texts), dtype=np.int64)
    y[good] = codes
    problems: dict[int, str] = {}
    _note(problems, table, name, ~good, "the name of a class")
    return Targets(y, tuple(classes.tolist()), good, problems)


def _note(problems: dict[int, str], table: Frame, name: str, bad: Bools, wanted: str) -> None:
    """Remember the first fault of each row."""
    rows = np.flatnonzero(bad)
    found = cells(table.columns[name].iloc[rows])
    for row, value in zip(rows.tolist(), found, strict=True):
        problems.setdefault(row, f"expected {wanted} in {name!r}, got {shown(value)}")
