"""Five closed-loop materials experiments as pools, by the protocol of PV-Lab.

Rows with equal inputs are one candidate, whose outcome is the mean of their unique outcomes. The best 5 % of the pool,
rounded up, are what a campaign is to find.

Reference: Q. Liang et al., "Benchmarking the performance of Bayesian optimization across multiple experimental
materials science domains", npj Comput. Mater. 7 (2021) 188; data: github.com/PV-Lab/Benchmarking.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.trial import Objective
from matloop.search_spaces.pool import Pool

TOP = 0.05
"""Share of a pool that counts as its top."""

TABLES = {
    "P3HT": ("pvlab_P3HT_dataset.csv", Objective("conductivity", "maximise", "S/cm")),
    "AgNP": ("pvlab_AgNP_dataset.csv", Objective("loss", "minimise")),
    "AutoAM": ("pvlab_AutoAM_dataset.csv", Objective("score", "maximise")),
    "Perovskite": ("pvlab_Perovskite_dataset.csv", Objective("instability", "minimise")),
    "CrossedBarrel": ("pvlab_Crossed_barrel_dataset.csv", Objective("toughness", "maximise", "J")),
}
"""File in the folder `experiments`, and what its last column is."""


@dataclass(frozen=True)
class Table:
    """A pool and what its candidates were measured to be.

    Attributes:
        space: the pool.
        objective: of `outcomes`.
        outcomes: (n,) float64, in the order of `space.points`.
        top: indices of the best 5 %.
    """

    space: Pool
    objective: Objective
    outcomes: npt.NDArray[np.float64]
    top: frozenset[int]


@cache
def load(name: str, folder: Path) -> Table:
    """Read one of `TABLES` from a folder that holds `experiments`."""
    file, objective = TABLES[name]
    with (folder / "experiments" / file).open(encoding="utf-8-sig", newline="") as lines:
        header, *rows = [row for row in csv.reader(lines) if any(row)]
    measured: dict[tuple[float, ...], set[float]] = {}
    for row in rows:
        *inputs, outcome = (float(cell) for cell in row)
        measured.setdefault(tuple(inputs), set()).add(outcome)
    space = Pool(points=[dict(zip(header[:-1], inputs, strict=True)) for inputs in measured])
    outcomes = np.array([np.mean(sorted(values)) for values in measured.values()])
    order = np.argsort([objective.loss(v) for v in outcomes], kind="stable")
    return Table(space, objective, outcomes, frozenset(order[: math.ceil(TOP * len(outcomes))].tolist()))
