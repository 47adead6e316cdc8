"""Seven experiments as pools, by the protocol of PV-Lab: five closed loops in materials, two tables of reactions.

Rows with equal inputs are one candidate, whose outcome is the mean of their unique outcomes. The best 5 % of the pool,
rounded up, are what a campaign is to find.

References:
    Q. Liang et al., "Benchmarking the performance of Bayesian optimization across multiple experimental materials
    science domains", npj Comput. Mater. 7 (2021) 188; data: github.com/PV-Lab/Benchmarking.
    B. J. Shields et al., "Bayesian reaction optimization as a tool for chemical synthesis", Nature 590 (2021) 89:
    direct arylation, 12 ligands, 4 bases, 4 solvents, 3 concentrations, 3 temperatures; github.com/b-shields/edbo.
    D. T. Ahneman et al., "Predicting reaction performance in C-N cross-coupling using machine learning", Science 360
    (2018) 186: Buchwald-Hartwig, four categories; github.com/aspuru-guzik-group/olympus.
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
    "DirectArylation": ("direct_arylation.csv", Objective("yield", "maximise", "%")),
    "BuchwaldHartwig": ("buchwald_hartwig_a.csv", Objective("yield", "maximise", "%")),
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
    *columns, last = (_cells(column) for column in zip(*rows, strict=True))
    measured: dict[tuple[float | str, ...], set[float]] = {}
    for *inputs, outcome in zip(*columns, last, strict=True):
        measured.setdefault(tuple(inputs), set()).add(float(outcome))
    space = Pool(points=[dict(zip(header[:-1], inputs, strict=True)) for inputs in measured])
    outcomes = np.array([np.mean(sorted(values)) for values in measured.values()])
    order = np.argsort([objective.loss(v) for v in outcomes], kind="stable")
    return Table(space, objective, outcomes, frozenset(order[: math.ceil(TOP * len(outcomes))].tolist()))


def _cells(column: tuple[str, ...]) -> list[float] | list[str]:
    """Numbers, if all cells are; else names."""
    try:
        return [float(cell) for cell in column]
    except ValueError:
        return list(column)
