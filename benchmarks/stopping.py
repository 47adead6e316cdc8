"""Is it safe to stop when the outlook says so? False stops, experiments saved, and whether the chances came true.

Campaigns of the recommender (all defaults, 5 random starts) run to a fixed number of experiments or the end of the
pool, and note after every fourth answer (--every) what `outlook` says: the probability p that an untried candidate is
truly better than the truly best tried one by at least delta (its default: the noise that the model sees, or 1 % of the
range measured). The truth is known, so each p can be held against it. The rule "stop as soon as p is below a threshold"
(or has been at two looks in a row) is then applied to the record, which is fair because the rule does not change what
is proposed.
`blend` is the default surrogate, `gp` a Gaussian process alone, with log expected improvement.

    false stops   share of the campaigns that the rule stopped where something better by delta remained, with the 95 %
                  Wilson interval
    used          experiments at the stop, mean (campaigns that were never stopped count with the whole length)
    regret        best true value of the pool less the best true one found, at the stop, in % of the pool's range:
                  mean and 90th percentile, over all campaigns
    reliability   in bins of p, how often something better did remain; equal to the mean p if calibrated

`outlook` is the outlook as it is: the functions of the blend are spread by how far the campaign's own earlier
predictions missed, those of a process are drawn from models with other hyperparameters that the data allow. `fitted`
takes the fitted model at its word, `averaged` draws hyperparameters of the blend's process, too, and spreads nothing.
The blend's way was chosen from these three on the first ten of the seeds that are run here.

Synthetic pools are 400 points of a cube, each seed with a new function (drawn from a Gaussian process whose kind and
length scales the model is not told, or Branin, or Hartmann in six dimensions) and noise of 2 % of its range. With
--data FOLDER (the five data sets of PV-Lab, pvlab_NAME_dataset.csv) pools of real measurements are added; there the
mean over repetitions is both what is measured and the truth.

    python benchmarks/stopping.py [--data FOLDER] [--seeds 20] [--length 45] [--every 4] [--quick]
        [--results FILE]
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import qmc

from matloop.orchestrator.protocols import Array
from matloop.orchestrator.randomness import derive, torch_seed
from matloop.orchestrator.report.statistics import wilson
from matloop.orchestrator.strategies.advice import stopping
from matloop.orchestrator.strategies.advice.worth import Best
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.pool import Pool
from matloop.surrogates.blend import BlendModel
from matloop.surrogates.gaussian_process.gp import GP

OBJECTIVE = Objective("value", "maximise")
STARTS = 5
SIZE = 400
NOISE = 0.02
THRESHOLDS = (0.2, 0.1, 0.05, 0.01)
PATIENCE = (1, 2)
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
VARIANTS = ("outlook", "fitted", "averaged")
SYNTHETIC = {"smooth2": 2, "rough2": 2, "anisotropic4": 4, "branin": 2, "hartmann6": 6}
DATA = {
    "P3HT": ("maximise", "P3HT"),
    "AgNP": ("minimise", "AgNP"),
    "AutoAM": ("maximise", "AutoAM"),
    "Perovskite": ("minimise", "Perovskite"),
    "CrossedBarrel": ("maximise", "Crossed_barrel"),
}


def waves(x: Array, rng: np.random.Generator, scales: Array, student: float) -> Array:
    """(n,) values of a function drawn from a Gaussian process at (n, d) points, by random features.

    Args:
        x: points of the unit cube.
        rng: of the function.
        scales: (d,) length scales.
        student: twice the smoothness of a Matérn kernel; infinite for a squared exponential one.
    """
    features = 1024
    frequencies = rng.normal(size=(features, x.shape[1])) / scales
    if np.isfinite(student):  # spectral density of a Matérn kernel with smoothness student / 2
        frequencies /= np.sqrt(rng.chisquare(student, size=(features, 1)) / student)
    phases = rng.uniform(0, 2 * np.pi, features)
    return np.cos(x @ frequencies.T + phases) @ rng.normal(size=features) * np.sqrt(2 / features)


def branin(x: Array) -> Array:
    """Dixon & Szegö (1978), negated: (n, 2) in the unit square -> (n,)."""
    a, b = 15 * x[:, 0] - 5, 15 * x[:, 1]
    bowl = (b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6) ** 2
    return -(bowl + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10)


def hartmann(x: Array) -> Array:
    """Hartmann in six dimensions (Dixon & Szegö 1978), negated: (n, 6) in the unit cube -> (n,)."""
    from botorch.test_functions import Hartmann

    return -Hartmann(dim=6)(torch.as_tensor(x)).numpy()


def synthetic(name: str, seed: int) -> tuple[Pool, Array, float]:
    """A pool, its true values, larger is better, and the standard deviation of a measurement."""
    rng = derive("stopping", name, seed)
    x = qmc.Sobol(SYNTHETIC[name], rng=rng).random(512)[:SIZE]
    match name:
        case "smooth2":
            truth = waves(x, rng, np.full(2, rng.uniform(0.25, 0.6)), np.inf)
        case "rough2":
            truth = waves(x, rng, np.full(2, rng.uniform(0.15, 0.35)), 3.0)
        case "anisotropic4":
            truth = waves(x, rng, np.array([0.3, 0.6, 1.5, 10.0]), 5.0)
        case "branin":
            truth = branin(x)
        case _:
            truth = hartmann(x)
    points = [{f"x{i}": float(v) for i, v in enumerate(row)} for row in x]
    return Pool(points=points), truth, NOISE * float(np.ptp(truth))


def real(name: str, folder: Path) -> tuple[Pool, Array, float]:
    """The rows of a data set, grouped by inputs, and the mean of the different outcomes, larger is better."""
    direction, file = DATA[name]
    with (folder / f"pvlab_{file}_dataset.csv").open(encoding="utf-8-sig", newline="") as handle:
        header, *rows = [row for row in csv.reader(handle) if row]
    outcomes: dict[tuple[float, ...], set[float]] = {}
    for row in rows:
        *inputs, outcome = map(float, row)
        outcomes.setdefault(tuple(inputs), set()).add(outcome)
    sign = 1.0 if direction == "maximise" else -1.0
    pool = Pool(points=[dict(zip(header[:-1], inputs, strict=True)) for inputs in outcomes])
    return pool, sign * np.array([np.mean(list(values)) for values in outcomes.values()]), 0.0


def recommender(surrogate: str, pool: Pool, seed: int) -> Bayesian:
    """All defaults for the blend; the process alone with the acquisition that it is mostly used with."""
    common: dict[str, Any] = {"space": pool, "objectives": (OBJECTIVE,), "initial": STARTS, "explain": False}
    if surrogate == "blend":
        return Bayesian(**common, seed=seed)
    return Bayesian(**common, surrogate=GP(space=pool), acquisition="log_ei", seed=seed)


def campaign(
    surrogate: str, pool: Pool, truth: Array, noise: float, seed: int, length: int, every: int
) -> dict[str, list[float]]:
    """One campaign's record, from the first answer at which the model is asked."""
    strategy = recommender(surrogate, pool, seed)
    index = {json.dumps(p): i for i, p in enumerate(pool.points)}
    starts = derive("starts", seed).permutation(len(truth))[:STARTS]
    untried = np.ones(len(truth), dtype=bool)
    record: dict[str, list[float]] = {k: [] for k in ("n", *VARIANTS, "better", "regret", "delta")}
    told: list[Trial] = []
    for number in range(min(length, len(truth) - 1)):
        proposal = None
        point = pool.points[int(starts[min(number, STARTS - 1)])]
        if number >= STARTS:
            proposal = strategy.ask(1, (), derive("ask", seed, number))[0]
            point = proposal.point
        i = index[json.dumps(point)]
        untried[i] = False
        value = float(truth[i] + noise * derive("noise", seed, number).normal())
        told.append(
            Trial(id=number, study="s", number=number, point=point, seed=0, state="answered",
                  values={"value": value}, prediction=proposal.prediction if proposal else None,
                  extra=proposal.extra if proposal else {})
        )  # fmt: skip
        strategy.tell(told[-1])
        if number + 1 < STARTS or (number + 1 - STARTS) % every:
            continue
        ahead = strategy.outlook(derive("outlook", seed, number))
        assert ahead is not None
        best = float(truth[~untried].max())
        record["n"].append(number + 1)
        record["outlook"].append(ahead.probability_better)
        for variant in ("fitted", "averaged"):
            record[variant].append(chance(strategy, pool, told, untried, ahead.delta, variant))
        record["better"].append(float(truth[untried].max() >= best + ahead.delta))
        record["delta"].append(ahead.delta)
        record["regret"].append((float(truth.max()) - best) / float(np.ptp(truth)))
    return record


