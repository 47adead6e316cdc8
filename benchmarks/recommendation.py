"""How many experiments a recommendation saves, on five closed-loop campaigns in materials science and two reactions.

PV-Lab's protocol (`experiments/pools.py`): from two random candidates of a pool, the same for all methods,
experiments are recommended one at a time until all of the best 5 % are found or the budget is spent (`--budget`; 200
of the 600 and 1,728 candidates of CrossedBarrel and DirectArylation, 100 of the others'). Scores are of the mean over
seeds (`experiments/scores.py`): the acceleration factor over random choice at 50 % and 80 % of the top, and the
largest enhancement factor. Random choice is exact there; the method `random` is what a few seeds make of it.
`coverage90` is the share of outcomes within the 90 % intervals that were stated before measurement. Seconds are of
one processor, explanations left out.

`matloop` is `strategy: {kind: bayesian}` as it comes; `mc_dropout`, `ensemble` and `gp` are the same with that
surrogate, networks being trained afresh after every fifth answer only. `gp_lcb` is the floor, scikit-learn's Gaussian
process with a bound at two standard deviations. BayBE and Ax run at their defaults in an environment of their own
(`make peers`; `peers/recommendation.py`).

What was tuned on what. Priors of numbers' length scales and of the noise: on four of the pools of materials (not
CrossedBarrel), so scores there are optimistic. Priors of categories and of the weights, and that hyperparameters are
averaged: by held-out score on seven tables that are not reported here (NAS-Bench-201, NAS-Bench-Macro, five made up)
and four made-up tables of numbers. The acquisition function: eleven variants on 17 pools, ten of them not reported, the
seven from other starts (seeds from 10,000), one or two starts each. That choices which nobody tried get every third
proposal: with it, from the same runs. How much the record of earlier predictions counts for later intervals
(`orchestrator/strategies/advice/record.py`): eight campaigns from other starts; it changes no recommendation.

`--part failures` is a different question, what failed experiments teach: see `experiments/failures.py`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from experiments import failures
from experiments.methods import METHODS
from experiments.peer import PYTHON
from experiments.pools import TABLES, load
from experiments.replay import Run, replay
from experiments.scores import LOOKS, Score, score
from rich.console import Console
from rich.table import Table as RichTable

BUDGETS = {"CrossedBarrel": 200, "DirectArylation": 200, "BuchwaldHartwig": 100}
BUDGET = 100
VERSION = 1
"""Of the simulation; results of another version are not reused."""


@dataclass(frozen=True)
class Task:
    """One campaign."""

    dataset: str
    method: str
    seed: int
    budget: int

    @property
    def name(self) -> str:
        """Under which its result is kept: everything that decides it, but for the code."""
        return json.dumps([VERSION, self.dataset, self.method, METHODS[self.method].options, self.seed, self.budget])

    def run(self, folder: Path) -> dict[str, Any]:
        """The campaign, JSON-able."""
        import torch

        torch.set_num_threads(1)
        table, method = load(self.dataset, folder), METHODS[self.method]
        return replay(method.make(table, self.seed, **method.options), table, self.seed, self.budget).as_json()


class Results:
    """Outcomes by task, kept in a file with one JSON object a line so that a long run can be stopped and resumed.

    Args:
        path: of the file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                entry = json.loads(line)
                self._known[entry["task"]] = entry["result"]

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self._known[name]

    def add(self, name: str, result: dict[str, Any]) -> None:
        """Remember an outcome."""
        self._known[name] = result
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps({"task": name, "result": result}) + "\n")


def run(tasks: Sequence[Any], results: Results, arguments: argparse.Namespace) -> None:
    """Do the tasks that have no result yet; processes are not shared between methods, so that memory is each one's."""
    deadline = time.monotonic() + 60 * arguments.minutes
    missing = [task for task in tasks if task.name not in results]
    for method in dict.fromkeys(task.method for task in missing):
        waiting = [task for task in missing if task.method == method]
        with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
            running: dict[Future[dict[str, Any]], Any] = {}
            while running or (waiting and time.monotonic() < deadline):
                while waiting and len(running) < arguments.jobs and time.monotonic() < deadline:
                    task = waiting.pop(0)
                    running[pool.submit(task.run, arguments.data)] = task
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    results.add(running.pop(future).name, future.result())


