"""Architecture search that trains for real: evolution with what makes it cheaper, beside Optuna and random search.

Two small tasks: handwritten digits (classification, error) and the effective diffusivity of random microstructures
(regression, mean absolute error). Every method searches the same convolutional networks with the same limits for the
same seconds of processor time, which is what training and measuring took, added up; what a method needs to make up its
mind is not counted. A search ends with the training that exceeds the budget. Its result is the test error of the
network with the best validation error among those trained in full (or, if the budget ends before there is one, on the
highest rung reached, as with `--quick`, which only shows that all runs); mean and standard error over seeds, each with
a split of its own. Every method starts with the same random networks.

- `random`; `tpe`: Optuna's default sampler on the genome as named parameters, after 8 random networks; `evolution`:
  population 8, with the SVM predictor; all networks trained in full.
- `+ halving`: the same in asynchronous successive halving, from a ninth of the epochs.
- `+ inheritance`: children begin with their parent's weights, and half of the mutations keep its function.

`paired_p` is the two-sided Wilcoxon signed-rank p of each method against `random` over tasks and seeds, on the test
error relative to random's mean on that task: with few seeds a p near 0.05 says little.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from live.data import diffusivity, digits
from live.flat import Flat
from rich.console import Console
from rich.table import Table
from scipy.stats import wilcoxon

from matloop.drivers.training.driver import Training
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.protocols import Strategy
from matloop.orchestrator.randomness import derive, derive_seed
from matloop.orchestrator.strategies.evolution.evolution import Evolution
from matloop.orchestrator.strategies.optuna import OptunaSampler
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.strategies.successive_halving import SuccessiveHalving
from matloop.orchestrator.trial import Objective, Proposal, Trial, Unanswered, best
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.surrogates.fitness_svm import FitnessSVM

STARTS = 8
EPOCHS = 9


@dataclass(frozen=True)
class Task:
    """What networks are searched for.

    Attributes:
        data: makes the file.
        error: name of the error behind `validation_` and `test_`.
        scale, unit: for people.
    """

    name: str
    data: Callable[[Path], Path]
    kind: str
    input: tuple[int, ...]
    outputs: int
    error: str
    scale: float
    unit: str
    split: tuple[float, float, float]

    @property
    def objective(self) -> Objective:
        """The validation error."""
        return Objective(f"validation_{self.error}")

    def space(self, morphisms: float = 0.0) -> ConvNetworks:
        """Small networks, so that a training takes about a second."""
        return ConvNetworks(
            input=list(self.input),
            outputs=self.outputs,
            max_layers=4,
            max_parameters=50_000,
            max_multiply_adds=60_000,
            morphisms=morphisms,
        )

    def driver(self, folder: Path, seed: int) -> Training:
        """Trains on a split that the seed decides."""
        return Training(
            data=self.data(folder),
            task=self.kind,  # type: ignore[arg-type]
            epochs=EPOCHS,
            split=self.split,
            split_seed=seed,
            device="cpu",
        )


TASKS = (
    Task("digits", digits, "classification", (1, 8, 8), 10, "error", 100, "% wrong", (0.08, 0.17, 0.75)),
    Task("diffusivity", diffusivity, "regression", (1, 16, 16), 1, "mae", 1000, "10⁻³", (0.15, 0.3, 0.55)),
)


class Started:
    """Random points first, then another strategy that knows them."""

    def __init__(self, strategy: Strategy, space: Flat) -> None:
        self.strategy, self.random, self.told = strategy, Random(space=space), 0

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """As any strategy."""
        return (self.random if self.told < STARTS else self.strategy).ask(n, pending, rng)

    def tell(self, trial: Trial) -> None:
        """As any strategy."""
        self.told += 1
        self.random.tell(trial)
        self.strategy.tell(trial)


def tpe(task: Task) -> Started:
    """Optuna's default sampler over the flattened genomes."""
    space = Flat(task.space())
    return Started(OptunaSampler(space=space, objectives=(task.objective,)), space)


def evolution(task: Task, *, inherit: bool = False) -> Evolution:
    """Evolution with the predictor."""
    return Evolution(
        space=task.space(morphisms=0.5 if inherit else 0.0),
        objectives=(task.objective,),
        population=STARTS,
        predictor=FitnessSVM(),
        inherit=inherit,
    )


def halving(strategy: Strategy, task: Task) -> SuccessiveHalving:
    """Any strategy in rungs."""
    return SuccessiveHalving(strategy=strategy, objectives=(task.objective,))


METHODS: dict[str, Callable[[Task], Strategy]] = {
    "random": lambda task: Random(space=Flat(task.space())),
    "random + halving": lambda task: halving(Random(space=Flat(task.space())), task),
    "tpe": tpe,
    "tpe + halving": lambda task: halving(tpe(task), task),
    "evolution": evolution,
    "evolution + halving": lambda task: halving(evolution(task), task),
    "evolution + inheritance": lambda task: evolution(task, inherit=True),
    "evolution + both": lambda task: halving(evolution(task, inherit=True), task),
}


