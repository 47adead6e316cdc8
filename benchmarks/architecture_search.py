"""Evolution with and without its predictor, beside other searches, on two tables of architectures and 16 workers.

The tables, what of them is measured and what is the truth, and the durations, which are made up, are described in
`nas/tables.py`. Campaigns are asynchronous on 16 simulated workers: a point asked for at time t is told at t plus its
duration, and a strategy is asked for one point whenever a worker becomes free.

The figure is the regret: the best true value in the table less the true value of the point with the best measurement
among those whose evaluation has ended (mean of points with equal measurements), in percentage points of accuracy;
mean and standard error over seeds. A search that knew all measurements would still have the regret printed as "all
evaluated". Campaigns with the same seed have the same measurements and durations whatever the method, so that
differences are tested in pairs: `paired_p` is the two-sided Wilcoxon signed-rank p of each method against
`evolution_svm`.

All evolutions have a population of 20 and otherwise their defaults; aging is regularised evolution (sample 5, mutation
only). `tpe` takes each parameter for itself, the default up to Optuna 4, `tpe_multivariate` all together, the default
since Optuna 5; both are asked again when they suggest a point that was told already, and so is `nsga2` (population 20).
DeepHyper's CBO and Propulate run in an environment of their own (`make peers`) and are told a known value again at no
cost where they repeat themselves. DeepHyper's default costs seconds a proposal, so it gets fewer seeds; the variant
with `acq_optimizer: sampling` is quicker.

The predictor of `evolution_svm` was chosen among 14 variants (kind of machine, criterion, depth of breeding) on the
CIFAR-10 and ImageNet16-120 columns of NAS-Bench-201 and on three synthetic landscapes, with seeds from 10,000 on.
Neither Macro nor the CIFAR-100 column was used; but the same cells are good in all columns, so only Macro is a new
problem to it. Population, crossover and mutation are an earlier choice among about 40 variants on the reported tables.

Reference: E. Real, A. Aggarwal, Y. Huang, Q. V. Le, "Regularized evolution", AAAI 33 (2019) 4780.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from nas.comparison import Comparison
from nas.peer import Peer
from nas.simulation import Campaign
from nas.tables import TABLES, Array, load
from rich.console import Console

from matloop.orchestrator.protocols import Strategy
from matloop.orchestrator.strategies.evolution.evolution import Evolution
from matloop.orchestrator.strategies.optuna import OptunaSampler
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.trial import Objective
from matloop.search_spaces.box import Box
from matloop.surrogates.fitness_svm import FitnessSVM

CHECKPOINTS = (50, 100, 150)
WORKERS = 16
OBJECTIVES = (Objective("accuracy", "maximise", "%"),)
SUBJECT = "evolution_svm"
PEERS_PYTHON = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"
VERSION = 1
"""Of the simulation; results of another version are not reused."""


def _evolution(box: Box, seed: int, **options: Any) -> Strategy:
    return Evolution(space=box, objectives=OBJECTIVES, population=20, **options)


def _optuna(box: Box, seed: int, **options: Any) -> Strategy:
    return OptunaSampler(space=box, objectives=OBJECTIVES, **options)


def _random(box: Box, seed: int) -> Strategy:
    return Random(space=box)


def _peer(box: Box, seed: int, method: str, **options: Any) -> Strategy:
    return Peer(python=PEERS_PYTHON, method=method, options=options, box=box, seed=seed, workers=WORKERS)


@dataclass(frozen=True)
class Method:
    """How a strategy is made, and how many seeds it can be given.

    Attributes:
        make: takes the space, the seed and the options.
        options: what differs from the defaults.
        share: part of the seeds that it gets, in (0, 1].
        peer: whether it needs the peers' environment.
        quick: whether `--quick` has time for it.
    """

    make: Callable[..., Strategy]
    options: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0
    peer: bool = False
    quick: bool = True


METHODS: dict[str, Method] = {
    "evolution_svm": Method(_evolution, {"predictor": FitnessSVM()}),
    "evolution": Method(_evolution),
    "aging": Method(_evolution, {"replacement": "aging", "tournament": 5, "crossover": 0.0}),
    "tpe": Method(_optuna, {"options": {"multivariate": False}}, quick=False),
    "tpe_multivariate": Method(_optuna, {"options": {"multivariate": True}}),
    "nsga2": Method(_optuna, {"sampler": "NSGAIISampler", "options": {"population_size": 20}}),
    "random": Method(_random),
    "propulate": Method(_peer, {"method": "propulate"}, peer=True),
    "deephyper_cbo": Method(_peer, {"method": "deephyper_cbo"}, share=0.05, peer=True, quick=False),
    "deephyper_cbo_sampling": Method(
        _peer, {"method": "deephyper_cbo", "acq_optimizer": "sampling"}, share=0.2, peer=True, quick=False
    ),
}


@dataclass(frozen=True)
class Task:
    """One campaign."""

    table: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        """Under which its result is kept: everything that decides it, but for the code."""
        return json.dumps([VERSION, self.table, self.method, repr(METHODS[self.method].options), self.seed])

    def run(self, folder: Path) -> list[float]:
        """Regret at each checkpoint, percentage points."""
        table, method = load(self.table, folder), METHODS[self.method]
        strategy = method.make(table.box, self.seed, **method.options)
        return Campaign(strategy, table, self.seed, WORKERS).regrets(CHECKPOINTS)


class Results:
    """Regrets by task, kept in a file with one JSON object a line so that a long run can be stopped and resumed.

    Args:
        path: of the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, list[float]] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self._known[entry["task"]] = entry["regrets"]

    def __contains__(self, task: Task) -> bool:
        return task.name in self._known

    def __getitem__(self, task: Task) -> list[float]:
        return self._known[task.name]

    def add(self, task: Task, regrets: list[float]) -> None:
        """Remember a result."""
        self._known[task.name] = regrets
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps({"task": task.name, "regrets": regrets}) + "\n")


