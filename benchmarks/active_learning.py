"""Does choosing what to measure teach a model more than measuring at random, and for which kind of data?

Each task starts from the same random measurements for every policy and asks a strategy for one batch after another:
`random`, or `active_learning` as it comes (`default`) or with one of its criteria. After each batch the same surrogate
with the same seed is fitted afresh to what was measured, whatever chose it, and tested on points that it has not seen.

energies    formation energies of 10,000 OQMD compounds by composition (eV/atom, clipped to 5 either way), from 100 on,
            100 at a time, by an ensemble of networks; tested on 2,000 other compounds; the most stable 1 % are sought;
            needs --data FOLDER
skewed      4,000 made-up recipes of six numbers, nine in ten of them small changes of one, from 50 on, 50 at a time, by
            an ensemble; tested all over the range; the best 1 % are sought
rare_class  4,000 made-up recipes of which 3 % work, told as 1 and 0, from 50 on, 50 at a time, by an ensemble; those
            that work are sought
images      conductivity of 2,000 made-up images of 16 x 16 pixels, from 40 on, 40 at a time, by an ensemble of
            convolutional networks; tested on 500 others; the best 1 % are sought
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from calibration import fit, predict
from learning.comparison import MEASURES, compared
from learning.tasks import KINDS, Task, task
from rich.console import Console

from matloop.orchestrator.protocols import Space, Surrogate
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.active import ActiveLearning
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.trial import Objective, Point, Trial

SHOWN = ("random", "default", "variance", "core_set")
POLICIES = (*SHOWN, "disagreement", "largest_cluster", "integrated_variance")
OBJECTIVE = Objective("y")


def learn(task: Task, policy: str, seed: int) -> dict[str, dict[str, float]]:
    """Each measure after each number of points."""
    strategy = strategist(task.space, task.surrogate, policy, task.batch, len(task.start), seed)
    points, values = list(task.start), [task.truth(p) for p in task.start]
    told = 0
    curves: dict[str, dict[str, float]] = {measure: {} for measure in MEASURES if measure != "found" or task.sought}
    while True:
        for i in range(told, len(points)):
            strategy.tell(measured(i, points[i], values[i]))
        told = len(points)
        for measure, value in tested(task, points, values, seed).items():
            curves[measure][str(told)] = value
        if told >= task.most:
            return curves
        points += [p.point for p in strategy.ask(task.batch, (), derive("ask", policy, seed, told))]
        values += [task.truth(p) for p in points[told:]]


def tested(task: Task, points: Sequence[Point], values: Sequence[float], seed: int) -> dict[str, float]:
    """By the task's own surrogate, fitted to these measurements."""
    model = fit(task.surrogate, task.encode(points), np.array(values), seed)
    errors = predict(model, task.test)[0] - task.targets
    found = {
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "mae": float(np.mean(np.abs(errors))),
        "outer": float(np.sqrt(np.mean(errors[task.outer] ** 2))),
    }
    return found if task.sought is None else {**found, "found": task.sought(points)}


def strategist(
    space: Space, surrogate: Surrogate, policy: str, batch: int, initial: int, seed: int
) -> Random | ActiveLearning:
    """Of the policy's name."""
    if policy == "random":
        return Random(space=space)
    return ActiveLearning(
        space=space, objectives=(OBJECTIVE,), surrogate=surrogate, initial=initial, refit_every=batch,
        acquisition=None if policy == "default" else policy, explain=False, seed=seed,  # type: ignore[arg-type]
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
    seeds = range(options.first, options.first + (1 if options.quick else options.seeds))
    for name, seed in ((name, seed) for name in options.tasks for seed in seeds):
        late = options.minutes and time.monotonic() - started > 60 * options.minutes
        lacking = [policy for policy in options.policies if (name, policy, seed, options.quick) not in done]
        found = task(name, options.data, seed, options.quick) if lacking and not late else None
        if found is None:
            if lacking and not late and seed == options.first:
                print(f"{name}: needs --data FOLDER (or MATLOOP_DATA); see docs/benchmarks.md")
            continue
        for policy in lacking:
            began = time.process_time()
            record = {"task": name, "policy": policy, "seed": seed, "quick": options.quick}
            record |= {"curves": learn(found, policy, seed), "seconds": round(time.process_time() - began, 1)}
            records.append(record)
            if options.results:
                with options.results.open("a") as file:
                    file.write(json.dumps(record) + "\n")
    return [r for r in records if r["quick"] == options.quick]


def summary(records: Sequence[Mapping[str, Any]], console: Console) -> dict[str, Any]:
    """Print tables; return the figures of the last line: by task, measure and policy.

    Names of tasks begin with `quick_` where their problems are the smaller ones of --quick.
    """
    result: dict[str, Any] = {}
    prefix = "quick_" if records and records[0]["quick"] else ""
    for name in dict.fromkeys(r["task"] for r in records):
        for kind, words in MEASURES.items():
            curves: dict[str, dict[int, dict[str, float]]] = {}
            for r in records:
                if r["task"] == name and kind in r["curves"]:
                    curves.setdefault(r["policy"], {})[r["seed"]] = r["curves"][kind]
            if curves:
                result.setdefault(prefix + name, {})[kind] = compared(kind, f"{name}: {words}", curves, console)
    return result


def main() -> None:
    """Print tables and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("MATLOOP_DATA"), help="folder with composition/")
    parser.add_argument("--quick", action="store_true", help="few points, one seed: under a minute")
    parser.add_argument("--results", type=Path, help="file that runs are added to and taken from")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="first seed; those from 100 on were used for development")
    parser.add_argument("--tasks", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=SHOWN)
    parser.add_argument("--minutes", type=float, help="begin no new task after so long; go on later with --results")
    options = parser.parse_args()
    options.data = Path(options.data) if options.data else None
    torch.set_num_threads(1)
    console = Console(width=180)
    print(json.dumps(summary(measure(options), console)))


if __name__ == "__main__":
    main()