def chance(strategy: Bayesian, pool: Pool, told: Sequence[Trial], untried: Array, delta: float, variant: str) -> float:
    """The probability by functions of the fitted model alone, or of models with other hyperparameters."""
    known = torch.as_tensor(pool.encode([t.point for t in told]))
    rest = torch.as_tensor(pool.encode([p for p, free in zip(pool.points, untried, strict=True) if free]))
    with torch_seed(len(told)), torch.no_grad():
        model = strategy._model()
        models = averaged(model, len(told)) if variant == "averaged" else [model]
        drawn = stopping.draw(models, known, rest[stopping.promising(model, rest, 200)])
        best, others = map(strategy._outcomes().scales.each[0].gains, drawn)
    return float((Best(best, others).gains().amax(dim=1) >= delta).double().mean())


def averaged(model: Any, seed: int) -> Sequence[Any]:
    """Models with other hyperparameters of the process; a blend keeps its trees and their share."""
    if not isinstance(model, BlendModel):
        return stopping.alternatives(model, seed)
    ((process, forest),) = model.pairs
    return [BlendModel([(one, forest)], model.shares).eval() for one in stopping.alternatives(process, seed)]


def stops(records: Sequence[dict[str, Any]], variant: str, threshold: float, patience: int = 1) -> dict[str, Any]:
    """What the rule would have done that stops after `patience` probabilities in a row below the threshold."""
    false, stopped, used, regrets, whole = 0, 0, [], [], []
    for r in records:
        low = np.convolve(np.array(r[variant]) < threshold, np.ones(patience))[: len(r["n"])]
        below = np.flatnonzero(low >= patience)
        at = int(below[0]) if len(below) else len(r["n"]) - 1
        stopped += len(below) > 0
        false += bool(len(below) and r["better"][at])
        used.append(r["n"][at])
        whole.append(r["n"][-1])
        regrets.append(100 * r["regret"][at])
    low, high = wilson(false, stopped)
    return {
        "campaigns": len(records),
        "stopped": stopped,
        "false_stops": false,
        "false_stop_rate": false / stopped if stopped else None,
        "low": low,
        "high": high,
        "used": float(np.mean(used)),
        "used_se": float(np.std(used, ddof=1) / np.sqrt(len(used))) if len(used) > 1 else 0.0,
        "of": float(np.mean(whole)),
        "regret": float(np.mean(regrets)),
        "regret90": float(np.quantile(regrets, 0.9)),
    }


