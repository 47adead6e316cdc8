"""Figures of test rows, with the range that other test rows would have given: by drawing rows or groups again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from matloop.drivers.training.tasks.task import Task
from matloop.orchestrator.randomness import derive

DRAWS = 200

_VALUES = 2**27
"""Most output values that all draws together look at; there are fewer draws where each is large."""


def scores(
    goal: Task, outputs: torch.Tensor, rows: npt.NDArray[np.int64], groups: npt.NDArray[np.int64] | None
) -> dict[str, dict[str, float]]:
    """Each figure of the task with the bounds of the central 90 % of its bootstrap draws.

    Args:
        goal: that the figures are of.
        outputs: of the network for these rows.
        rows: of the data.
        groups: of these rows; whole groups are drawn. None where each row is by itself.
    """
    judge = goal.judge(outputs, rows)
    found: dict[str, dict[str, float]] = {name: {"value": value} for name, value in judge(slice(None)).items()}
    own = np.arange(len(rows)) if groups is None else np.unique(groups, return_inverse=True)[1]
    members = np.split(np.argsort(own, kind="stable"), np.cumsum(np.bincount(own))[:-1])
    draws, rng = max(50, min(DRAWS, _VALUES // max(outputs.numel(), 1))), derive("bootstrap")
    drawn: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(draws):
        chosen = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        for name, value in judge(chosen).items():
            drawn[name].append(value)
    for name, values in drawn.items():
        found[name]["lower"], found[name]["upper"] = (float(v) for v in np.nanquantile(values, [0.05, 0.95]))
    return found
