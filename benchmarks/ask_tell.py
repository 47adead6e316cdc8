"""Time that asking and telling take of the loop's thread, per point: evolution with its predictor, beside Optuna.

A box of 12 mixed parameters. matloop's evolution is asked through the loop's own `BackgroundAsker`, with answers that
arrive at random at a steady mean rate, so that its other thread fits, breeds and screens (and competes for Python's
interpreter lock) while this one is timed. For each answer the answered trial is told, and one new one is asked for and
counted as pending. `screened` is the share of proposals that the predictor had a hand in; the rest were the filler's,
or meant to go unscreened. `late` is how long after its due time an answer was taken up. Points are told beforehand: n
random ones.

Times are by the wall clock, so what else the machine does is in them: `CPU` is what of it this thread computed, and
`no predictor` is the same with no other thread, which shows how calm the machine was. `screened at once` is what
evolution with its predictor costs where a single slot lets the loop wait for it. Optuna's samplers have it easier:
nothing else runs, and one trial is in flight.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import optuna
from rich.console import Console
from rich.table import Table

from matloop.orchestrator.loop.asker import Asker, BackgroundAsker
from matloop.orchestrator.loop.proposer import ProcessProposer
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.evolution.evolution import Evolution
from matloop.orchestrator.trial import Objective, Point, Proposal, Trial
from matloop.search_spaces.box import Box
from matloop.surrogates.fitness_svm import FitnessSVM

RATE = 400.0  # answers/s
IN_FLIGHT = 64
OBJECTIVES = (Objective("loss"),)
SPACE = Box(
    parameters={f"x{i}": {"type": "float", "low": -2.0, "high": 2.0} for i in range(3)}
    | {f"r{i}": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True} for i in range(3)}
    | {f"k{i}": {"type": "integer", "low": 1, "high": 16} for i in range(3)}
    | {f"c{i}": {"type": "categorical", "choices": ["a", "b", "c", "d"]} for i in range(3)}
)


def loss(point: Point) -> float:
    """Smooth in the numbers, with a best choice of each kind."""
    return float(((SPACE.encode([point])[0] - 0.3) ** 2).sum())


@dataclass
class Times:
    """Milliseconds of the loop's thread, one an answer; and what else was seen."""

    point_ms: np.ndarray
    cpu_ms: np.ndarray | None = None
    late_ms: np.ndarray | None = None
    screened: float | None = None

    def summary(self) -> dict[str, float]:
        """What the JSON line tells."""
        told = {
            "median_ms": float(np.median(self.point_ms)),
            "p99_ms": float(np.quantile(self.point_ms, 0.99)),
            "max_ms": float(self.point_ms.max()),
        }
        if self.cpu_ms is not None:
            told |= {
                "cpu_median_ms": float(np.median(self.cpu_ms)),
                "cpu_p99_ms": float(np.quantile(self.cpu_ms, 0.99)),
            }
        if self.late_ms is not None and self.screened is not None:
            told |= {"late_p99_ms": float(np.quantile(self.late_ms, 0.99)), "screened": self.screened}
        return {name: round(value, 4) for name, value in told.items()}


class Desk:
    """The loop's part of asking and telling: numbers trials, keeps some in flight, answers the oldest."""

    def __init__(self, asker: Asker, n: int, in_flight: int, seed: int) -> None:
        self.asker, self.seed, self.numbers = asker, seed, count()
        self.flying: deque[Trial] = deque()
        rng = derive("told", seed)
        for _ in range(n):
            asker.tell(self.answered(self.trial(Proposal(point=SPACE.sample(rng)))))
        for _ in range(in_flight):
            self.flying.append(self.trial(Proposal(point=SPACE.sample(rng))))
            asker.proposed(self.flying[-1])

    def trial(self, proposal: Proposal) -> Trial:
        """As the ledger would make it."""
        number = next(self.numbers)
        return Trial(
            id=number,
            study="s",
            number=number,
            point=proposal.point,
            seed=0,
            parents=proposal.parents,
            extra=proposal.extra,
        )

    @staticmethod
    def answered(trial: Trial) -> Trial:
        """With its loss."""
        return replace(trial, state="answered", values={"loss": loss(trial.point)})

    def turn(self) -> tuple[float, float, list[Trial]]:
        """Tell the oldest answer and ask for one more; returns the seconds, CPU seconds and new trials of it."""
        answer = self.answered(self.flying.popleft())
        generator = derive("turn", self.seed, answer.id)
        began, cpu_began = time.perf_counter(), time.thread_time()
        self.asker.tell(answer)
        proposals = self.asker.ask(1, lambda role: generator)
        new = [self.trial(proposal) for proposal in proposals]
        for trial in new:
            self.asker.proposed(trial)
        seconds, cpu_seconds = time.perf_counter() - began, time.thread_time() - cpu_began
        self.flying.extend(new)
        return seconds, cpu_seconds, new


