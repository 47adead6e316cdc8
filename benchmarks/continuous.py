"""Recommendations where nothing is listed: regret and what an ask costs in continuous, mixed and mixture spaces.

Ten problems (`experiments/functions.py`), 40 measurements each, with noise of 2 % of what lies between the median
random point and the best. From the same five random measurements, experiments are recommended one at a time. Regret is
how far the true value of the best point tried stays below the best there is, in the same unit. Seconds are of one
processor, explanations left out.

`matloop` is `strategy: {kind: bayesian}` as it comes, `matloop_gp` and `matloop_forest` the same with one of the two
parts of its model alone. `ratio` is the geometric mean, over problems, of the default's mean regret divided by the
smaller of its parts', at least `FLOOR` each. BayBE and Ax
run at their defaults in an environment of their own (`make peers`): in the mixture, with its steps and constraint, over
a list of its points, elsewhere over ranges.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from experiments.functions import PROBLEMS, Problem
from experiments.peer import PYTHON, Peer
from recommendation import Results, run
from rich.console import Console
from rich.table import Table

from matloop.orchestrator.protocols import Strategy, Surrogate
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.trial import Objective, Trial

STARTS = 5
MEASUREMENTS = 40
NOISE = 0.02
OBJECTIVE = Objective("value", "maximise")
VERSION = 1
"""Of the simulation; results of another version are not reused."""


class Ours:
    """A strategy, asked and told."""

    def __init__(self, strategy: Strategy, seed: int) -> None:
        self.strategy, self.seed, self.told = strategy, seed, 0

    def tell(self, point: Any, value: float) -> None:
        """Learn an outcome."""
        values = {OBJECTIVE.name: value}
        self.strategy.tell(
            Trial(id=self.told, study="s", number=self.told, point=point, seed=0, state="answered", values=values)
        )
        self.told += 1

    def ask(self) -> tuple[Any, float]:
        """Point, processor seconds."""
        begun = time.process_time()
        (proposal,) = self.strategy.ask(1, (), derive("ask", self.seed, self.told))
        return proposal.point, time.process_time() - begun


class Served:
    """A peer, asked and told; points of a list go by their index."""

    def __init__(self, method: str, problem: Problem, seed: int) -> None:
        self.listed = list(problem.listed)
        points, bounds = (self.listed, None) if self.listed else (None, problem.ranges)
        self.peer = Peer(method, seed, points=points, bounds=bounds, starts=STARTS)

    def tell(self, point: Any, value: float) -> None:
        """Learn an outcome."""
        self.peer.tell(self.listed.index(point) if self.listed else point, value)

    def ask(self) -> tuple[Any, float]:
        """Point, processor seconds."""
        place, _, seconds, _ = self.peer.ask()
        return (self.listed[place] if self.listed else place), seconds


def _ours(problem: Problem, seed: int, surrogate: Surrogate | None = None) -> Ours:
    strategy = Bayesian(
        space=problem.space, objectives=(OBJECTIVE,), surrogate=surrogate, initial=STARTS, explain=False, seed=seed
    )
    return Ours(strategy, seed)


def _process(problem: Problem, seed: int) -> Ours:
    from matloop.surrogates.gaussian_process.gp import GP

    return _ours(problem, seed, GP(space=problem.space))


def _trees(problem: Problem, seed: int) -> Ours:
    from matloop.surrogates.forest import Forest

    return _ours(problem, seed, Forest(space=problem.space))


METHODS: dict[str, Callable[[Problem, int], Ours | Served]] = {
    "matloop": _ours,
    "matloop_gp": _process,
    "matloop_forest": _trees,
    "random": lambda problem, seed: Ours(Random(space=problem.space), seed),
    "baybe": lambda problem, seed: Served("baybe", problem, seed),
    "ax": lambda problem, seed: Served("ax", problem, seed),
}
PEERS = ("baybe", "ax")
PARTS = ("matloop_gp", "matloop_forest")
FLOOR = 0.005
"""A smaller regret is as good: a quarter of the noise."""


@dataclass(frozen=True)
class Task:
    """One campaign."""

    problem: str
    method: str
    seed: int
    measurements: int

    @property
    def name(self) -> str:
        """Under which its result is kept: everything that decides it, but for the code."""
        return json.dumps(["continuous", VERSION, self.problem, self.method, self.seed, self.measurements])

    def run(self, folder: Any) -> dict[str, list[float]]:
        """Regret after each measurement, and processor seconds of each ask."""
        import torch

        torch.set_num_threads(1)
        problem = PROBLEMS[self.problem]
        recommender = METHODS[self.method](problem, self.seed)
        draw, noise = derive("starts", self.seed), derive("noise", self.seed)
        best, regrets, seconds = -math.inf, [], []
        for number in range(self.measurements):
            if number < STARTS:
                point = problem.space.sample(draw)
            else:
                point, spent = recommender.ask()
                seconds.append(spent)
            value = problem.value(point)
            recommender.tell(point, value + NOISE * float(noise.normal()))
            best = max(best, value)
            regrets.append(1 - best)
        return {"regret": regrets, "seconds": seconds}


def compare(arguments: argparse.Namespace, results: Results, console: Console) -> dict[str, Any]:
    """Run what is missing, print, return the figures."""
    tasks = [
        Task(problem, method, seed, arguments.measurements)
        for seed in range(arguments.seeds)
        for method in arguments.methods
        for problem in arguments.problems
    ]
    run(tasks, results, arguments)
    figures: dict[str, Any] = {}
    half, whole = arguments.measurements // 2, arguments.measurements
    for problem in arguments.problems:
        table = Table(title=problem)
        for heading in ("method", f"regret after {half}", f"after {whole}", "s per ask", "seeds"):
            table.add_column(heading, justify="left" if heading == "method" else "right")
        for method in arguments.methods:
            mine = [t.name for t in tasks if (t.problem, t.method) == (problem, method) and t.name in results]
            if not mine:
                continue
            regrets = np.array([results[name]["regret"] for name in mine])
            seconds = float(np.mean([results[name]["seconds"] for name in mine]))
            error = regrets.std(axis=0) / math.sqrt(max(len(mine) - 1, 1))
            mean = regrets.mean(axis=0)
            figures.setdefault(problem, {})[method] = {
                "regret_half": float(mean[half - 1]),
                "regret": float(mean[-1]),
                "standard_error": float(error[-1]),
                "seconds_per_ask": seconds,
                "seeds": len(mine),
            }
            after = [f"{mean[n - 1]:.4f} ± {error[n - 1]:.4f}" for n in (half, whole)]
            table.add_row(method, *after, f"{seconds:.3f}", str(len(mine)))
        console.print(table)
    if found := ratio(figures):
        console.print(f"regret of the default over that of the better of its parts, geometric mean: {found:.3f}")
    return figures


def ratio(figures: dict[str, Any]) -> float | None:
    """Geometric mean over problems of the default's regret over the better part's; None without these methods."""
    logs = [
        math.log(max(of["matloop"]["regret"], FLOOR) / max(min(of[part]["regret"] for part in PARTS), FLOOR))
        for of in figures.values()
        if {"matloop", *PARTS} <= set(of)
    ]
    return math.exp(sum(logs) / len(logs)) if logs else None


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="default: all, peers only where installed")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--measurements", type=int, default=MEASUREMENTS, help=f"of each campaign, {STARTS} of them starts"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--results", type=Path, help="file of results to go on from, and to add to")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="begin no campaign later; 0 prints what is known"
    )
    parser.add_argument("--quick", action="store_true", help="one seed, few measurements, no peers: under a minute")
    arguments = parser.parse_args()
    arguments.data = None  # nothing is read
    console, results = Console(), Results(arguments.results)
    os.environ["OMP_NUM_THREADS"] = "1"
    if not PYTHON.exists():
        console.print("peers are left out: run `make peers` first")
    known = [name for name in METHODS if PYTHON.exists() or name not in PEERS]
    arguments.methods = arguments.methods or [name for name in known if name not in PEERS or not arguments.quick]
    if arguments.quick:
        arguments.seeds, arguments.measurements = 1, 10
    figures = compare(arguments, results, console)
    print(json.dumps({**figures, "ratio": ratio(figures)}))


if __name__ == "__main__":
    main()