def reliability(records: Sequence[dict[str, Any]], variant: str) -> list[dict[str, float]]:
    """Mean stated probability and observed share in each bin, with a standard error over campaigns."""
    found = []
    rng = derive("bootstrap")
    for low, high in itertools.pairwise(BINS):
        sums = []
        for r in records:
            p, better = np.array(r[variant]), np.array(r["better"])
            inside = (p >= low) & ((p < high) | (high == 1.0))
            sums.append((inside.sum(), p[inside].sum(), better[inside].sum()))
        counts = np.array(sums, dtype=np.float64)
        n, p, hits = counts.sum(axis=0)
        if n:
            picks = rng.integers(len(counts), size=(400, len(counts)))
            again = counts[picks].sum(axis=1)
            shares = again[:, 2][again[:, 0] > 0] / again[:, 0][again[:, 0] > 0]
            found.append(
                {"low": low, "high": high, "n": n, "stated": p / n, "came": hits / n, "se": float(shares.std())}
            )
    return found


def problems(data: Path | None) -> list[str]:
    """Names, synthetic ones first."""
    return [*SYNTHETIC, *(DATA if data is not None else ())]


def show(console: Console, surrogate: str, everything: list[dict[str, Any]]) -> dict[str, Any]:
    """Print the tables of one surrogate; returns what they say."""
    summary: dict[str, Any] = {"problems": {}, "rules": {}, "reliability": {}}
    results: dict[str, list[dict[str, Any]]] = {}
    for record in everything:
        results.setdefault(record["problem"], []).append(record)
    for threshold in (0.2, 0.05):
        table = Table("problem", "campaigns", "stopped", "false stops", "95 %", "used of", "regret %, mean", "90th",
                      title=f"{surrogate}: stop when the probability is below {threshold:.0%}")  # fmt: skip
        for name, records in results.items():
            row = stops(records, "outlook", threshold)
            summary["problems"].setdefault(name, {})[str(threshold)] = row
            table.add_row(name, *_cells(row))
        for kind, names in (("made up", SYNTHETIC), ("measured", DATA)):
            if records := [r for r in everything if r["problem"] in names]:
                row = stops(records, "outlook", threshold)
                summary["problems"].setdefault(kind, {})[str(threshold)] = row
                table.add_row(kind, *_cells(row))
        console.print(table)
    table = Table("outlook", "threshold", "in a row", "campaigns", "stopped", "false stops", "95 %", "used of",
                  "regret %, mean", "90th", title=f"{surrogate}: all problems together")  # fmt: skip
    for variant in VARIANTS:
        summary["rules"][variant] = {}
        for threshold, patience in itertools.product(THRESHOLDS, PATIENCE):
            row = stops(everything, variant, threshold, patience)
            summary["rules"][variant][f"{threshold} x {patience}"] = row
            table.add_row(variant, f"{threshold:.2f}", str(patience), *_cells(row))
    console.print(table)
    table = Table("outlook", "stated", "came true", "± over campaigns", "answers", title=f"{surrogate}: reliability")
    for variant in VARIANTS:
        rows = reliability(everything, variant)
        summary["reliability"][variant] = rows
        for r in rows:
            table.add_row(variant, f"{r['stated']:.3f}", f"{r['came']:.3f}", f"{r['se']:.3f}", f"{r['n']:.0f}")
    console.print(table)
    return summary


