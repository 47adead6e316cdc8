"""From data of one's own to a network: ten minutes of search on two cores, beside networks that people make by hand.

Four kinds of data, each made of public files (`--data FOLDER`, or MATLOOP_DATA) or computed here:

composition     20,000 formulas with formation energies: fractions and 138 attributes; mean absolute error, eV/atom
sites           perovskites by the elements on their sites; mean absolute error, eV/atom
segmentation    superalloy micrographs with three classes; mean intersection over union on whole test images
homogenisation  two-phase volumes of 21³ voxels and their stiffness; mean absolute error over the mean, %

What is run is what a user would run: a campaign file with `data:`, and `matloop run`. The search sees rows to train on
and rows to choose by; test rows are fixed in the file and choose nothing. Short trainings search, a longer one of each
of the best decides, within the same ten minutes. The winner and references are then trained anew with `--seeds` seeds
each, for the same seconds on one core (`reference:` of the campaign). The hand-made network
of `own/hand_made.py` has a plain loop of its own, the same rows, the same seconds and the same arithmetic: products in
bfloat16 where the CPU has it. Figures are computed here from the predictions for the test rows that the campaign has on
record.

Printed: a table of all, with standard deviations over seeds and what the search cost in all; then one line of JSON.
`residual` there is the hand-made network. `memory_mb` is the most that all processes of `matloop run` together had,
`overrun` by what share the trial that overran its seconds most did so. Results stay in `--out FOLDER`, and a run that
was stopped goes on there. `--quick` runs all of it on little data and proves nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from own import watch
from own.kinds import KINDS, Kind
from rich.console import Console
from rich.table import Table

from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.sources.registry import source
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.trial import Trial, seconds

CORES = 2
STRATEGY = {"kind": "evolution", "population": 6, "tournament": 3}
HAND_MADE = "hand-made"
WINNER = "winner"


@dataclass(frozen=True)
class Plan:
    """How much is done.

    Attributes:
        search_s: wall time of the search, the finalists included.
        trial_s: of one of its trials.
        final_s: of each finalist, and of each training that is compared.
        finalists: how many.
        seeds: of each.
        rows: most of the data.
    """

    search_s: float
    trial_s: float
    final_s: float
    finalists: int
    seeds: int
    rows: int = 10**9


def campaign(kind: Kind, plan: Plan) -> dict[str, Any]:
    """What stands in the campaign file."""
    driver = {**kind.study["driver"], "precision": "mixed", "budget": {"seconds": plan.trial_s}}
    longer = {**driver, "budget": {"seconds": plan.final_s}}
    study = {"strategy": STRATEGY, "objectives": {"validation_mae": "minimise"}, **kind.study, "driver": driver}
    again = {"kind": "confirmation", "data": {"from": "search"}}
    finals = {"space": {"from": "search"}, "driver": longer, "strategy": again, "objectives": study["objectives"]}
    studies = {
        "search": {**study, "budget": {"seconds": plan.search_s - plan.finalists * plan.final_s / CORES}},
        "finals": {
            **finals,
            "budget": {"trials": plan.finalists},
            "reference": {"kinds": [*kind.references], "seeds": plan.seeds, "tuned": False},
        },
    }
    executor = {"kind": "local", "slots": CORES, "threads": 1}
    return {"name": kind.name, "seed": 0, "executor": executor, "studies": studies}


def run(kind: Kind, plan: Plan, folder: Path, data: Path) -> tuple[History, float]:
    """Make the data once, run the campaign to its end, and say how much memory it took at most, MB."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "campaign.yaml"
    if not file.exists():
        kind.prepare(folder, data, plan.rows)
    file.write_text(yaml.safe_dump(campaign(kind, plan), sort_keys=False))
    command = [sys.executable, "-m", "matloop", "run", str(file), "--dir", str(folder / "run"), "--accept-changes"]
    code, peak = watch.run(command, folder / "log.txt")
    if code:
        raise SystemExit(f"matloop run ended with {code}; see {folder / 'log.txt'}")
    kept = folder / "memory.json"  # a run that goes on later keeps the highest
    peak = max(peak, json.loads(kept.read_text()) if kept.exists() else 0.0)
    kept.write_text(json.dumps(peak))
    return read(folder / "run" / "ledger.db"), peak


def figures(kind: Kind, trial: Trial, store: ArtifactStore) -> dict[str, float]:
    """Of one training's predictions for the test rows."""
    found = store.load(trial.artifacts["test_predictions"])
    return kind.score(found["measured"], found["predicted"])


def by_hand(name: str, folder: Path, seed: int, final_s: float) -> dict[str, float]:
    """Of the hand-made network by one seed; in a process of its own."""
    import torch

    torch.set_num_threads(1)
    kind = KINDS[name]
    options = dict(yaml.safe_load((folder / "campaign.yaml").read_text())["studies"]["search"]["driver"])["data"]
    given = folder / options if isinstance(options, str) else {**options, "path": folder / options["path"]}
    data = load(source(given))
    assert data.parts is not None
    return kind.score(data.y[data.parts == "test"], kind.hand_made(data, seed, final_s))


def hand_made(kind: Kind, plan: Plan, folder: Path) -> list[dict[str, float]]:
    """Of the hand-made network by each seed, as many at a time as there are cores; what is on file is not repeated."""
    file = folder / "hand_made.json"
    known: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}
    wanted = [f"{seed} for {plan.final_s:g} s" for seed in range(plan.seeds)]
    missing = [i for i, key in enumerate(wanted) if key not in known]
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        running = {i: pool.submit(by_hand, kind.name, folder, i, plan.final_s) for i in missing}
        for i, future in running.items():
            known[wanted[i]] = future.result()
            file.write_text(json.dumps(known, indent=1))
    return [known[key] for key in wanted]