def evolution(predictor: FitnessSVM | None) -> Evolution:
    """As a campaign file with no options would have it."""
    return Evolution(space=SPACE, objectives=OBJECTIVES, predictor=predictor)


def at_rate(asker: Asker, n: int, turns: int, in_flight: int, seed: int) -> Times:
    """Answers at `RATE`; those of the first second, in which the other thread hears of what was told, do not count."""
    desk = Desk(asker, n, in_flight, seed)
    desk.turn()
    while asker.busy:
        time.sleep(0.01)
        asker.ask(0, lambda role: derive(role))
    warm = int(RATE)
    due = time.perf_counter() + np.cumsum(derive("due", seed).exponential(1 / RATE, turns + warm))
    point_ms, cpu_ms, late_ms, screened = [], [], [], []
    for at in due:
        time.sleep(max(0.0, at - time.perf_counter()))
        late_ms.append(1e3 * (time.perf_counter() - at))
        seconds, cpu_seconds, new = desk.turn()
        point_ms.append(1e3 * seconds)
        cpu_ms.append(1e3 * cpu_seconds)
        screened += [trial.extra["screened"] for trial in new]
    asker.close()
    measured = (np.array(values[warm:]) for values in (point_ms, cpu_ms, late_ms))
    return Times(*measured, screened=float(np.mean(screened[warm:])))


def background(n: int, turns: int, in_flight: int, seed: int) -> Times:
    """Evolution with its predictor in another process."""
    strategy = evolution(FitnessSVM())
    asker = BackgroundAsker(ProcessProposer(strategy.maker()), strategy.filler(), lambda: None, tuple)
    return at_rate(asker, n, turns, in_flight, seed)


def alone(n: int, turns: int, in_flight: int, seed: int) -> Times:
    """Evolution without a predictor, and nothing beside it."""
    return at_rate(Asker(evolution(None)), n, turns, in_flight, seed)


def at_once(n: int, turns: int, seed: int) -> Times:
    """One slot: the loop waits for fits and screening."""
    desk = Desk(Asker(evolution(FitnessSVM())), n, 1, seed)
    desk.turn()
    return Times(1e3 * np.array([desk.turn()[0] for _ in range(turns)]))


def peer(sampler: Callable[[int], optuna.samplers.BaseSampler], n: int, turns: int, seed: int) -> Times:
    """Optuna in memory, one trial in flight."""
    study = optuna.create_study(sampler=sampler(seed))
    rng = derive("told", seed)
    distributions: dict[str, Any] = {
        **{f"x{i}": optuna.distributions.FloatDistribution(-2.0, 2.0) for i in range(3)},
        **{f"r{i}": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True) for i in range(3)},
        **{f"k{i}": optuna.distributions.IntDistribution(1, 16) for i in range(3)},
        **{f"c{i}": optuna.distributions.CategoricalDistribution(["a", "b", "c", "d"]) for i in range(3)},
    }
    for _ in range(n):
        point = SPACE.sample(rng)
        study.add_trial(optuna.create_trial(params=point, distributions=distributions, value=loss(point)))
    times = []
    for turn in range(turns + 1):
        began = time.perf_counter()
        trial = study.ask(distributions)
        asked = time.perf_counter() - began
        value = loss(trial.params)
        began = time.perf_counter()
        study.tell(trial, value)
        if turn:  # the first one fills caches
            times.append(1e3 * (asked + time.perf_counter() - began))
    return Times(np.array(times))


