"""Can one manager feed 25,200 GPUs? SIMULATED workers under the real manager: loop, ledger, dispatcher, evolution.

Nothing here ran on a supercomputer. `hpc/simulate.py` says what is simulated (workers, network, failures) and what is
real: all that the manager does, in the time that it really takes here, with every proposal and result synced to the
disk. The campaign evolves convolutional genomes with the support-vector predictor; the evaluation is a made-up number
whose duration is log-normal (sigma 0.75: one in a hundred takes more than four times the mean).

1. Utilisation: 4,200 nodes of 6 GPUs, evaluations of ten minutes on average; a node fails every ten days on average, so
   one somewhere every three to four minutes (real machines do better), and is back after half an hour. Busy share of
   all worker-seconds, those of failed nodes counted as not busy, once every worker has begun; `ramp_s` is how long that
   takes. `lost` is the share that was spent on evaluations that died with their node.
2. Keeping up: the same machine with evaluations of one minute, 420 answers a second. `keep_up_factor` is the rate of
   answers that the manager sustains when there are always more waiting (6,000 a second), over 420.
3. Utilisation against the number of workers, to 100,800; a picture with `--plot FILE`.
4. Memory: what another trial adds to the manager, over the first and the second half of the keeping-up run.
5. Wall time: jobs of two hours that stop cleanly two minutes before their end, giving up what is in flight, and go on
   from the ledger. `useful` is the share of the jobs' worker-seconds that led to a recorded result.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from matloop.hpc.simulate import Cluster, Machine, Sample, lognormal
from matloop.orchestrator.job import WARNING_S
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.campaign import Campaign
from matloop.orchestrator.loop.stop import Stop
from matloop.orchestrator.loop.study import Plan, Silent, Study
from matloop.orchestrator.strategies.evolution.evolution import Evolution
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.surrogates.fitness_svm import FitnessSVM

DAY_S = 86_400.0
FLOOD_PER_S = 6000.0  # more answers than any manager takes
SUMMIT = Machine(
    nodes=4200, workers_per_node=6, duration=lognormal(600.0), node_mtbf_s=10 * DAY_S, repair_s=1800.0, notice_s=10.0
)
OBJECTIVES = (Objective("error"),)


class MadeUp:
    """A driver that makes up an error from the genome in no time: six layers and much width are best."""

    repeatable = True
    objectives = OBJECTIVES

    def __call__(self, trial: Trial) -> float:
        """See Driver."""
        layers = trial.point["layers"]
        width = sum(layer.get("width", 0) for layer in layers)
        rate = float(np.log10(trial.point["training"]["learning_rate"]))
        noise = float(np.random.default_rng(trial.seed).normal(0.0, 0.02))
        return 1.0 / (1.0 + width / 100.0) + 0.1 * abs(len(layers) - 6) + 0.1 * (rate + 2.5) ** 2 + noise


class Watch(Silent):
    """An observer that looks at the manager's resident memory now and then, and when the last proposal was made."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.process = psutil.Process()
        self.proposed_s = 0.0
        self.answered = 0
        self.seen: list[tuple[int, int]] = []

    def proposed(self, trial: Trial) -> None:
        """See `Observer`."""
        self.proposed_s = self.cluster.clock()

    def finished(self, trial: Trial) -> None:
        """See `Observer`."""
        self.answered += 1
        if self.answered % 100 == 0:
            self.seen.append((self.answered, self.process.memory_info().rss))

    def bytes_per_trial(self, first: float, last: float) -> float:
        """What one more answer adds between two shares of the run, bytes."""
        n = len(self.seen)
        (a, before), (b, after) = self.seen[round(first * n)], self.seen[round(last * n) - 1]
        return (after - before) / (b - a)