def pools(arguments: argparse.Namespace, results: Results, console: Console) -> dict[str, Any]:
    """The comparison on the five pools: run what is missing, print, return the figures."""
    tasks = [
        Task(dataset, method, seed, arguments.budget or BUDGETS.get(dataset, BUDGET))
        for method in arguments.methods
        for seed in range(max(1, round(METHODS[method].share * arguments.seeds)))
        for dataset in arguments.datasets
    ]
    run(tasks, results, arguments)
    figures: dict[str, dict[str, Score]] = {}
    for dataset in arguments.datasets:
        for method in arguments.methods:
            mine = [t for t in tasks if (t.dataset, t.method) == (dataset, method) and t.name in results]
            runs = [Run(**results[task.name]) for task in mine]
            if runs:
                figures.setdefault(dataset, {})[method] = score(runs, load(dataset, arguments.data))
    for dataset, by_method in figures.items():
        console.print(_table(dataset, by_method))
    kept = [field.name for field in fields(Score)]
    return {
        dataset: {method: {name: asdict(found)[name] for name in kept} for method, found in by_method.items()}
        for dataset, by_method in figures.items()
    }


def _table(dataset: str, by_method: dict[str, Score]) -> RichTable:
    table = RichTable(title=dataset)
    looks = [f"short after {i}" for i in LOOKS]
    for heading in ("method", "AF at 50 %", "AF at 80 %", "EF max", *looks, "s per ask", "MB", "90 % holds", "seeds"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for method, found in by_method.items():
        table.add_row(
            method,
            _with_error(found.af50, found.error50),
            _with_error(found.af80, found.error80),
            _with_error(found.ef_max, None),
            *(_with_error(found.shortfall[str(i)], found.shortfall_error[str(i)]) for i in LOOKS),
            f"{found.seconds_per_ask:.3f}",
            f"{found.memory_mb:.0f}",
            "–" if found.coverage90 is None else f"{100 * found.coverage90:.1f} %",
            str(found.seeds),
        )
    return table


def _with_error(value: float | None, error: float | None) -> str:
    return "–" if value is None else f"{value:.2f}" + ("" if error is None else f" ± {error:.2f}")


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("MATLOOP_DATA") or None, help="folder with the data sets"
    )
    parser.add_argument("--part", choices=["pools", "failures"], default="pools")
    parser.add_argument("--datasets", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="default: all, peers only where installed")
    parser.add_argument(
        "--seeds", type=int, default=50, help="of methods with quick models; others get a share of them"
    )
    parser.add_argument("--budget", type=int, help="most candidates measured in a campaign, starts included")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--results", type=Path, help="file of results to go on from, and to add to")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin no campaign later; 0 prints what is known"
    )
    parser.add_argument("--quick", action="store_true", help="one seed, small budget, no networks: under a minute")
    arguments = parser.parse_args()
    console, results = Console(), Results(arguments.results)
    os.environ["OMP_NUM_THREADS"] = "1"
    if not PYTHON.exists():
        console.print("peers are left out: run `make peers` first")
    known = [name for name, method in METHODS.items() if PYTHON.exists() or not method.peer]
    arguments.methods = arguments.methods or [name for name in known if METHODS[name].quick or not arguments.quick]
    if arguments.quick:
        arguments.seeds, arguments.budget = 1, 12
    if arguments.part == "failures":
        figures = failures.compare(arguments, results, run, console)
    else:
        if arguments.data is None:
            parser.error("expected --data FOLDER (or MATLOOP_DATA), which holds experiments/pvlab_*.csv")
        figures = pools(arguments, results, console)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