def search(task: Task, method: str, seed: int, seconds: float, folder: Path) -> dict[str, Any]:
    """One search: test and validation error of its result, and how much was tried."""
    strategy, driver, flat = METHODS[method](task), task.driver(folder, seed), Flat(task.space())
    trials: list[Trial] = []
    spent, deciding = 0.0, 0.0
    with tempfile.TemporaryDirectory() as artifacts:
        while spent < seconds:
            number, began = len(trials), time.process_time()
            (proposal,) = strategy.ask(1, (), derive(seed, number))
            deciding += time.process_time() - began
            trial = Trial(
                id=number,
                study=task.name,
                number=number,
                point=proposal.point,
                seed=derive_seed(seed, task.name, number),
                parents=proposal.parents,
                fidelity=proposal.fidelity,
                extra=proposal.extra,
                inputs=proposal.inputs,
            )
            genome = flat.genome(trial.point) if "kind0" in trial.point else trial.point
            conditions = Conditions(driver=driver, objectives=(task.objective,), artifacts=Path(artifacts))
            evaluation = Evaluation(conditions, replace(trial, point=genome))
            began = time.process_time()
            answer = evaluation()
            spent += time.process_time() - began
            done = replace(trial, values=answer.values, failure=answer.failure, artifacts=answer.artifacts)
            trials.append(done)
            strategy.tell(done)
    found = best(trials, task.objective)
    assert found is not None and found.values is not None
    return {
        "test": found.values[f"test_{task.error}"],
        "validation": found.values[task.objective.name],
        "networks": len({json.dumps(t.point, sort_keys=True) for t in trials}),
        "in_full": sum(t.fidelity in (None, 1.0) for t in trials),
        "failed": sum(t.failure is not None for t in trials),
        "deciding_s": deciding,
    }


def summary(values: Sequence[float]) -> list[float]:
    """Mean and standard error."""
    return [float(np.mean(values)), float(np.std(values, ddof=1) / len(values) ** 0.5)]


def figures(results: dict[tuple[str, str, int], dict[str, Any]], methods: Sequence[str], seeds: int) -> dict[str, Any]:
    """Means and standard errors by task and method, and the paired tests."""
    found: dict[str, Any] = {}
    for task in TASKS:
        found[task.name] = {}
        for method in methods:
            runs = [results[task.name, method, seed] for seed in range(seeds)]
            found[task.name][method] = {
                key: summary([run[key] for run in runs]) for key in ("test", "validation", "networks", "in_full")
            }

    def relative(method: str) -> np.ndarray:
        return np.array(
            [
                results[task.name, method, seed]["test"] / found[task.name]["random"]["test"][0]
                for task in TASKS
                for seed in range(seeds)
            ]
        )

    differences = {method: relative(method) - relative("random") for method in methods if method != "random"}
    found["relative_to_random"] = {method: 1 + float(d.mean()) for method, d in differences.items()}
    found["paired_p"] = {method: float(wilcoxon(d).pvalue) for method, d in differences.items() if d.any()}
    return found


def table(found: dict[str, Any], methods: Sequence[str], seconds: float, seeds: int) -> Table:
    """For people."""
    shown = Table(title=f"Test error after {seconds:g} s of training, mean ± standard error over {seeds} seeds")
    shown.add_column("method")
    for task in TASKS:
        shown.add_column(f"{task.name}, {task.unit}", justify="right")
        shown.add_column("networks\n(in full)", justify="right")
    shown.add_column("against random\n(paired p)", justify="right")
    for method in methods:
        cells = []
        for task in TASKS:
            part = found[task.name][method]
            mean, error = (task.scale * value for value in part["test"])
            cells += [f"{mean:.2f} ± {error:.2f}", f"{part['networks'][0]:.0f} ({part['in_full'][0]:.0f})"]
        p = found["paired_p"].get(method)
        share = found["relative_to_random"].get(method)
        cells.append("" if share is None else f"{share - 1:+.0%} ({'–' if p is None else f'{p:.2f}'})")
        shown.add_row(method, *cells)
    return shown


def name(task: Task, method: str, seed: int, seconds: float) -> str:
    """What a search is kept under."""
    return f"{task.name}, {method}, {seed}, {seconds:g}"


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="accepted for uniformity; not used")
    parser.add_argument("--cache", type=Path, help="folder that keeps the data sets from run to run")
    parser.add_argument("--results", type=Path, help="file to keep results in, and to take up again")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seconds", type=float, default=30.0, help="of processor time for training, each search")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="processes, one a core")
    parser.add_argument("--quick", action="store_true", help="2 seeds of 0.5 s each, under a minute on a free core")
    arguments = parser.parse_args()
    seconds, seeds = (0.5, 2) if arguments.quick else (arguments.seconds, arguments.seeds)
    if seeds < 2:
        parser.error("expected at least 2 seeds, for a standard error")
    methods = list(dict.fromkeys(["random", *arguments.methods]))
    runs = [(task, method, seed) for seed in range(seeds) for task in TASKS for method in methods]
    kept = json.loads(arguments.results.read_text()) if arguments.results and arguments.results.exists() else {}
    with (
        tempfile.TemporaryDirectory() as scratch,
        ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool,
    ):
        folder = arguments.cache or Path(scratch)
        for task in TASKS:
            task.data(folder)
        begun = {
            pool.submit(search, task, method, seed, seconds, folder): name(task, method, seed, seconds)
            for task, method, seed in runs
            if name(task, method, seed, seconds) not in kept
        }
        for done in as_completed(begun):
            kept[begun[done]] = done.result()
            if arguments.results:
                arguments.results.write_text(json.dumps(kept, indent=1))
    results = {(task.name, method, seed): kept[name(task, method, seed, seconds)] for task, method, seed in runs}
    found = figures(results, methods, seeds)
    Console(width=150).print(table(found, methods, seconds, seeds))
    print(json.dumps(found | {"seconds": seconds, "seeds": seeds}))


if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    main()
