"""Honest uncertainty on formation energies from composition, and whether it pays in looking for the best of them.

Formation energies of OQMD compounds (eV/atom) from some 140 statistics of their elements: 10,000 rows to learn from,
10,000 others to be tested on, drawn anew for each seed. A few entries up to 43.5 are not physical; values are clipped
to 5 eV/atom either way. Methods:

mc_dropout_raw           standard deviation over dropout masks, as it comes
mc_dropout_scaled        scaled on held-out rows, intervals of a Gaussian
mc_dropout_recalibrated  the same standard deviations, intervals from held-out quantiles
ensemble                 3 folds of 2 networks with variance heads, scaled
gp                       exact, on 3,000 of the rows, length scales from 1,000

The search for the most stable 1 % of the 10,000 starts from 100 rows and adds 50 at a time by MC dropout; random choice
beside it. Whether uncertainty pays in learning all of them is for `active_learning.py` to say.

Run: python benchmarks/calibration.py --data FOLDER [--quick] [--results FILE]
A results file is added to after each part and read at the start, so that a long run can be continued.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table
from scipy.special import ndtri

from matloop.orchestrator.randomness import derive
from matloop.search_spaces.formulas import featurise
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.networks.dropout import MCDropout
from matloop.surrogates.networks.ensemble import Ensemble
from matloop.surrogates.uncertainty.calibration import Quantiles
from matloop.surrogates.uncertainty.metrics import Scores, scores

Array = npt.NDArray[np.float64]

FILE = Path("composition/oqmd_formation_energy.csv")
CLIP = 5.0
METHODS = ("mc_dropout_raw", "mc_dropout_scaled", "mc_dropout_recalibrated", "ensemble", "gp")
CHUNK = 1000


class Problem:
    """Rows to learn from and rows to be tested on."""

    def __init__(self, data: Path, size: int, seed: int) -> None:
        with (data / FILE).open(newline="") as file:
            rows = list(csv.DictReader(file))
        order = derive("calibration", seed).permutation(len(rows))[: 2 * size]
        formulas = [rows[i]["formula"] for i in order]
        x = featurise(formulas)
        y = np.clip([float(rows[i]["target"]) for i in order], -CLIP, CLIP)
        x = x[:, x.std(axis=0) > 1e-9]
        self.formulas = formulas[:size]
        self.x, self.y = x[:size], y[:size]
        self.x_test, self.y_test = x[size:], y[size:]


def predict(model: Any, x: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of measurements at (n, d) points, each (n,)."""
    parts = []
    with torch.no_grad():
        for chunk in torch.as_tensor(x).split(CHUNK):
            posterior = model.posterior(chunk, observation_noise=True)
            parts.append((posterior.mean.flatten(), posterior.variance.sqrt().flatten()))
    mean, std = (torch.cat(columns).numpy() for columns in zip(*parts, strict=True))
    return mean, std


def fit(surrogate: Any, x: Array, y: Array, seed: int) -> Any:
    """Fitted to (n, d) and (n,)."""
    return surrogate.fit(torch.as_tensor(x), torch.as_tensor(y)[:, None], seed)


def calibration(problem: Problem, family: str, seed: int, steps: int | None) -> dict[str, dict[str, float]]:
    """Figures of the methods of a family: dropout, ensemble or gp."""
    started = time.process_time()
    found: dict[str, Scores] = {}
    if family == "dropout":
        model = fit(MCDropout(steps=steps), problem.x, problem.y, seed)
        mean, std = predict(model, problem.x_test)
        raw = raw_spread(model, problem.x_test)
        found["mc_dropout_raw"] = scores(mean, raw, problem.y_test)
        scaled = found["mc_dropout_scaled"] = scores(mean, std, problem.y_test)
        levels = Quantiles.of(model.held_out.numpy()).level(mean, std, problem.y_test)
        # On the scale where the recalibrated distribution is a standard Gaussian, its intervals can be scored as one.
        even = scores(np.zeros_like(levels), np.ones_like(levels), ndtri(levels))
        recalibrated = as_dict(scaled) | {k: v for k, v in as_dict(even).items() if "cover" in k or "area" in k}
    elif family == "ensemble":
        model = fit(Ensemble(folds=3, members=2, steps=steps), problem.x, problem.y, seed)
        found["ensemble"] = scores(*predict(model, problem.x_test), problem.y_test)
    else:
        model = fit(GP(max_iterations=60), problem.x[:3000], problem.y[:3000], seed)
        found["gp"] = scores(*predict(model, problem.x_test), problem.y_test)
    result = {method: as_dict(score) for method, score in found.items()}
    if family == "dropout":
        result["mc_dropout_recalibrated"] = recalibrated
    for figures in result.values():
        figures["seconds"] = time.process_time() - started
    return result


def raw_spread(model: Any, x: Array) -> Array:
    """Standard deviation over the dropout functions, neither scaled nor with anything added, in eV/atom."""
    with torch.no_grad():
        parts = [model.raw(chunk)[0].flatten(0, 1).std(dim=0) for chunk in torch.as_tensor(x).split(CHUNK)]
    spread: Array = (torch.cat(parts).double() * model.y_std).flatten().numpy()
    return spread


