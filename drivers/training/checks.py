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
from matloop.search_spaces.networks.graph.graphs import Graphs

SHOWN = 5
"""Rows that are left out of which each is told."""

_MUCH = 0.3  # of a budget


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
    told = [*_classes(data, parts, goal), *constant(data, parts, goal), *crossing(data, parts)]
    return [_sizes(data, parts), *told, *notable(data)]


def constant(data: Data, parts: Split, goal: Task) -> list[str]:
    """Targets of which there is only one value in the training part, so that nothing can be learnt."""
    if data.y.ndim > 2 or isinstance(data.x, Graphs):
        return []
    if classes := dict(goal.described()).get("classes"):
        found = np.unique(np.asarray(goal.targets)[parts.train])
        return [f"all rows of the training part are of one class: {classes[int(found[0])]}"] if len(found) == 1 else []
    if "y_mean" not in goal.described():
        return []
    y = data.y[parts.train].reshape(len(parts.train), -1)
    same = np.flatnonzero((y == y[:1]).all(axis=0))
    names = [data.names[i] if data.names else f"number {i}" for i in same]
    return [f"the target does not vary in the training part: {', '.join(names[:SHOWN])}"] if names else []


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


def much_predicted(rows: int, needed: float, seconds: float) -> list[str]:
    """What there is to say if a good part of a budget goes to predictions.

    Args:
        rows: of validation and test.
        needed: seconds that predicting them takes.
        seconds: of a trial.
    """
    if needed < _MUCH * seconds:
        return []
    left = "which leaves none for training" if needed >= seconds else "and training has the rest"
    return [
        f"predicting the {rows} rows of validation and test takes about {needed:.2g} s here, of a budget of "
        f"{seconds:g} s a trial, {left}; raise the budget, or have fewer of these rows"
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
