"""What can be known to go wrong before the first network is trained, and what is worth knowing of the data."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from matloop.drivers.training.data import PARTS, Data
from matloop.drivers.training.splits import Split
from matloop.drivers.training.tasks.task import Task
from matloop.orchestrator.errors import Problem

SHOWN = 5
"""Rows that are left out of which each is told."""


def misfits(fixed: Mapping[str, Any], data: Data, outputs: int) -> list[Problem]:
    """Where what a space states of inputs and outputs is not what the data have.

    Args:
        fixed: what all genomes of the space have in common.
        data: what is trained on.
        outputs: of a network, as the task has them.
    """
    wanted = {"input": [int(size) for size in data.x.shape[1:]], "outputs": outputs}
    found = []
    for name, value in wanted.items():
        stated = fixed.get(name)
        if stated is not None and (list(stated) if isinstance(stated, tuple) else stated) != value:
            text = f"expected {name}: {value}, as the data in {data.path} have it, got {stated}"
            found.append(Problem(text, ("space", name), remedy="correct it, or leave it out to have it filled in"))
    return found


def notes(data: Data, parts: Split, goal: Task) -> list[str]:
    """What people want to know of the data before they spend hours on them."""
    return [_sizes(data, parts), *_classes(data, parts, goal), *constant(data), *crossing(data, parts), *notable(data)]


def constant(data: Data) -> list[str]:
    """That a target is the same in all rows, which leaves nothing to be learnt; a line or none."""
    y = data.y if data.y.ndim == 2 and data.y.shape[1:] != data.x.shape[2:] else data.y.reshape(-1, 1)
    same = [i for i, column in enumerate(y.T) if column.min() == column.max()]
    if not same:
        return []
    of = "" if y.shape[1] == 1 else f" {', '.join(data.names[i] if data.names else str(i) for i in same[:SHOWN])}"
    return [f"all rows have the same target{of}: there is nothing to learn from them"]


def crossing(data: Data, parts: Split) -> list[str]:
    """Groups with rows in several parts, which make a test easier than it is with new groups; a line or none."""
    if data.groups is None:
        return []
    found, example = [], ""
    for (one, rows), (other, rest) in combinations(zip(PARTS, parts, strict=True), 2):
        if len(both := np.intersect1d(data.groups[rows], data.groups[rest])):
            found.append(f"{len(both)} in {one} and {other}")
            example = example or str(data.ids[rest[np.isin(data.groups[rest], both)][0]])
    if not found:
        return []
    return [
        f"groups have rows in several parts: {', '.join(found)}, such as the group of {example!r}; errors on new "
        "groups will be larger than on these"
    ]


def notable(data: Data) -> list[str]:
    """The first of what the source has to say, such as rows that it left out, and how much more there is."""
    found = list(data.problems)
    return found[:SHOWN] + ([f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])


def _sizes(data: Data, parts: Split) -> str:
    counts = ", ".join(f"{len(rows)} {part}" for part, rows in zip(PARTS, parts, strict=True))
    text = f"{data.path.name}: {len(data)} rows of {_by(data.x.shape[1:])}; {counts}"
    if data.groups is None:
        return text
    groups = [len(np.unique(data.groups[rows])) for rows in parts]
    return f"{text}; {len(np.unique(data.groups))} groups, {', '.join(map(str, groups))} of them in these parts"


def _classes(data: Data, parts: Split, goal: Task) -> list[str]:
    """Classes of which a part has no row."""
    described = dict(goal.described()).get("classes")
    if not described or data.y.ndim != 1:
        return []
    targets = np.asarray(goal.targets).ravel()
    found = []
    for part, rows in zip(PARTS, parts, strict=True):
        there = {*np.unique(targets[rows]).tolist()}
        if lacking := [str(name) for i, name in enumerate(described) if i not in there]:
            found.append(f"no row of the {part} part is of the class {', '.join(lacking[:SHOWN])}")
    return found


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