def run(tasks: Iterable[Task], results: Results, folder: Path, jobs: int) -> None:
    """Do the tasks that have no result yet."""
    missing = [task for task in tasks if task not in results]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(task.run, folder): task for task in missing}
        for future in as_completed(futures):
            results.add(futures[future], future.result())


def compare(results: Results, tables: Sequence[str], seeds: dict[str, range], folder: Path) -> Comparison:
    """Gather the results of all methods in `seeds`."""
    return Comparison(
        checkpoints=CHECKPOINTS,
        subject=SUBJECT,
        regrets={
            (table, method): np.array([results[Task(table, method, seed)] for seed in seeds[method]])
            for table, method in product(tables, seeds)
        },
        floors={name: _floor(name, max(seeds.values(), key=len), folder) for name in tables},
    )


def _floor(name: str, seeds: range, folder: Path) -> Array:
    table = load(name, folder)
    return np.array([table.regret(np.arange(len(table.truth)), table.measured(seed)) for seed in seeds])


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("MATLOOP_DATA"), help="folder with the data sets")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=["macro", "nb201"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--results", type=Path, help="file to keep results in, and to take up again")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument(
        "--quick", action="store_true", help="2 seeds without the slowest searches, under a minute on two cores"
    )
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("say where the data sets are: --data PATH, or the environment variable MATLOOP_DATA")
    folder = Path(arguments.data) / "architecture_search"
    if not folder.is_dir():
        parser.error(f"expected the folder {folder} with NAS-Bench-Macro and NAS-Bench-201; correct --data")
    count = 2 if arguments.quick else arguments.seeds
    if count < 2:
        parser.error("expected at least 2 seeds, for a standard error")
    console, methods = Console(width=220), dict.fromkeys(arguments.methods)
    if not PEERS_PYTHON.exists():
        console.print(f"no {PEERS_PYTHON}: DeepHyper and Propulate are left out; `make peers` installs them")
        methods = [m for m in methods if not METHODS[m].peer]
    if arguments.quick:
        methods = [m for m in methods if METHODS[m].quick]
    first = arguments.first_seed
    seeds = {m: range(first, first + max(2, round(METHODS[m].share * count))) for m in methods}
    slowest_first = sorted(methods, key=lambda m: METHODS[m].share)
    tasks = [Task(table, m, s) for m in slowest_first for table in arguments.tables for s in seeds[m]]
    results, began = Results(arguments.results), time.perf_counter()
    run(tasks, results, folder, arguments.jobs)
    comparison = compare(results, arguments.tables, seeds, folder)
    console.print(comparison.report())
    console.print(f"{time.perf_counter() - began:.0f} s")
    print(json.dumps({**comparison.figures(), "paired_p": comparison.p_values(), "seeds": comparison.seeds()}))


if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    main()