def _cells(row: dict[str, float]) -> list[str]:
    return [
        f"{row['campaigns']}",
        f"{row['stopped']}",
        f"{row['false_stops']} of {row['stopped']}",
        f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %",
        f"{row['used']:.1f} ± {row['used_se']:.1f} of {row['of']:.0f}",
        f"{row['regret']:.2f}",
        f"{row['regret90']:.2f}",
    ]


def main() -> None:
    """Run what is not in the results yet, print the tables and, last, one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with pvlab_NAME_dataset.csv")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--length", type=int, default=45, help="experiments of a campaign")
    parser.add_argument("--every", type=int, default=4, help="answers between two looks at the outlook")
    parser.add_argument("--surrogates", nargs="+", choices=("blend", "gp"), default=["blend", "gp"])
    parser.add_argument("--quick", action="store_true", help="2 seeds of 25 experiments")
    parser.add_argument("--results", type=Path, help="JSON lines that a later run goes on from")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this long; go on later")
    options = parser.parse_args()
    seeds, length = (2, 25) if options.quick else (options.seeds, options.length)
    began = time.monotonic()
    torch.set_num_threads(1)
    records: list[dict[str, Any]] = []
    if options.results and options.results.exists():
        records = [json.loads(line) for line in options.results.read_text(encoding="utf-8").splitlines()]
        records = [r for r in records if r["seed"] < seeds and (r["length"], r["every"]) == (length, options.every)]
    done = {(r["surrogate"], r["problem"], r["seed"]) for r in records}
    for seed, surrogate, name in itertools.product(range(seeds), options.surrogates, problems(options.data)):
        if (surrogate, name, seed) in done or time.monotonic() - began > options.seconds:
            continue
        pool, truth, noise = real(name, options.data) if name in DATA else synthetic(name, seed)
        found = campaign(surrogate, pool, truth, noise, seed, length, options.every)
        about = {"surrogate": surrogate, "problem": name, "seed": seed, "length": length, "every": options.every}
        records.append({**about, **found})
        if options.results:
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(records[-1]) + "\n")
    console, summary = Console(width=140), {}
    for surrogate in options.surrogates:
        if of_it := [r for r in records if r["surrogate"] == surrogate]:
            summary[surrogate] = show(console, surrogate, of_it)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