@dataclass(frozen=True)
class Run:
    """What came of one simulated job."""

    machine: Machine
    samples: Sequence[Sample]
    watch: Watch
    history: History
    real_s: float

    @property
    def ramp_s(self) -> float:
        """Simulated time by which every worker had begun, to the sample."""
        for before, after in pairwise(self.samples):
            if after.busy_s - before.busy_s >= 0.99 * self.machine.workers * (after.at_s - before.at_s):
                return before.at_s
        return math.inf

    def shares(self) -> dict[str, float]:
        """Of the worker-seconds from when all have begun to the last proposal; of the time, the manager's at work."""
        until_s = self.watch.proposed_s
        since_s = self.ramp_s if self.ramp_s < until_s else until_s / 2
        within = [s for s in self.samples if since_s <= s.at_s <= until_s]
        first, last = within[0], within[-1]
        span_s = last.at_s - first.at_s
        total = self.machine.workers * span_s
        return {
            "busy": (last.busy_s - first.busy_s) / total,
            "lost": (last.lost_s - first.lost_s) / total,
            "down": (last.down_s - first.down_s) / total,
            "manager": (last.manager_s - first.manager_s) / span_s,
            "answers_per_s": (last.answered - first.answered) / span_s,
            "failures": last.failures - first.failures,
        }

    @property
    def screened(self) -> float:
        """Share of the trials that the predictor chose."""
        return float(np.mean([bool(trial.extra.get("screened")) for trial in self.history.trials]))


def search(folder: Path, cluster: Cluster, budget: Budget, *, wall_s: float | None = None, begun_s: float = 0.0) -> Run:
    """Run, or go on with, the campaign in that folder on a simulated machine.

    Args:
        folder: of the ledger.
        cluster: new; its clock is the job's.
        budget: of the campaign.
        wall_s: simulated length of the job, s; None for as long as it takes.
        begun_s: simulated time at which the job begins, s.
    """
    began = time.perf_counter()
    space = ConvNetworks(input=[1, 32, 32])
    study = Study(
        name="search",
        space=space,
        strategy=Evolution(space=space, objectives=OBJECTIVES, population=200, predictor=FitnessSVM()),
        driver=MadeUp(),
        objectives=OBJECTIVES,
        budget=budget,
        attempts=10,
    )
    watch = Watch(cluster)
    with Ledger.open(
        folder / "ledger.db", config={}, environment={"simulated": True}, clock=lambda: begun_s + cluster.clock()
    ) as ledger:
        Campaign(
            plans=[Plan("search", lambda history, store: study)],
            ledger=ledger,
            executor=cluster,
            artifacts=folder,
            observer=watch,
            inbox=cluster.inbox,
            stop=None if wall_s is None else Stop(wall_s, warning_s=WARNING_S, clock=cluster.clock),
        ).run()
        return Run(cluster.machine, cluster.samples, watch, ledger.history, time.perf_counter() - began)


def alone(machine: Machine, *, trials: int | None = None, seconds: float | None = None, sample_s: float = 30.0) -> Run:
    """One job in a folder of its own, for so many trials or simulated seconds."""
    with tempfile.TemporaryDirectory() as folder:
        return search(Path(folder), Cluster(machine, sample_s=sample_s), Budget(trials=trials, seconds=seconds))


def chain(machine: Machine, jobs: int, wall_s: float) -> dict[str, float]:
    """Jobs one after another: share of their worker-seconds that led to results, and what is on record."""
    useful_s, begun_s = 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for job in range(jobs):
            cluster = Cluster(machine, seed=job)
            history = search(Path(folder), cluster, Budget(), wall_s=wall_s, begun_s=begun_s).history
            begun_s += wall_s
        answered = [t for t in history.trials if t.values is not None]
        useful_s = sum((t.finished_at or 0.0) - (t.started_at or 0.0) for t in answered)
    doubled = len(answered) - len({t.id for t in answered})
    return {"useful": useful_s / (machine.workers * jobs * wall_s), "answered": len(answered), "doubled": doubled}


