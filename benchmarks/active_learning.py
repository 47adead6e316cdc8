"""Does choosing what to measure teach a model more than measuring at random?

Each task starts from the same random measurements for every policy and asks a strategy for one batch after another:
`random`, or `active_learning` with one of its criteria and otherwise as it comes. After each batch the same surrogate
with the same seed and the same steps is fitted afresh to what was measured, whatever chose it, and tested on points
that are distributed like the space. Errors are means of absolute and roots of mean squared ones.

energies_network, energies_process
            formation energies of 10,000 OQMD compounds (eV/atom, clipped to 5 either way) from 100 on, 100 at a time,
            by MC dropout or a Gaussian process (length scales from 300 rows), tested on 2,000 other compounds; need
            --data FOLDER
branin, hartmann3
            well-known functions of 2 and 3 parameters, from 10 points on, 5 at a time, by a Gaussian process, tested on
            1,000 random points

Run: python benchmarks/active_learning.py [--data FOLDER] [--quick] [--results FILE]
A results file is added to after each run and read at the start, so that a long benchmark can be continued.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from botorch.test_functions import Branin, Hartmann
from calibration import FILE, Problem, fit, predict
from rich.console import Console
from rich.table import Table

from matloop.orchestrator.protocols import Array, Space, Surrogate
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.active import ActiveLearning
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.trial import Objective, Point, Trial
from matloop.search_spaces.box import Box
from matloop.search_spaces.formulas.space import Formulas
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.networks.dropout import MCDropout

POLICIES = ("random", "largest_cluster", "integrated_variance", "variance")
TASKS = ("energies_network", "energies_process", "branin", "hartmann3")
OBJECTIVE = Objective("y")
MEASURES = {"mae": "mean absolute error", "rmse": "root mean square error"}


@dataclass(frozen=True, slots=True)
class Task:
    """What is learned, and how well it is known.

    Attributes:
        space: where points come from.
        truth: what a measurement gives.
        surrogate: chooses, and is tested.
        errors: of the surrogate fitted to points and their values with a seed.
        start: points that every policy begins with.
        batch: points asked for at a time.
        most: points at the end.
    """

    space: Any
    truth: Callable[[Point], float]
    surrogate: Surrogate
    errors: Callable[[Sequence[Point], Sequence[float], int], Array]
    start: list[Point]
    batch: int
    most: int


def energies(name: str, data: Path, seed: int, quick: bool) -> Task:
    """Formation energies from composition."""
    problem = Problem(data, 500 if quick else 10_000, seed)
    places = {formula: i for i, formula in enumerate(problem.formulas)}
    surrogate = MCDropout(rate=0.1) if name == "energies_network" else GP(max_iterations=60, subset=300)

    def errors(points: Sequence[Point], values: Sequence[float], seed: int) -> Array:
        rows = [places[p["formula"]] for p in points]
        return (
            predict(fit(surrogate, problem.x[rows], np.array(values), seed), problem.x_test[:2000])[0]
            - (problem.y_test[:2000])
        )

    first = derive("start", seed).permutation(len(places))[:100]
    return Task(
        space=Formulas(formulas=problem.formulas),
        truth=lambda point: float(problem.y[places[point["formula"]]]),
        surrogate=surrogate,
        errors=errors,
        start=[{"formula": problem.formulas[i]} for i in first],
        batch=100,
        most=200 if quick else 800,
    )


def function(name: str, seed: int, quick: bool) -> Task:
    """A well-known function over its usual box."""
    known: Any = Branin() if name == "branin" else Hartmann(dim=3)
    low, high = known.bounds.double().numpy()
    names = [f"x{i}" for i in range(len(low))]
    ranges = zip(names, low.tolist(), high.tolist(), strict=True)
    space = Box(parameters={key: {"type": "float", "low": a, "high": b} for key, a, b in ranges})

    def truth(points: Sequence[Point]) -> Array:
        values: Array = known(torch.tensor([[p[key] for key in names] for p in points], dtype=torch.float64)).numpy()
        return values

    surrogate, rng = GP(space=space), derive(name, seed)
    fresh = [space.sample(rng) for _ in range(1000)]

    def errors(points: Sequence[Point], values: Sequence[float], seed: int) -> Array:
        model = fit(surrogate, space.encode(points), np.array(values), seed)
        return predict(model, space.encode(fresh))[0] - truth(fresh)

    return Task(
        space=space,
        truth=lambda point: float(truth([point])[0]),
        surrogate=surrogate,
        errors=errors,
        start=[space.sample(rng) for _ in range(10)],
        batch=5,
        most=20 if quick else 40,
    )


def learn(task: Task, policy: str, seed: int) -> dict[str, dict[str, float]]:
    """Each measure's error after each number of points."""
    strategy = strategist(task.space, task.surrogate, policy, task.batch, len(task.start), seed)
    points, values = list(task.start), [task.truth(p) for p in task.start]
    told = 0
    curves: dict[str, dict[str, float]] = {measure: {} for measure in MEASURES}
    while True:
        for i in range(told, len(points)):
            strategy.tell(measured(i, points[i], values[i]))
        told = len(points)
        errors = task.errors(points, values, seed)
        curves["mae"][str(told)] = float(np.mean(np.abs(errors)))
        curves["rmse"][str(told)] = float(np.sqrt(np.mean(errors**2)))
        if told >= task.most:
            return curves
        points += [p.point for p in strategy.ask(task.batch, (), derive("ask", policy, seed, told))]
        values += [task.truth(p) for p in points[told:]]


