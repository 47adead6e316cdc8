"""A first campaign for data that are there: looked at by the drivers' room, written here as a commented file."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import yaml

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.ledger.file import quoted

DATA_TEMPLATES = ("images", "formulas", "crystals", "segmentation", "signals", "table")
"""Kinds of data that campaigns are drafted for."""

TRIALS = 20
"""Trainings one after the other that the time of a search is divided into."""


class Draft(Protocol):
    """See `matloop.drivers.training.drafts.draft.Draft`."""

    source: Mapping[str, Any]
    task: str
    space: str
    objective: tuple[str, str]
    found: Sequence[str]
    hints: Sequence[str]
    comments: Sequence[str]
    split: Mapping[str, Any]
    limit: int | None
    pace: str


def draft(template: str, data: Path, target: str | None, minutes: float) -> Draft:
    """Look at data.

    Args:
        template: one of `DATA_TEMPLATES`.
        data: file or folder.
        target: column to predict; None to choose one.
        minutes: of the whole search.

    Raises:
        ConfigError: they are missing, or not such as the template is for.
    """
    module = importlib.import_module("matloop.drivers.training.drafts.templates")
    try:
        return cast(Draft, module.draft(template, data, target, seconds=seconds_of_a_training(minutes)))
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error


def seconds_of_a_training(minutes: float) -> int:
    """Of a search of so many minutes."""
    return max(round(60 * minutes / TRIALS), 1)


def text(found: Draft, file: Path, data: Path, minutes: float) -> str:
    """The campaign file.

    Args:
        found: what was found in the data.
        file: where it will lie; paths in it start there.
        data: that were looked at.
        minutes: of the whole search.
    """
    seconds, each = 60 * minutes, seconds_of_a_training(minutes)
    options = {
        key: _relative(value, file.parent) if isinstance(value, Path) else value for key, value in found.source.items()
    }
    source = [f"        {key}: {_value(value)}" for key, value in options.items()]
    comments = [f"        # {line}" for line in found.comments]
    goal, direction = found.objective
    name = quoted(file.name)
    lines = [
        f"# Networks for {data.name}, evolved. What `matloop init` found in the data:",
        *(f"#   {line}" for line in found.found),
        "#",
        f"#   matloop run {name}          search; the same command again goes on after a stop or with more time",
        f"#   matloop status {name}       look at it while it runs",
        "#",
        "# Relative paths start at this file's folder. The network's input and outputs are filled in from the data.",
        "",
        f"name: {_value(_name(data))}",
        "seed: 0",
        "",
        "executor:",
        "  kind: local                      # one process per core; mpi: under mpiexec",
        "",
        "studies:",
        "  search:",
        "    space:",
        f"      kind: {found.space}",
        *([f"      # {found.pace}", f"      max_multiply_adds: {found.limit}"] if found.limit else []),
        "    driver:",
        "      kind: training",
        "      data:",
        *source,
        *comments,
        f"      task: {found.task}",
        f"      split: {_value(found.split)}   # to train on, choose by, test; with auto, groups stay together",
        f"      budget: {{seconds: {each}}}            # of one training; also: epochs, steps, samples",
        "    strategy: {kind: evolution, population: 8, predictor: svm}",
        "    objectives:",
        f"      {goal}: {direction}",
        "    budget:",
        f"      seconds: {max(round(seconds), 2)}                # of the search; also: trials, patience",
        "",
    ]
    return "\n".join(lines)


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
    except ValueError:  # on another drive
        return path.absolute().as_posix()


def _value(value: Any) -> str:
    """In one line of YAML."""
    shown: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return shown.removesuffix("...\n").strip()


def _name(data: Path) -> str:
    name = re.sub(r"[^\w-]+", " ", data.resolve().name.partition(".")[0]).strip()
    return name or "networks"
