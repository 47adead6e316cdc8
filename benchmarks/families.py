"""Evolved segmentation and graph networks beside random ones, after equally many trainings, and beside simple methods.

Micrographs: thresholded Gaussian random fields, 32 x 32, seen through shading and noise of the contrast's own size; the
network says which phase a pixel is. Simple methods: the best threshold on the image, and on the image after the best
Gaussian filter, both chosen on the training part. Crystals, where a table of CIF texts is given: a property from the
structure, with the mean of the training part as the simple method.

A method's result is the test figure of its network with the best validation figure; mean and standard error over
seeds, each with a split of its own. Trainings are short, so that an hour of one core suffices.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy.ndimage import gaussian_filter

from matloop.drivers.training.driver import Training
from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.splits import splitting
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.protocols import Strategy
from matloop.orchestrator.randomness import derive, derive_seed
from matloop.orchestrator.strategies.evolution.evolution import Evolution
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.trial import Objective, Trial, best
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.search_spaces.networks.graph.space import GraphNetworks
from matloop.search_spaces.networks.segmentation.space import SegmentationNetworks
from matloop.surrogates.fitness_svm import FitnessSVM

POPULATION = 8
SIZE = 32
Data = Mapping[str, Any]
"""Options of a source."""
Simple = Callable[[Data, int], Mapping[str, float]]


@dataclass(frozen=True)
class Task:
    """What networks are searched for.

    Attributes:
        figure: name of the figure behind `validation_` and `test_`.
        simple: test figures of simple methods, by source and seed of the split.
    """

    name: str
    data: Data
    space: Any
    kind: str
    figure: str
    epochs: int
    split: tuple[float, float, float]
    simple: Simple

    @property
    def objective(self) -> Objective:
        """The validation figure."""
        return Objective(f"validation_{self.figure}", "maximise" if self.figure == "mean_iou" else "minimise")

    def driver(self, seed: int) -> Training:
        """Trains on a split that the seed decides."""
        return Training(
            data=dict(self.data),
            task=self.kind,  # type: ignore[arg-type]
            epochs=self.epochs,
            split=self.split,
            split_seed=seed,
            augment="roll" if self.kind == "segmentation" else "none",
            device="cpu",
            objectives=(self.objective,),
        )


def micrographs(folder: Path, n: int = 240) -> Data:
    """x (n, 1, SIZE, SIZE) shaded, noisy images, y the phases."""
    rng = derive("micrographs")
    wave = 2 * np.pi * np.fft.fftfreq(SIZE)
    images, phases = [], []
    for _ in range(n):
        length = rng.uniform(1.2, 3.0)  # pixels
        filtered = np.exp(-0.5 * length**2 * (wave[:, None] ** 2 + wave**2))
        field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIZE, SIZE))) * filtered).real
        phase = field > np.quantile(field, 1 - rng.uniform(0.25, 0.75))
        rows, columns = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
        angle, place = rng.uniform(0, 2 * np.pi, 2)
        shading = np.sin(2 * np.pi * (np.cos(angle) * rows + np.sin(angle) * columns) / (2 * SIZE) + place)
        images.append(phase + 0.5 * shading + rng.normal(0, 1, phase.shape))
        phases.append(phase)
    np.savez(folder / "micrographs.npz", x=np.array(images, dtype=np.float32)[:, None], y=np.array(phases))
    return {"kind": "npz", "path": folder / "micrographs.npz"}


def thresholds(shares: tuple[float, float, float]) -> Simple:
    """Mean intersection over union of thresholds on the image, plain and filtered."""

    def measure(source: Data, seed: int) -> dict[str, float]:
        data = load(source)
        parts = splitting(shares).split(data, None, seed)
        x, y = np.asarray(data.x)[:, 0], data.y.astype(bool)

        def best_of(widths: list[float]) -> float:
            def score(width: float, level: float, rows: npt.NDArray[np.int64]) -> float:
                return _iou(gaussian_filter(x[rows], (0, width, width)) > level, y[rows])

            choices = [(width, level) for width in widths for level in np.linspace(0, 1, 21)]
            width, level = max(choices, key=lambda choice: score(*choice, parts.train))
            return score(width, level, parts.test)

        return {"threshold": best_of([0.0]), "filter + threshold": best_of([0.5, 1, 1.5, 2, 2.5])}

    return measure


def _iou(said: npt.NDArray[np.bool_], true: npt.NDArray[np.bool_]) -> float:
    return float(np.mean([(a & b).sum() / (a | b).sum() for a, b in ((said, true), (~said, ~true))]))


def mean(shares: tuple[float, float, float]) -> Simple:
    """Error of the training part's mean."""

    def measure(source: Data, seed: int) -> dict[str, float]:
        data = load(source)
        y, parts = data.y, splitting(shares).split(data, None, seed)
        return {"mean": float(np.abs(y[parts.test] - y[parts.train].mean()).mean())}

    return measure


