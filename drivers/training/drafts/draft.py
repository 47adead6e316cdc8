"""What a campaign for given data needs to say, and what was found in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from matloop.drivers.training.checks import constant, notable
from matloop.drivers.training.classes import numbered_classes
from matloop.drivers.training.data import PARTS, Data
from matloop.drivers.training.drafts.columns import said
from matloop.drivers.training.drafts.pace import most_multiply_adds, reason
from matloop.drivers.training.driver import Training
from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.splits import USUAL
from matloop.search_spaces.networks.graph.graphs import Graphs

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Draft:
    """A campaign in outline.

    Attributes:
        source: options of the data, `kind` first; files and folders as paths.
        task: of the training driver.
        space: kind.
        objective: name and direction.
        found: lines for people: what the data are.
        hints: lines for people: what they may want to change.
        comments: lines to stand as comments below the data, such as options that may be wanted.
        split: how rows are divided.
        limit: most multiplications of a network for one row; None for the space's own limit.
        pace: why there is a limit.
    """

    source: Mapping[str, Any]
    task: str
    space: str
    objective: tuple[str, str]
    found: Sequence[str]
    hints: Sequence[str] = ()
    comments: Sequence[str] = ()
    split: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    pace: str = ""


@dataclass(frozen=True, slots=True)
class Idea:
    """A source that may do, before it has been read.

    Attributes:
        source: options.
        task: None to be told by the targets.
        hints: see `Draft`.
        comments: see `Draft`.
    """

    source: Mapping[str, Any]
    task: str | None = None
    hints: Sequence[str] = ()
    comments: Sequence[str] = field(default_factory=tuple)


def drafted(idea: Idea, seconds: float) -> Draft:
    """Read the data and decide on the rest.

    Args:
        idea: where they are.
        seconds: of a training.

    Raises:
        ValueError: the data cannot be used.
        OSError: there are none.
    """
    data = load(idea.source)
    task = idea.task or _task(data)
    split: dict[str, Any] = {"kind": "auto", "shares": [*USUAL]}
    hints = [*idea.hints, *_hints(data, task)]
    if few := _too_few_groups(data):
        split["kind"] = "random"
        groups = "are only 2 groups" if few > 1 else "is only 1 group"
        hints.append(
            f"there {groups}, which cannot be divided: rows are divided by chance, and the test says nothing of others"
        )
    driver = Training(data=dict(idea.source), task=task, split=split)
    _, parts, goal = driver.bound()
    space = _space(data, task)
    limit = most_multiply_adds(space, driver.fills, len(parts.train), seconds)
    return Draft(
        source=idea.source,
        task=task,
        space=space,
        objective=_OBJECTIVES[task],
        found=[
            *_described(data),
            *_targets(data, task),
            *said(idea.source),
            *_groups(data),
            *constant(data, parts, goal),
            *notable(data),
        ],
        hints=hints,
        comments=idea.comments,
        split=split,
        limit=limit,
        pace="" if limit is None else reason(len(parts.train), seconds),
    )


def _too_few_groups(data: Data) -> int:
    """How many groups there are if not every part would get one; 0 if it would, or the data fix the parts."""
    if data.parts is not None or data.groups is None:
        return 0
    count = len(np.unique(data.groups))
    return count if count < len(PARTS) else 0


_OBJECTIVES = {
    "regression": ("validation_mae", "minimise"),
    "classification": ("validation_error", "minimise"),
    "segmentation": ("validation_mean_iou", "maximise"),
}


def _task(data: Data) -> str:
    """Classes where there are names of them, or few whole numbers; masks where there is one for each place."""
    if data.y.ndim > 1 and not isinstance(data.x, Graphs) and data.y.shape[1:] == data.x.shape[2:]:
        return "segmentation"
    if data.y.ndim > 1 or data.y.dtype.kind == "f":
        return "regression"
    few = len(np.unique(data.y)) <= max(min(20, len(data) // 10), 2)
    return "classification" if data.names or few else "regression"


def _space(data: Data, task: str) -> str:
    if isinstance(data.x, Graphs):
        return "graph_network"
    if data.x.ndim == 2:
        return "dense_network"
    return "segmentation_network" if task == "segmentation" else "conv_network"


def _described(data: Data) -> list[str]:
    n = len(data)
    if isinstance(data.x, Graphs):
        nodes, edges = len(data.x.nodes) / n, data.x.edges.shape[1] / n
        return [f"{n} graphs of {nodes:.1f} nodes and {edges:.0f} edges on average"]
    return [f"{n} rows of {' × '.join(map(str, data.x.shape[1:]))} ({data.x.dtype})"]


def _targets(data: Data, task: str) -> list[str]:
    if task != "regression":
        codes, names = numbered_classes(np.asarray(data.y), data.names, data.path)
        counts = np.bincount(codes.ravel(), minlength=len(names))
        shown = ", ".join(
            f"{name} {count}" if task == "classification" else f"{name} {count / counts.sum():.1%}"
            for name, count in list(zip(names, counts, strict=True))[:12]
        )
        return [f"{len(names)} classes: {shown}{', …' if len(names) > 12 else ''}"]
    y = np.asarray(data.y, dtype=np.float64).reshape(len(data), -1)
    names = (
        data.names or tuple(f"target {i}" for i in range(y.shape[1])) if y.shape[1] > 1 else (data.names or ("target",))
    )
    found = []
    for name, column in list(zip(names, y.T, strict=False))[:SHOWN]:
        low, middle, high = np.quantile(column, [0.05, 0.5, 0.95])
        found.append(
            f"{name}: from {column.min():.4g} to {column.max():.4g}, median {middle:.4g}, "
            f"90 % of them from {low:.4g} to {high:.4g}"
        )
    return found


def _groups(data: Data) -> list[str]:
    if data.groups is None:
        return []
    count = len(np.unique(data.groups))
    if not len(PARTS) <= count < len(data):
        return []
    return [f"{count} groups, whose rows are never on both sides of a split"]


def _hints(data: Data, task: str) -> list[str]:
    hints = []
    if task == "regression" and data.y.ndim == 1:
        y = np.asarray(data.y, dtype=np.float64)
        low, high = np.quantile(y, [0.05, 0.95])
        if high > low and max(low - y.min(), y.max() - high) > 5 * (high - low):
            hints.append("some targets lie far from the others: look at them, they may be slips")
    if task == "classification":
        counts = np.unique(data.y, return_counts=True)[1]
        if counts.min() < 5:
            hints.append(f"a class has {counts.min()} rows only; more of it, or none, would be better")
        if counts.max() > 10 * counts.min():
            hints.append("classes differ much in size: look at the error of each in the report")
    if data.groups is None and data.parts is None:
        hints.append("every row counts as independent of the others; say `group:` if several are of one specimen")
    if len(data) < 100:
        hints.append(f"{len(data)} rows are few for a network; compare it with a random forest")
    return hints