def strategist(
    space: Space, surrogate: Surrogate, policy: str, batch: int, initial: int, seed: int
) -> Random | ActiveLearning:
    """Of the policy's name."""
    if policy == "random":
        return Random(space=space)
    return ActiveLearning(
        space=space, objectives=(OBJECTIVE,), surrogate=surrogate, initial=initial, refit_every=batch,
        acquisition=policy, explain=False, seed=seed,  # type: ignore[arg-type]
    )  # fmt: skip


def measured(number: int, point: Point, value: float) -> Trial:
    """A trial as the ledger would hand it over."""
    return Trial(
        id=number, study="learn", number=number, point=point, seed=0, state="answered", values={OBJECTIVE.name: value}
    )  # fmt: skip


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All records, those of the results file included."""
    records: list[dict[str, Any]] = []
    if options.results and options.results.exists():
        records = [json.loads(line) for line in options.results.read_text().splitlines()]
    done = {(r["task"], r["policy"], r["seed"], r["quick"]) for r in records}
    started = time.monotonic()
    for name in options.tasks:
        of_energies = name.startswith("energies")
        if of_energies and (options.data is None or not (options.data / FILE).exists()):
            print(f"{name}: needs --data FOLDER with {FILE} (or MATLOOP_DATA); see docs/benchmarks.md")
            continue
        for seed in range(options.first, options.first + (1 if options.quick else options.seeds)):
            task: Task | None = None
            for policy in options.policies:
                late = options.minutes and time.monotonic() - started > 60 * options.minutes
                if (name, policy, seed, options.quick) in done or late:
                    continue
                if task is None:
                    quick = options.quick
                    task = energies(name, options.data, seed, quick) if of_energies else function(name, seed, quick)
                records.append({"task": name, "policy": policy, "seed": seed, "quick": options.quick})
                records[-1] |= {"curves": learn(task, policy, seed)}
                if options.results:
                    with options.results.open("a") as file:
                        file.write(json.dumps(records[-1]) + "\n")
    return [r for r in records if r["quick"] == options.quick]


def needed(curve: Mapping[str, float], value: float) -> float:
    """Number at which a falling curve first reaches the value, linear in between; NaN if it does not."""
    counts, values = [int(n) for n in curve], list(curve.values())
    for i, v in enumerate(values):
        if v <= value:
            if i == 0:
                return float(counts[0])
            share = (values[i - 1] - value) / (values[i - 1] - v)
            return counts[i - 1] + share * (counts[i] - counts[i - 1])
    return float("nan")


def summary(records: Sequence[Mapping[str, Any]], console: Console) -> dict[str, Any]:
    """Print tables; return the figures of the last line."""
    result: dict[str, Any] = {}
    for task in dict.fromkeys(r["task"] for r in records):
        for kind, words in MEASURES.items():
            curves: dict[str, dict[int, dict[str, float]]] = {}
            for r in records:
                if r["task"] == task:
                    curves.setdefault(r["policy"], {})[r["seed"]] = r["curves"][kind]
            result.setdefault(task, {})[kind] = compared(f"{task}: {words}", curves, console)
    return result


def compared(title: str, curves: Mapping[str, Mapping[int, Mapping[str, float]]], console: Console) -> dict[str, Any]:
    """Print the curves of one task; return them and how each stands against random choice on the same seeds.

    Args:
        title: of the table.
        curves: error by number of points, by seed, by policy.
        console: where it is printed.
    """
    counts = list(next(iter(next(iter(curves.values())).values())))
    shown = counts if len(counts) < 9 else counts[1::2]
    table = Table("policy", *shown, "at the last", "over all", "points for random's last", "random's for its last",
                  "seeds", title=f"{title}; and how it differs from random choice", title_justify="left")  # fmt: skip
    result: dict[str, Any] = {}
    for policy, by_seed in curves.items():
        means = mean_curve(by_seed, list(by_seed))
        result[policy] = {"mean": {n: round(v, 4) for n, v in means.items()}, "seeds": len(by_seed)}
        cells = ["", "", "", ""]
        seeds = [s for s in by_seed if s in curves.get("random", {})]
        if policy != "random" and seeds:
            found = against(by_seed, curves["random"], seeds)
            result[policy] |= found
            cells = [
                *(percent(*found[key]) for key in ("last", "all")),
                *(str(found[key]) for key in ("points_for_randoms_last", "random_points_for_its_last")),
            ]
        table.add_row(policy, *(f"{means[n]:.4g}" for n in shown), *cells, str(len(by_seed)))
    console.print(table)
    return result


def against(
    own: Mapping[int, Mapping[str, float]], random: Mapping[int, Mapping[str, float]], seeds: Sequence[int]
) -> dict[str, Any]:
    """Relative difference to random choice: mean and standard error over seeds; and who needs how many points.

    The number of points is read off the mean curves; a text if the other's last error is not reached.
    """
    less = np.array([[own[s][n] / random[s][n] - 1 for n in own[s]][1:] for s in seeds])
    root = np.sqrt(len(seeds))
    alone = len(seeds) < 2
    spread = [None if alone else round(float(p.std(ddof=1) / root), 4) for p in (less[:, -1], less.mean(axis=1))]
    mine, theirs = mean_curve(own, seeds), mean_curve(random, seeds)
    numbers = needed(mine, list(theirs.values())[-1]), needed(theirs, list(mine.values())[-1])
    most = list(mine)[-1]
    counts = [round(n) if np.isfinite(n) else f"over {most}" for n in numbers]
    return {
        "last": [round(float(less[:, -1].mean()), 4), spread[0]],
        "all": [round(float(less.mean()), 4), spread[1]],
        "ahead_at_last": f"{int((less[:, -1] < 0).sum())} of {len(seeds)}",
        "points_for_randoms_last": counts[0],
        "random_points_for_its_last": counts[1],
    }


def percent(share: float, error: float | None) -> str:
    """A share and its standard error, if there is one."""
    return f"{100 * share:+.1f}" + ("" if error is None else f" ± {100 * error:.1f}") + " %"


def mean_curve(by_seed: Mapping[int, Mapping[str, float]], seeds: Sequence[int]) -> dict[str, float]:
    """Averaged over seeds."""
    return {n: float(np.mean([by_seed[s][n] for s in seeds])) for n in by_seed[seeds[0]]}


def main() -> None:
    """Print tables and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("MATLOOP_DATA"), help="folder with composition/")
    parser.add_argument("--quick", action="store_true", help="few points, one seed: under a minute")
    parser.add_argument("--results", type=Path, help="file that runs are added to and taken from")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="first seed; those from 100 on were used for development")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=POLICIES)
    parser.add_argument("--minutes", type=float, help="begin nothing new after so long; go on later with --results")
    options = parser.parse_args()
    options.data = Path(options.data) if options.data else None
    torch.set_num_threads(1)
    console = Console(width=180)
    print(json.dumps(summary(measure(options), console)))


if __name__ == "__main__":
    main()
