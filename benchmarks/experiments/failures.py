"""What failed experiments teach: spaces with a hidden region where every experiment fails, the optimum at its edge.

`disc` is a square whose best place lies within a disc of failures, `plane` a cube of four dimensions whose best corner
is cut off by a half-space. Nobody is told of the region; a trial in it fails. Each method makes `TRIALS` trials, one
after the other, beginning in its own way (ours with 5 space-filling points, Ax with what it does by default).

`wasted` is how many trials failed, `regret` how far the best that worked stays below the best that can work. The row
`matloop_blind` is ours with `feasibility: false`: failed points are only not tried again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from experiments.peer import PYTHON, Peer
from matloop.orchestrator.protocols import Strategy
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.trial import Failure, Objective, Trial
from matloop.search_spaces.box import Box

Array = npt.NDArray[np.float64]

TRIALS = 40
OBJECTIVE = Objective("value", "maximise")
VERSION = 1


@dataclass(frozen=True)
class Problem:
    """A unit cube with a hidden region.

    Attributes:
        dimension: of the cube.
        value: (d,) -> what is maximised.
        works: (d,) -> whether the experiment does.
        best: largest value that works.
    """

    dimension: int
    value: Callable[[Array], float]
    works: Callable[[Array], bool]
    best: float


def _bowl(place: Array) -> Callable[[Array], float]:
    return lambda x: float(1 - ((x - place) ** 2).sum() + 0.05 * np.cos(9 * (x - place)).sum())


DISC_CENTRE, DISC_RADIUS, DISC_BEST = np.array([0.62, 0.58]), 0.27, np.array([0.7, 0.72])
PLANE_BEST, PLANE_SUM = np.full(4, 0.8), 2.6


def _edge_of_disc() -> float:
    angles = np.linspace(0, 2 * np.pi, 100_001)
    ring = DISC_CENTRE + DISC_RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    offset = ring - DISC_BEST
    return float((1 - (offset**2).sum(axis=1) + 0.05 * np.cos(9 * offset).sum(axis=1)).max())


PROBLEMS = {
    "disc": Problem(
        2, _bowl(DISC_BEST), lambda x: bool(((x - DISC_CENTRE) ** 2).sum() > DISC_RADIUS**2), _edge_of_disc()
    ),
    "plane": Problem(4, _bowl(PLANE_BEST), lambda x: bool(x.sum() <= PLANE_SUM), _bowl(PLANE_BEST)(np.full(4, 0.65))),
}


def _box(problem: Problem) -> Box:
    return Box(parameters={f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(problem.dimension)})


def _ours(problem: Problem, seed: int, **options: Any) -> Strategy:
    return Bayesian(
        space=_box(problem), objectives=(OBJECTIVE,), initial=5, explain=False, candidates=128, seed=seed, **options
    )


METHODS: dict[str, Callable[[Problem, int], Strategy] | None] = {
    "matloop": _ours,
    "ax": None,
    "random": lambda problem, seed: Random(space=_box(problem)),
    "matloop_blind": lambda problem, seed: _ours(problem, seed, feasibility=False),
}


@dataclass(frozen=True)
class Task:
    """One campaign."""

    problem: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        """Under which its result is kept."""
        return json.dumps(["failures", VERSION, self.problem, self.method, self.seed, TRIALS])

    def run(self, folder: Any) -> dict[str, float]:
        """Failed trials and regret."""
        import torch

        torch.set_num_threads(1)
        problem, make = PROBLEMS[self.problem], METHODS[self.method]
        ask, tell = _served(problem, self.seed) if make is None else _asked(make(problem, self.seed), self.seed)
        wasted, best = 0, -np.inf
        for _ in range(TRIALS):
            point = ask()
            x = np.array(list(point.values()))
            works = problem.works(x)
            wasted, best = wasted + (not works), max(best, problem.value(x) if works else -np.inf)
            tell(point, problem.value(x) if works else None)
        return {"wasted": wasted, "regret": problem.best - best}


def _asked(strategy: Strategy, seed: int) -> tuple[Callable[[], Any], Callable[[Any, float | None], None]]:
    told: list[Trial] = []

    def ask() -> Any:
        (proposal,) = strategy.ask(1, (), derive("failures", seed, len(told)))
        return proposal.point

    def tell(point: Any, value: float | None) -> None:
        number = len(told)
        outcome: dict[str, Any] = {"state": "answered", "values": {OBJECTIVE.name: value}}
        if value is None:
            outcome = {"state": "failed", "failure": Failure(cause="experiment", message="did not form")}
        told.append(Trial(id=number, study="s", number=number, point=point, seed=0, **outcome))
        strategy.tell(told[-1])

    return ask, tell


def _served(problem: Problem, seed: int) -> tuple[Callable[[], Any], Callable[[Any, float | None], None]]:
    peer = Peer("ax", seed, bounds={f"x{i}": (0.0, 1.0) for i in range(problem.dimension)})
    return lambda: peer.ask()[0], peer.tell


def compare(
    arguments: argparse.Namespace,
    results: Any,
    run: Callable[[Sequence[Any], Any, argparse.Namespace], None],
    console: Console,
) -> dict[str, Any]:
    """Run what is missing, print, return the figures."""
    seeds = 1 if arguments.quick else arguments.seeds
    methods = [m for m in METHODS if (m != "ax" or PYTHON.exists()) and not (arguments.quick and m == "ax")]
    tasks = [Task(problem, method, seed) for seed in range(seeds) for method in methods for problem in PROBLEMS]
    run(tasks, results, arguments)
    figures: dict[str, Any] = {}
    for problem in PROBLEMS:
        table = Table(title=f"{problem}: {TRIALS} trials, a hidden region fails")
        for heading in ("method", "wasted trials", "regret", "seeds"):
            table.add_column(heading, justify="left" if heading == "method" else "right")
        for method in methods:
            known = [t.name for t in tasks if (t.problem, t.method) == (problem, method) and t.name in results]
            if not known:
                continue
            wasted, regret = (np.array([results[name][key] for name in known]) for key in ("wasted", "regret"))
            figures.setdefault(problem, {})[method] = {
                "wasted": float(wasted.mean()), "regret": float(regret.mean()), "seeds": len(known),
            }  # fmt: skip
            error = np.sqrt(max(len(known) - 1, 1))
            table.add_row(
                method,
                f"{wasted.mean():.1f} ± {wasted.std() / error:.1f}",
                f"{regret.mean():.4f} ± {regret.std() / error:.4f}",
                str(len(known)),
            )
        console.print(table)
    return figures