@dataclass(frozen=True)
class Outcome:
    """Of one kind.

    Attributes:
        figures: of each seed, by competitor.
        seconds: mean duration of a training, by competitor.
        trials: of the search, finished with values.
        search_s: wall time of the search, and that of all its trials on all cores.
        overrun: largest share by which a trial's seconds were exceeded.
        memory_mb: most.
    """

    figures: dict[str, list[dict[str, float]]]
    seconds: dict[str, float]
    trials: int
    search_s: tuple[float, float]
    overrun: float
    memory_mb: float

    def mean(self, name: str, figure: str) -> float:
        """Over seeds."""
        return float(np.mean([found[figure] for found in self.figures[name]]))


def compare(kind: Kind, plan: Plan, folder: Path, data: Path) -> Outcome:
    """Run all of one kind."""
    history, memory = run(kind, plan, folder, data)
    store = ArtifactStore(folder / "run" / "artifacts")
    begun = [(t, plan.trial_s) for t in history.of("search")] + [(t, plan.final_s) for t in history.of("finals")]
    searched = [(t, limit) for t, limit in begun if t.values is not None]
    trained: dict[str, list[Trial]] = {}
    for trial in history.of("finals-references"):
        if trial.values is not None:
            trained.setdefault(str(trial.point["reference"]), []).append(trial)
    found = {name: [figures(kind, trial, store) for trial in trials] for name, trials in trained.items()}
    found[HAND_MADE] = hand_made(kind, plan, folder)
    spent = {name: float(np.mean([seconds(t) for t in trials])) for name, trials in trained.items()}
    limits = searched + [(t, plan.final_s) for trials in trained.values() for t in trials]
    return Outcome(
        figures=found,
        seconds=spent | {HAND_MADE: plan.final_s},
        trials=len(searched),
        search_s=(history.elapsed_s["search"] + history.elapsed_s["finals"], sum(seconds(t) for t, _ in begun)),
        overrun=max(seconds(trial) / limit - 1 for trial, limit in limits),
        memory_mb=memory,
    )


def table(kind: Kind, outcome: Outcome) -> Table:
    """For people."""
    wall, busy = outcome.search_s
    title = f"{kind.name}: search of {wall:.0f} s, {outcome.trials} trials of {busy:.0f} s on {CORES} cores"
    shown = Table(title=title, min_width=80)
    for column in ("", *next(iter(outcome.figures.values()))[0], "seconds", "seeds"):
        shown.add_column(column, justify="left" if not column else "right")
    sign = -1 if kind.larger else 1
    for name, seeds in sorted(outcome.figures.items(), key=lambda pair: sign * outcome.mean(pair[0], kind.figure)):
        spread = [
            f"{np.mean(values):.4f} ± {np.std(values, ddof=1) if len(values) > 1 else np.nan:.4f}"
            for values in ([found[figure] for found in seeds] for figure in seeds[0])
        ]
        shown.add_row(name, *spread, f"{outcome.seconds[name]:.1f}", str(len(seeds)))
    return shown


def summary(kind: Kind, outcome: Outcome) -> dict[str, Any]:
    """For programs."""

    def of(name: str, **more: Any) -> dict[str, Any]:
        means = {figure: round(outcome.mean(name, figure), 5) for figure in outcome.figures[name][0]}
        return means | more | {"seconds": round(outcome.seconds[name], 1)}

    named = {"residual": HAND_MADE} if kind.name == "composition" else {"hand_made": HAND_MADE}
    if kind.name == "composition":
        named = {name: name for name in ("gradient_boosting", "random_forest", "elemnet")} | named
    return {
        "evolved": of(WINNER, trials=outcome.trials),
        **{key: of(name) for key, name in named.items()},
        "memory_mb": round(outcome.memory_mb) if math.isfinite(outcome.memory_mb) else None,
        "overrun": round(outcome.overrun, 4),
    }


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(KINDS), default="composition", help="kind of data")
    parser.add_argument("--data", type=Path, default=os.environ.get("MATLOOP_DATA"), help="folder of public data")
    parser.add_argument("--out", type=Path, help="folder of results; by default one that is removed")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each competitor")
    parser.add_argument("--search", type=float, default=600.0, help="wall time of the search, s")
    parser.add_argument("--quick", action="store_true", help="little data, seconds instead of minutes")
    arguments = parser.parse_args()
    kind = KINDS[arguments.only]
    if arguments.data is None and kind.name != "homogenisation":
        print(json.dumps({"skipped": "needs public data: --data FOLDER or MATLOOP_DATA"}))
        return
    plan = Plan(arguments.search, kind.trial_s, kind.final_s, kind.finalists, arguments.seeds)
    if arguments.quick:
        plan = Plan(search_s=8.0, trial_s=2.0, final_s=2.0, finalists=2, seeds=2, rows=200)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(arguments.out or folder) / (f"{kind.name}-quick" if arguments.quick else kind.name)
        outcome = compare(kind, plan, out.absolute(), Path(arguments.data or "."))
    Console(width=120).print(table(kind, outcome))
    found = summary(kind, outcome)
    whole = not arguments.quick and arguments.seeds >= 5 and arguments.search == 600
    print(json.dumps(found if whole else {"short": found}))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the campaign is ended, too
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    main()