def plot(curves: dict[str, list[tuple[int, float]]], path: Path) -> None:
    """Utilisation against workers."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    for (label, points), colour in zip(curves.items(), ("#1f6f8b", "#c8553d"), strict=True):
        workers, utilisation = zip(*points, strict=True)
        axes.semilogx(workers, 100 * np.array(utilisation), "o-", color=colour, label=label)
    axes.axvline(25_200, color="0.7", linewidth=1, zorder=0)
    axes.annotate("4,200 nodes × 6 GPUs", (25_200, 12), rotation=90, ha="right", va="bottom", color="0.4", fontsize=8)
    axes.set(xlabel="simulated workers", ylabel="busy, %", ylim=(0, 103))
    axes.set_title("Simulated workers under the real manager, on one machine", fontsize=10)
    axes.legend(frameon=False, loc="lower left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> None:
    """Simulate, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the workers, under a minute")
    parser.add_argument("--plot", type=Path, help="file for the picture, e.g. docs/scale.svg")
    parser.add_argument("--data", help="accepted for uniformity; not used")
    arguments = parser.parse_args()
    scale = 60 if arguments.quick else 1
    summit = replace(SUMMIT, nodes=SUMMIT.nodes // scale)
    minute, flood = (replace(summit, duration=lognormal(mean_s)) for mean_s in (60.0, summit.workers / FLOOD_PER_S))
    answers = 2_000 if arguments.quick else 60_000

    console = Console(width=110)
    table = Table(title="SIMULATED workers, real manager (one machine)")
    for column in ("workers", "mean evaluation", "busy", "lost", "manager at work", "answers/s", "real time"):
        table.add_column(column, justify="right")

    def note(run: Run, mean: str) -> dict[str, float]:
        shares = run.shares()
        table.add_row(
            f"{run.machine.workers:,}",
            mean,
            f"{shares['busy']:.2%}",
            f"{shares['lost']:.3%}",
            f"{shares['manager']:.1%}",
            f"{shares['answers_per_s']:,.0f}",
            f"{run.real_s:,.0f} s",
        )
        return shares

    curves: dict[str, list[tuple[int, float]]] = {"evaluations of 10 min": [], "evaluations of 1 min": []}
    long = alone(summit, seconds=1800.0 if arguments.quick else 3600.0)
    shares_long = note(long, "10 min")
    keeping = alone(minute, trials=summit.workers + 2 * answers, sample_s=10.0)
    shares_keeping = note(keeping, "1 min")
    curves["evaluations of 10 min"].append((summit.workers, shares_long["busy"]))
    curves["evaluations of 1 min"].append((summit.workers, shares_keeping["busy"]))
    flooded = alone(flood, trials=summit.workers + answers // 2, sample_s=0.1)
    capacity = note(flooded, f"{summit.workers / FLOOD_PER_S:.2g} s")["answers_per_s"]
    for nodes in (10,) if arguments.quick else (100, 1000, 16_800):
        for points, mean_s in zip(curves.values(), (600.0, 60.0), strict=True):
            machine = replace(summit, nodes=nodes, duration=lognormal(mean_s))
            trials = machine.workers + (1_000 if arguments.quick else 30_000)
            run = alone(machine, trials=trials, sample_s=10.0)
            points.append((machine.workers, note(run, "10 min" if mean_s > 60 else "1 min")["busy"]))
    jobs = chain(replace(summit, nodes=max(1, summit.nodes // 10)), jobs=3, wall_s=7200.0)
    console.print(table)
    for points in curves.values():
        points.sort()
    if arguments.plot:
        plot(curves, arguments.plot)
    print(
        json.dumps(
            {
                "simulated": True,
                "workers": summit.workers,
                "utilisation_25200": round(shares_long["busy"], 5),
                "lost_25200": round(shares_long["lost"], 6),
                "failures_25200": int(shares_long["failures"]),
                "ramp_s": round(long.ramp_s, 1),
                "utilisation_25200_1min": round(shares_keeping["busy"], 5),
                "manager_at_work_1min": round(shares_keeping["manager"], 4),
                "keep_up_factor": round(capacity / (summit.workers / 60.0), 2),
                "capacity_per_s": round(capacity),
                "screened_1min": round(keeping.screened, 3),
                "bytes_per_trial": round(keeping.watch.bytes_per_trial(0.3, 1.0)),
                "bytes_per_trial_halves": [
                    round(keeping.watch.bytes_per_trial(*part)) for part in ((0.3, 0.65), (0.65, 1.0))
                ],
                "utilisation_by_workers": curves,
                "jobs_of_2_h": jobs,
            }
        )
    )


if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    main()