METHODS: dict[str, Callable[[Task], Strategy]] = {
    "random": lambda task: Random(space=task.space),
    "evolution": lambda task: Evolution(
        space=task.space, objectives=(task.objective,), population=POPULATION, predictor=FitnessSVM()
    ),
}


def search(task: Task, method: str, seed: int, trials: int) -> dict[str, float]:
    """One search: the test figure of its best network, the median one's, and what it took."""
    strategy, driver = METHODS[method](task), task.driver(seed)
    told: list[Trial] = []
    began = time.process_time()
    with tempfile.TemporaryDirectory() as artifacts:
        for number in range(trials):
            (proposal,) = strategy.ask(1, (), derive(seed, number))
            trial = Trial(
                id=number, study=task.name, number=number, point=proposal.point, seed=derive_seed(seed, number)
            )
            trial = replace(trial, parents=proposal.parents)
            conditions = Conditions(driver=driver, objectives=(task.objective,), artifacts=Path(artifacts))
            answer = Evaluation(conditions, trial)()
            told.append(replace(trial, values=answer.values, failure=answer.failure))
            strategy.tell(told[-1])
    found = best(told, task.objective)
    assert found is not None and found.values is not None
    answered = [trial.values for trial in told if trial.values is not None]
    return {
        "test": found.values[f"test_{task.figure}"],
        "median network": float(np.median([values[f"test_{task.figure}"] for values in answered])),
        "parameters": found.values["parameters"],
        "failed": float(trials - len(answered)),
        "seconds": time.process_time() - began,
    }


def tasks(folder: Path, crystals: Path | None, target: str) -> list[Task]:
    """Those there are data for."""
    shares = (0.4, 0.2, 0.4)
    space = SegmentationNetworks(input=[1, SIZE, SIZE], max_levels=3, max_parameters=50_000, max_multiply_adds=600_000)
    found = [
        Task("micrographs", micrographs(folder), space, "segmentation", "mean_iou", 10, shares, thresholds(shares))
    ]
    if crystals:
        source = {"kind": "crystals", "path": crystals, "target": target}
        x = load(source).x
        assert isinstance(x, Graphs)
        graphs = GraphNetworks(
            node_features=x.nodes.shape[1],
            edge_features=x.edge_features.shape[1],
            max_layers=3,
            max_parameters=50_000,
            max_multiply_adds=150_000,
            nodes=round(len(x.nodes) / len(x)),
            edges=round(len(x.edge_features) / len(x)),
        )
        found.append(Task("crystals", source, graphs, "regression", "mae", 8, shares, mean(shares)))
    return found


def table(task: Task, summary: Mapping[str, list[float]], trials: int, seeds: int) -> Table:
    """For people."""
    shown = Table(title=f"{task.name}: {trials} trainings, {seeds} seeds", min_width=60)
    shown.add_column("method")
    shown.add_column(f"test {task.figure}, mean ± standard error", justify="right")
    for name, (centre, error) in summary.items():
        shown.add_row(name, f"{centre:.4f} ± {error:.4f}")
    return shown


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", type=Path, help="CSV or CSV.GZ with CIF texts in the column `cif`")
    parser.add_argument("--target", default="heat_ref", help="column to predict of the crystals")
    parser.add_argument("--trials", type=int, default=32, help="trainings of each search")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="2 seeds of 3 trainings, micrographs alone")
    arguments = parser.parse_args()
    trials, seeds = (3, 2) if arguments.quick else (arguments.trials, arguments.seeds)
    if seeds < 2:
        parser.error("expected at least 2 seeds, for a standard error")
    found: dict[str, Any] = {"trials": trials, "seeds": seeds}
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks(Path(folder), None if arguments.quick else arguments.crystals, arguments.target):
            runs = {method: [search(task, method, seed, trials) for seed in range(seeds)] for method in METHODS}
            simple = [task.simple(task.data, seed) for seed in range(seeds)]
            results = {name: [run[name] for run in simple] for name in simple[0]}
            results["median random network"] = [run["median network"] for run in runs["random"]]
            results |= {method: [run["test"] for run in runs[method]] for method in METHODS}
            summary = {name: [float(np.mean(v)), float(np.std(v, ddof=1) / seeds**0.5)] for name, v in results.items()}
            found[task.name] = {"figure": task.figure, **summary, "runs": runs}
            Console(width=120).print(table(task, summary, trials, seeds))
    print(json.dumps(found))


if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    main()
