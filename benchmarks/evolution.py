"""Evolution with and without its predictor, beside aging evolution, Optuna's TPE and random search, by table look-up.

Two published tables say how every architecture of a small space does, so that a search costs nothing but its own
time: NAS-Bench-Macro (8 layers of 3 kinds; 6,561 networks, three runs each) and NAS-Bench-201 (6 edges of 5
operations; 15,625 cells). On Macro one of the three runs, drawn at random, is the fitness and their mean the truth; on
NAS-Bench-201 the fitness is the validation accuracy on CIFAR-100 after 12 epochs and the truth the test accuracy.

The figure is the regret: the best true value in the table less the true value of the point with the best fitness seen
so far (mean of points with equal fitness), in percentage points of accuracy; mean and standard error over seeds. A
search that knew all fitnesses would still have the regret printed as "all evaluated", since fitness is not truth. All
evolutions have a population of 20 and otherwise their defaults; aging is regularised evolution (sample 5, mutation
only). TPE is asked again when it suggests a point that it was told already, which only helps it; `tpe` takes each
parameter for itself, the default up to Optuna 4, and `tpe_multivariate` all together, the default since Optuna 5.

The predictor's defaults were chosen on these two tables together, in campaigns mostly with other seeds.

References:
    X. Su et al., "Prioritized architecture sampling with Monte-Carlo tree search", CVPR (2021), for NAS-Bench-Macro.
    X. Dong, Y. Yang, "NAS-Bench-201", ICLR (2020).
    E. Real, A. Aggarwal, Y. Huang, Q. V. Le, "Regularized evolution", AAAI 33 (2019) 4780.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from orchestrator.protocols import Strategy
from orchestrator.randomness import derive
from orchestrator.strategies.evolution import Evolution
from orchestrator.strategies.optuna import OptunaSampler
from orchestrator.strategies.random import Random
from orchestrator.trial import Objective, Point, Trial
from search_spaces.box import Box
from surrogates.fitness_svm import FitnessSVM

Array = npt.NDArray[np.float64]
CHECKPOINTS = (50, 100, 150)
OBJECTIVES = (Objective("accuracy", "maximise", "%"),)
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

METHODS: dict[str, Callable[[Box], Strategy]] = {
    "evolution_svm": lambda box: Evolution(space=box, objectives=OBJECTIVES, population=20, predictor=FitnessSVM()),
    "evolution": lambda box: Evolution(space=box, objectives=OBJECTIVES, population=20),
    "aging": lambda box: Evolution(
        space=box, objectives=OBJECTIVES, population=20, replacement="aging", tournament=5, crossover=0.0
    ),
    "tpe": lambda box: OptunaSampler(space=box, objectives=OBJECTIVES, options={"multivariate": False}),
    "tpe_multivariate": lambda box: OptunaSampler(space=box, objectives=OBJECTIVES, options={"multivariate": True}),
    "random": lambda box: Random(space=box),
}


@dataclass(frozen=True)
class Lookup:
    """A table of architectures.

    Attributes:
        box: the space.
        rows: place of each point, by its values in order.
        fitness: (n, r) float64, % accuracy, r runs that may be drawn as the measurement.
        truth: (n,) float64, % accuracy.
    """

    box: Box
    rows: dict[tuple[str, ...], int]
    fitness: Array
    truth: Array

    def measured(self, seed: int) -> Array:
        """(n,) float64: what each point measures in the campaign of this seed."""
        n, runs = self.fitness.shape
        drawn: Array = self.fitness[np.arange(n), derive("run", seed).integers(runs, size=n)]
        return drawn

    def row(self, point: Point) -> int:
        """Place of a point."""
        return self.rows[tuple(point.values())]

    def regret(self, rows: npt.NDArray[np.int64], measured: Array) -> float:
        """Best true value less that of the row with the best measurement, mean of equals; percentage points."""
        chosen = rows[measured[rows] == measured[rows].max()]
        return float(self.truth.max() - self.truth[chosen].mean())


@cache
def load(name: str, folder: Path) -> Lookup:
    """Read a table, "macro" or "nb201"."""
    return macro(folder) if name == "macro" else nb201(folder)


def macro(folder: Path) -> Lookup:
    """NAS-Bench-Macro on CIFAR-10."""
    table = json.loads((folder / "nas-bench-macro_cifar10.json").read_text())
    return Lookup(
        box=_box("layer", 8, ("0", "1", "2")),
        rows={tuple(code): i for i, code in enumerate(table)},
        fitness=np.array([entry["test_acc"] for entry in table.values()]),
        truth=np.array([entry["mean_acc"] for entry in table.values()]),
    )


def nb201(folder: Path) -> Lookup:
    """NAS-Bench-201 on CIFAR-100, 12 epochs."""
    with (folder / "nb201_12epochs.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    return Lookup(
        box=_box("edge", 6, OPERATIONS),
        rows={tuple(re.findall(r"(\w+)~\d", row["cellstr"])): i for i, row in enumerate(table)},
        fitness=np.array([[float(row["c100_val12"])] for row in table]),
        truth=np.array([float(row["c100_test12"]) for row in table]),
    )


def _box(word: str, length: int, choices: tuple[str, ...]) -> Box:
    return Box(parameters={f"{word}{i}": {"type": "categorical", "choices": list(choices)} for i in range(length)})


def search(task: tuple[str, str, int], folder: Path) -> list[float]:
    """One campaign: regret at each checkpoint, percentage points."""
    name, method, seed = task
    table = load(name, folder)
    strategy, measured = METHODS[method](table.box), table.measured(seed)
    seen: list[int] = []
    for number in range(max(CHECKPOINTS)):
        (proposal,) = strategy.ask(1, (), derive(seed, number))
        row = table.row(proposal.point)
        seen.append(row)
        strategy.tell(
            Trial(
                id=number,
                study=name,
                number=number,
                point=proposal.point,
                seed=number,
                ask=number,
                state="answered",
                reason=proposal.reason,
                parents=proposal.parents,
                extra=proposal.extra,
                values={"accuracy": float(measured[row])},
            )
        )
    return [table.regret(np.unique(seen[:n]), measured) for n in CHECKPOINTS]


def summarise(regrets: Array) -> list[float]:
    """Mean and standard error of (seeds,) regrets."""
    return [round(float(regrets.mean()), 4), round(float(regrets.std(ddof=1) / len(regrets) ** 0.5), 4)]


def report(figures: dict[str, dict[str, Any]], floors: dict[str, list[float]], seeds: int) -> Table:
    """Table for people."""
    table = Table(
        title=f"Regret of the best found, percentage points of accuracy: mean ± standard error, {seeds} seeds"
    )
    table.add_column("")
    for name, n in product(figures, CHECKPOINTS):
        table.add_column(f"{name}\n{n} evaluations", justify="right")
    for method in METHODS:
        cells = [figures[name][str(n)][method] for name, n in product(figures, CHECKPOINTS)]
        table.add_row(method, *(f"{mean:.3f} ± {error:.3f}" for mean, error in cells))
    table.add_section()
    table.add_row(
        "all evaluated", *(f"{floors[name][0]:.3f} ± {floors[name][1]:.3f}" for name in figures for _ in CHECKPOINTS)
    )
    return table


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("MATLOOP_DATA"), help="folder with the data sets")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--quick", action="store_true", help="2 seeds, under a minute on two free cores")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("say where the data sets are: --data PATH, or the environment variable MATLOOP_DATA")
    folder = arguments.data / "architecture_search"
    if not folder.is_dir():
        parser.error(f"expected the folder {folder} with NAS-Bench-Macro and NAS-Bench-201; correct --data")
    seeds = 2 if arguments.quick else arguments.seeds
    if seeds < 2:
        parser.error("expected at least 2 seeds, for a standard error")

    names = ("macro", "nb201")
    slowest_first = sorted(METHODS, key=lambda method: not method.startswith("tpe"))
    tasks = [(name, method, seed) for method, name, seed in product(slowest_first, names, range(seeds))]
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        results = dict(zip(tasks, pool.map(partial(search, folder=folder), tasks, chunksize=1), strict=True))
    figures: dict[str, dict[str, Any]] = {
        name: {
            str(n): {m: summarise(np.array([results[name, m, s][i] for s in range(seeds)])) for m in METHODS}
            for i, n in enumerate(CHECKPOINTS)
        }
        for name in names
    }
    tables = {name: load(name, folder) for name in names}
    floors = {
        name: summarise(np.array([table.regret(np.arange(len(table.truth)), table.measured(s)) for s in range(seeds)]))
        for name, table in tables.items()
    }
    Console(width=160).print(report(figures, floors, seeds))
    print(json.dumps(figures))


if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    main()
