"""The best absorber in 100 calls: strategies of design beside random search, TPE, CMA-ES and Bayesian optimisation.

A film of silicon in silica, 32 x 32 pixels, whose absorption is averaged over six wavelengths from 450 to 700 nm (RCWA,
order 3). A value with its gradient counts as 1.5 calls. Only structures count that are like Gaussian fields of
correlation length 4 pixels: volume fraction, two-point correlation and speckle each within what 95 % of these have.
`density` optimises every pixel without these limits: the physical bound, as far as one start finds it.

Gains are over the mean of 2,000 random fields, in % and in their standard deviations; regret is by how much the best
of them absorbs more. `p` is one-sided, by Wilcoxon's test of the differences seed by seed. `bound_share` is the
median gain of the recommended method over that of `density`. The best five of a run are measured again two orders
higher and ranked by that; `kept_at_higher_order` is the gain that the first of them has there, over random fields at
that order, as a share of the gain that was found.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absorbers.methods import METHODS, SLOW
from absorbers.problem import BUDGET, CHECKED, Run, driver, random_fields
from absorbers.problem import run as run_one
from recommendation import Results, run
from rich.console import Console
from rich.table import Table
from scipy.stats import wilcoxon

from matloop.orchestrator.trial import Trial

RECOMMENDED, BOUND = "inverse_design", "density"
PEERS = ("random", "tpe", "cma_es", "log_ei", "gp_hedge", "trust_region")
REFERENCE, AT_HIGHER_ORDER = 2000, 100
"""Random fields that are measured at order 3, and of these two orders higher."""

PART = 100
VERSION = 1
"""Of the problem; results of another version are not reused."""


@dataclass(frozen=True)
class Fields:
    """Some of the random fields; a task like any other."""

    part: int
    higher: bool
    single: bool
    method = "reference"

    @property
    def name(self) -> str:
        """Under which its result is kept."""
        return json.dumps(["fields", VERSION, self.part, self.higher, self.single])

    def run(self, folder: Any) -> dict[str, Any]:
        """Their absorption."""
        import torch

        torch.set_num_threads(1)
        physics = driver("grf32", single=self.single, check_orders=2 if self.higher else 0)
        name = CHECKED if self.higher else "absorption"
        points = ({"microstructure": one.tolist()} for one in random_fields(PART, "reference", self.part))
        trials = (Trial(id=0, study="reference", number=0, point=point, seed=0) for point in points)
        return {"values": [physics(trial).values[name] for trial in trials]}


@dataclass(frozen=True)
class Task:
    """One method and seed."""

    method: str
    seed: int
    budget: float
    single: bool

    @property
    def name(self) -> str:
        """Under which its result is kept; with all that decides it, but for the code."""
        return json.dumps(["design", VERSION, self.method, self.seed, self.budget, self.single])

    def run(self, folder: Any) -> dict[str, Any]:
        """The run, JSON-able."""
        import torch

        torch.set_num_threads(1)
        method = METHODS[self.method]
        found = run_one(
            method.make, method.generator, self.seed, budget=self.budget, single=self.single,
            limited=method.limited, confirmed=method.confirmed,
        )  # fmt: skip
        return found.as_json()


@dataclass(frozen=True)
class Scale:
    """What absorption is held against: of random fields."""

    mean: float
    std: float
    best: float
    higher: float

    def gain(self, value: float) -> float:
        """Over the mean, %."""
        return 100 * (value / self.mean - 1)


def scale(values: Sequence[float], higher: Sequence[float]) -> Scale:
    """From the absorption of random fields, and of some of them two orders higher."""
    return Scale(
        float(np.mean(values)), float(np.std(values)), float(np.max(values)), float(np.mean(higher or [np.nan]))
    )


def interval(gains: Sequence[float]) -> list[float]:
    """Median, and the interval that holds it with 95 % confidence (order statistics)."""
    ordered, n = sorted(gains), len(gains)
    below = 0
    while below < (n - 1) // 2 and sum(math.comb(n, k) for k in range(below + 2)) <= 0.025 * 2**n:
        below += 1
    return [float(np.median(ordered)), ordered[below], ordered[n - 1 - below]]


def kept(found: Run, measure: Scale) -> float:
    """Share of the gain that the best of a run keeps two orders higher, ranked there."""
    place = int(np.argmax(found.higher))
    return (found.higher[place] / measure.higher - 1) / (max(found.order_3) / measure.mean - 1)


def compare(arguments: argparse.Namespace, results: Results, console: Console) -> dict[str, Any]:
    """Run what is missing, print, return the figures."""
    size, more = (PART, 0) if arguments.quick else (REFERENCE, AT_HIGHER_ORDER)
    parts = [Fields(k, False, arguments.single) for k in range(size // PART)]
    above = [Fields(k, True, arguments.single) for k in range(more // PART)]
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    tasks = [Task(m, seed, arguments.budget, arguments.single) for m in arguments.methods for seed in seeds]
    run([*tasks, *parts, *above], results, arguments)
    values = [v for part in parts if part.name in results for v in results[part.name]["values"]]
    if not values:
        console.print("no random fields are measured yet")
        return {}
    higher = [v for part in above if part.name in results for v in results[part.name]["values"]]
    measure = scale(values, higher)
    known = {(task.method, task.seed): Run(**results[task.name]) for task in tasks if task.name in results}
    tops = {key: found.top(limited=METHODS[key[0]].limited) for key, found in known.items()}
    _print(console, measure, known, tops, arguments.methods, len(values))
    return figures(measure, known, tops)


def figures(measure: Scale, known: dict[tuple[str, int], Run], tops: dict[tuple[str, int], float]) -> dict[str, Any]:
    """What is said in the end, as far as it is known."""
    gains: dict[str, dict[int, float]] = {}
    for (method, seed), top in tops.items():
        gains.setdefault(method, {})[seed] = measure.gain(top)
    found: dict[str, Any] = {"gain": {method: interval(list(of.values())) for method, of in gains.items()}}
    ours = gains.get(RECOMMENDED, {})
    if ours and BOUND in gains:
        found["bound_share"] = float(np.median(list(ours.values())) / np.median(list(gains[BOUND].values())))
    shares = [kept(of, measure) for (method, _), of in known.items() if method == RECOMMENDED and of.higher]
    if shares and not math.isnan(measure.higher):
        found["kept_at_higher_order"] = float(np.median(shares))
    middle = {method: np.median([top for (of, _), top in tops.items() if of == method]) for method in gains}
    found["standard_deviations"] = {m: float((top - measure.mean) / measure.std) for m, top in middle.items()}
    found["regret"] = {m: float(measure.best - top) for m, top in middle.items()}
    found["p"] = {
        peer: float(wilcoxon([ours[s] - of[s] for s in both], alternative="greater").pvalue)
        for peer, of in gains.items()
        if peer in PEERS and len(both := sorted({*ours} & {*of})) > 1
    }
    found["seeds"] = {method: len(of) for method, of in gains.items()}
    return found


def _print(
    console: Console,
    measure: Scale,
    known: dict[tuple[str, int], Run],
    tops: dict[tuple[str, int], float],
    methods: Sequence[str],
    fields: int,
) -> None:
    console.print(
        f"{fields} random fields: absorption {measure.mean:.4f} ± {measure.std:.4f}, best {measure.best:.4f} "
        f"(gain {measure.gain(measure.best):.1f} %)"
    )
    table = Table()
    headings = ("gain, %", "95 %", "in sd", "regret", "any structure, %", "kept", "asking, s", "seeds")
    table.add_column("method")
    for heading in headings:
        table.add_column(heading, justify="right")
    for method in methods:
        runs = {seed: of for (name, seed), of in known.items() if name == method}
        if not runs:
            continue
        values = [tops[method, seed] for seed in runs]
        middle, low, high = interval([measure.gain(v) for v in values])
        shares = [kept(of, measure) for of in runs.values() if of.higher]
        top = float(np.median(values))
        table.add_row(
            method, f"{middle:.1f}", f"{low:.1f} to {high:.1f}", f"{(top - measure.mean) / measure.std:.2f}",
            f"{measure.best - top:+.3f}",
            f"{np.median([measure.gain(of.top(limited=False)) for of in runs.values()]):.1f}",
            f"{np.median(shares):.2f}" if shares and not math.isnan(measure.higher) else "",
            f"{np.median([of.asking_s for of in runs.values()]):.1f}", str(len(runs)),
        )  # fmt: skip
    console.print(table)


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="default: all but those with networks")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0, help="develop on other seeds than those reported")
    parser.add_argument("--budget", type=float, default=BUDGET, help="calls of the driver in each run")
    parser.add_argument("--single", action="store_true", help="one wavelength, 500 nm: six times as fast, and easier")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--results", type=Path, help="file of results to go on from, and to add to")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no run later; 0 prints what is known")
    parser.add_argument("--quick", action="store_true", help="one seed, one wavelength, 20 calls, no models")
    arguments = parser.parse_args()
    arguments.data = None  # nothing is read
    os.environ["OMP_NUM_THREADS"] = "1"
    console, results = Console(), Results(arguments.results)
    available = [m for m in METHODS if m != "cma_es" or importlib.util.find_spec("cmaes")]
    if len(available) < len(METHODS):
        console.print("cma_es is left out: it needs the package cmaes (`pip install cmaes`)")
    arguments.methods = arguments.methods or [name for name in available if name not in SLOW]
    if arguments.quick:
        arguments.methods, arguments.seeds, arguments.budget, arguments.single = ["random", RECOMMENDED], 1, 20.0, True
    found = compare(arguments, results, console)
    print(json.dumps({"quick": found} if arguments.quick else found))


if __name__ == "__main__":
    main()