def as_dict(score: Scores) -> dict[str, float]:
    """Flat figures of a row."""
    return {
        "mae": score.mae,
        "miscalibration_area": score.miscalibration_area,
        "coverage50": score.coverage[0.5],
        "coverage90": score.coverage[0.9],
        "coverage95": score.coverage[0.95],
        "sharpness": score.sharpness,
        "nll": score.nll,
        "crps": score.crps,
    }


def search(problem: Problem, policy: str, seed: int, most: int) -> dict[str, float]:
    """Share of the most stable 1 % found after each number of rows measured."""
    rng = derive("search", policy, seed)
    stable = np.argsort(problem.y)[: len(problem.y) // 100]
    known = derive("start", seed).permutation(len(problem.y))[:100]
    curve: dict[str, float] = {}
    while True:
        curve[str(len(known))] = float(np.isin(stable, known).mean())
        if len(known) >= most:
            return curve
        rest = np.setdiff1d(np.arange(len(problem.y)), known)
        if policy == "random":
            score = rng.random(len(rest))
        else:
            mean, std = predict(fit(MCDropout(rate=0.1), problem.x[known], problem.y[known], seed), problem.x[rest])
            score = mean if policy == "prediction" else mean - std
        known = np.concatenate([known, rest[np.argsort(score)[:50]]])


PARTS: Mapping[str, tuple[str, ...]] = {
    "calibration": ("dropout", "gp", "ensemble"),
    "search": ("random", "prediction", "uncertainty"),
}


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All records, those of the results file included."""
    size, most, steps = (500, 200, 100) if options.quick else (10_000, 800, options.steps)
    seeds = 1 if options.quick else options.seeds
    records: list[dict[str, Any]] = []
    if options.results and options.results.exists():
        records = [json.loads(line) for line in options.results.read_text().splitlines()]
    done = {(r["part"], r["name"], r["seed"], r["size"]) for r in records}
    started = time.monotonic()
    problems: dict[int, Problem] = {}
    for part, names in PARTS.items():
        for seed, name in [(seed, name) for seed in range(seeds) for name in names]:
            if (part, name, seed, size) in done:
                continue
            if options.minutes and time.monotonic() - started > 60 * options.minutes:
                break
            if seed not in problems:
                problems[seed] = Problem(options.data, size, seed)
            problem = problems[seed]
            if part == "calibration":
                figures: Any = calibration(problem, name, seed, steps)
            else:
                figures = search(problem, name, seed, most)
            records.append({"part": part, "name": name, "seed": seed, "size": size, "figures": figures})
            if options.results:
                with options.results.open("a") as file:
                    file.write(json.dumps(records[-1]) + "\n")
    return [r for r in records if r["size"] == size]


def summary(records: list[dict[str, Any]], console: Console) -> dict[str, Any]:
    """Print tables; return the figures of the last line."""
    result: dict[str, Any] = {}
    table = Table("method", "MAE eV/atom", "miscalibration", "50 %", "90 %", "95 %", "NLL", "CRPS", "s", "seeds")
    for method in METHODS:
        found = [r["figures"][method] for r in records if r["part"] == "calibration" and method in r["figures"]]
        if not found:
            continue
        mean = {key: float(np.mean([f[key] for f in found])) for key in found[0]}
        spread = {key: float(np.std([f[key] for f in found])) for key in found[0]}
        result[method] = {key: round(value, 4) for key, value in mean.items()}
        result[method] |= {"seeds": len(found), "spread": {key: round(value, 4) for key, value in spread.items()}}
        names = ("mae", "miscalibration_area", "coverage50", "coverage90", "coverage95", "nll", "crps")
        cells = [f"{mean[name]:.3f}±{spread[name]:.3f}" for name in names]
        table.add_row(method, *cells, f"{mean['seconds']:.0f}", str(len(found)))
    console.print(table)
    curves: dict[str, list[dict[str, float]]] = {}
    for record in records:
        if record["part"] == "search":
            curves.setdefault(record["name"], []).append(record["figures"])
    if curves:
        counts = list(next(iter(curves.values()))[0])
        table = Table("share of the most stable 1 % found", *counts, "seeds")
        result["search"] = {}
        for name, seeds in curves.items():
            values = np.array([[curve[n] for n in counts] for curve in seeds])
            table.add_row(name, *(f"{m:.3f}±{s:.3f}" for m, s in zip(values.mean(0), values.std(0), strict=True)),
                          str(len(values)))  # fmt: skip
            result["search"][name] = dict(zip(counts, values.mean(axis=0).round(4).tolist(), strict=True))
        console.print(table)
    return result


def main() -> None:
    """Print tables and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("MATLOOP_DATA"), help="folder with composition/")
    parser.add_argument("--quick", action="store_true", help="500 rows, short trainings, one seed: under a minute")
    parser.add_argument("--results", type=Path, help="file that parts are added to and taken from")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000, help="of each training on 10,000 rows")
    parser.add_argument("--minutes", type=float, help="begin nothing new after so long; go on later with --results")
    options = parser.parse_args()
    if options.data is None or not (Path(options.data) / FILE).exists():
        print(f"needs --data FOLDER with {FILE} (or MATLOOP_DATA); see docs/benchmarks.md")
        print(json.dumps({}))
        return
    options.data = Path(options.data)
    torch.set_num_threads(1)
    console = Console(width=140)
    records = measure(options)
    print(json.dumps(summary(records, console)))


if __name__ == "__main__":
    main()