def rows(quick: bool) -> Iterator[tuple[str, int, int, list[Times]]]:
    """Name, trials told, trials in flight, times by seed."""
    seeds = range(1 if quick else 3)
    turns = 600 if quick else 2000
    sizes = [(100, IN_FLIGHT), (1000, IN_FLIGHT), (10_000, IN_FLIGHT)]
    sizes += [] if quick else [(10_000, 25_200), (100_000, IN_FLIGHT)]
    for n, in_flight in sizes:
        yield "matloop", n, in_flight, [background(n, turns, in_flight, seed) for seed in seeds]
    yield "matloop, no predictor", 10_000, IN_FLIGHT, [alone(10_000, turns, IN_FLIGHT, seed) for seed in seeds]
    for n in (100, 1000, 10_000):
        yield "matloop, screened at once", n, 1, [at_once(n, 10 if quick else 100, seed) for seed in seeds]
    peers = {"optuna_tpe": optuna.samplers.TPESampler, "optuna_nsga2": optuna.samplers.NSGAIISampler}
    for name, sampler in peers.items():
        for n, repeats in ((100, 100), (1000, 30), (10_000, 10)):
            few = max(3, repeats // 5) if quick else repeats
            yield name, n, 1, [peer(lambda seed, s=sampler: s(seed=seed), n, few, seed) for seed in seeds]  # type: ignore[misc]


def main() -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed and fewer points, under 60 s")
    parser.add_argument("--data", help="accepted for uniformity; not used")
    quick = parser.parse_args().quick
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    table = Table(title=f"Ask + tell on the loop's thread, per point; answers at {RATE:.0f}/s (shared machine)")
    for column in (
        "",
        "told",
        "in flight",
        "median, ms",
        "p99, ms (by seed)",
        "max, ms",
        "CPU p99, ms",
        "late p99, ms",
        "screened",
    ):
        table.add_column(column, justify="right" if column else "left")
    summaries: dict[tuple[str, int, int], dict[str, Any]] = {}
    for name, n, in_flight, by_seed in rows(quick):
        cpu = [times.cpu_ms for times in by_seed if times.cpu_ms is not None]
        late = [times.late_ms for times in by_seed if times.late_ms is not None]
        shares = [times.screened for times in by_seed if times.screened is not None]
        pooled = Times(
            np.concatenate([times.point_ms for times in by_seed]),
            np.concatenate(cpu) if cpu else None,
            np.concatenate(late) if late else None,
            float(np.mean(shares)) if shares else None,
        )
        summary: dict[str, Any] = pooled.summary()
        p99 = sorted(times.summary()["p99_ms"] for times in by_seed)
        summary |= {"p99_ms_spread": [p99[0], p99[-1]], "points": len(pooled.point_ms)}
        summaries[name, n, in_flight] = summary
        table.add_row(
            name,
            f"{n:,}",
            f"{in_flight:,}",
            f"{summary['median_ms']:.3f}",
            f"{summary['p99_ms']:.2f} ({p99[0]:.2f} to {p99[-1]:.2f})",
            f"{summary['max_ms']:.1f}",
            f"{summary['cpu_p99_ms']:.2f}" if cpu else "",
            f"{summary['late_p99_ms']:.2f}" if late else "",
            f"{summary['screened']:.0%}" if shares else "",
        )
    Console(width=140).print(table)
    ours = summaries["matloop", 10_000, IN_FLIGHT]
    print(
        json.dumps(
            {
                "median_ms": ours["median_ms"],
                "p99_ms": ours["p99_ms"],
                "peers": {
                    name: {key: summaries[name, 10_000, 1][key] for key in ("median_ms", "p99_ms")}
                    for name in ("optuna_tpe", "optuna_nsga2")
                },
                "answers_per_s": RATE,
                "seeds": 1 if quick else 3,
                "details": [
                    {"name": name, "told": n, "in_flight": in_flight, **summary}
                    for (name, n, in_flight), summary in summaries.items()
                ],
            }
        )
    )


if __name__ == "__main__":
    main()
