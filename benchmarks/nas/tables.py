"""Published tables that say how every architecture of a small space does, so that a search costs only its own time.

On NAS-Bench-Macro (8 layers of 3 kinds; 6,561 networks on CIFAR-10, three runs each) one of the three runs, drawn at
random, is what is measured, and their mean the truth. On NAS-Bench-201 (6 edges of 5 operations; 15,625 cells, 12
epochs) the validation accuracy is measured and the test accuracy the truth, on CIFAR-100, CIFAR-10 or ImageNet16-120.

The tables hold no durations, so these are plausible ones. On Macro they grow with the operations of the network (FLOPs)
times log-normal noise (sigma 0.1); on NAS-Bench-201 with a cost for each operation of the cell, above a fixed part, and
heavy-tailed noise (1 + 0.3 times a Lomax variate of shape 2: one evaluation in a hundred takes more than 3.7 times its
share). The mean over a table without noise is 1.

References:
    X. Su et al., "Prioritized architecture sampling with Monte-Carlo tree search", CVPR (2021), for NAS-Bench-Macro.
    X. Dong, Y. Yang, "NAS-Bench-201", ICLR (2020).
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Point
from matloop.search_spaces.box import Box

Array = npt.NDArray[np.float64]

OPERATIONS = {"none": 0.0, "skip_connect": 0.1, "nor_conv_1x1": 1.0, "nor_conv_3x3": 2.5, "avg_pool_3x3": 0.4}
"""Operations of a NAS-Bench-201 cell and what each adds to its duration: our guess, in units of a 1x1 convolution."""

FIXED = 3.0
"""Duration of what all networks of NAS-Bench-201 have in common, in the same units."""

COLUMNS = {"nb201": "c100", "nb201_cifar10": "c10", "nb201_imagenet16": "in16"}
TABLES = ("macro", *COLUMNS)


@dataclass(frozen=True)
class Lookup:
    """A table of architectures.

    Attributes:
        box: the space.
        rows: place of each point, by its values in order.
        fitness: (n, r) float64, % accuracy, r runs that may be drawn as the measurement.
        truth: (n,) float64, % accuracy.
        cost: (n,) float64, duration without noise, 1 on average.
        tail: whether the noise of durations is heavy-tailed rather than log-normal.
    """

    box: Box
    rows: dict[tuple[str, ...], int]
    fitness: Array
    truth: Array
    cost: Array
    tail: bool

    def measured(self, seed: int) -> Array:
        """(n,) float64: what each point measures in the campaign of this seed, % accuracy."""
        n, runs = self.fitness.shape
        drawn: Array = self.fitness[np.arange(n), derive("run", seed).integers(runs, size=n)]
        return drawn

    def durations(self, seed: int) -> Array:
        """(n,) float64: how long each point takes in the campaign of this seed."""
        rng, n = derive("duration", seed), len(self.cost)
        noise = 1.0 + 0.3 * rng.pareto(2.0, n) if self.tail else np.exp(0.1 * rng.standard_normal(n))
        return self.cost * noise

    def row(self, point: Point) -> int:
        """Place of a point."""
        return self.rows[tuple(point.values())]

    def regret(self, rows: npt.NDArray[np.int64], measured: Array) -> float:
        """Best true value less that of the row with the best measurement, mean of equals; percentage points."""
        chosen = rows[measured[rows] == measured[rows].max()]
        return float(self.truth.max() - self.truth[chosen].mean())


@cache
def load(name: str, folder: Path) -> Lookup:
    """Read one of `TABLES`."""
    return macro(folder) if name == "macro" else nb201(folder, COLUMNS[name])


def macro(folder: Path) -> Lookup:
    """NAS-Bench-Macro on CIFAR-10."""
    table = json.loads((folder / "nas-bench-macro_cifar10.json").read_text())
    cost = np.array([entry["flops"] for entry in table.values()], dtype=np.float64)
    return Lookup(
        box=_box("layer", 8, ("0", "1", "2")),
        rows={tuple(code): i for i, code in enumerate(table)},
        fitness=np.array([entry["test_acc"] for entry in table.values()]),
        truth=np.array([entry["mean_acc"] for entry in table.values()]),
        cost=cost / cost.mean(),
        tail=False,
    )


def nb201(folder: Path, column: str) -> Lookup:
    """NAS-Bench-201 after 12 epochs.

    Args:
        folder: with `nb201_12epochs.csv`.
        column: data set, "c10", "c100" or "in16".
    """
    with (folder / "nb201_12epochs.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    cells = [tuple(re.findall(r"(\w+)~\d", row["cellstr"])) for row in table]
    cost = np.array([FIXED + sum(OPERATIONS[operation] for operation in cell) for cell in cells])
    return Lookup(
        box=_box("edge", 6, tuple(OPERATIONS)),
        rows={cell: i for i, cell in enumerate(cells)},
        fitness=np.array([[float(row[f"{column}_val12"])] for row in table]),
        truth=np.array([float(row[f"{column}_test12"]) for row in table]),
        cost=cost / cost.mean(),
        tail=True,
    )


def _box(word: str, length: int, choices: tuple[str, ...]) -> Box:
    return Box(parameters={f"{word}{i}": {"type": "categorical", "choices": list(choices)} for i in range(length)})
