"""SIGKILL at random moments: a serial campaign ends as if it had not been killed, an asynchronous one loses nothing."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.trial import Measurement, Trial
from tests.orchestrator.harness import run
from tests.orchestrator.toys import LOSS, Bowl, study

KILLS, ASYNCHRONOUS_KILLS = 100, 20
SLEEP_S = 0.003
TRIALS = 350
ASYNCHRONOUS_TRIALS = 700
EVOLUTION_TRIALS = 210
LIMIT_S = 240.0
"""Of one step, on a machine that is busy otherwise."""
pytestmark = pytest.mark.timeout(900)
EVOLUTION = [
    "matloop.orchestrator.strategies.evolution.evolution",
    "matloop.search_spaces.box",
    "matloop.surrogates.fitness_svm",
    "scipy.stats",
]


@dataclass(frozen=True)
class Stalling(Bowl):
    """Hangs once the log has more lines than `until`, so that a run that is to be killed cannot end before."""

    until: int | None = None

    def __call__(self, trial: Trial) -> Measurement:
        measured = super().__call__(trial)
        if self.until is not None and lines(self.log) > self.until:
            time.sleep(LIMIT_S)
        return measured


def lines(log: Path | None) -> int:
    """Evaluations begun so far."""
    return log.read_bytes().count(b"\n") if log and log.exists() else 0


def descent(driver: Bowl):
    # an attempt that dies with its manager must not become a failure here, however often it is hit
    return study(driver=driver, budget=Budget(trials=TRIALS), attempts=10**6)


def evolution(driver: Bowl):
    from matloop.orchestrator.strategies.evolution.evolution import Evolution
    from matloop.search_spaces.box import Box
    from matloop.surrogates.fitness_svm import FitnessSVM

    space = Box(parameters={"x": {"type": "float", "low": 0.0, "high": 1.0}})
    strategy = Evolution(space=space, objectives=(LOSS,), population=10, predictor=FitnessSVM())
    return study(strategy=strategy, driver=driver, budget=Budget(trials=EVOLUTION_TRIALS), attempts=10**6)


def many(driver: Bowl):
    return replace(descent(driver), budget=Budget(trials=ASYNCHRONOUS_TRIALS))


def serial(folder: Path, make, driver: Bowl, started=None) -> None:
    from matloop.hpc.serial import Serial

    if started:
        started.send(True)
    run(folder, lambda: make(driver), executor=Serial(), seed=5)


def asynchronous(folder: Path, make, driver: Bowl, started=None) -> None:
    from matloop.hpc.local import Local

    if started:
        started.send(True)
    with Local(slots=2) as executor:
        run(folder, lambda: make(driver), executor=executor, seed=5)


@dataclass
class Kills:
    """What is certain of the kills of a campaign.

    Attributes:
        opened: that came when the run had begun to measure.
        measuring: of these, that came while it certainly measured.
    """

    opened: int = 0
    measuring: int = 0


def killed_often(folder: Path, target, make, *, kills: int, most: int, early_s: float) -> Kills:
    """Start and kill a campaign `kills` times, then let it finish.

    Three in ten are killed within `early_s` of their start, so perhaps before they have opened the record; the others
    at a random moment from their first evaluation on. Each makes 1 to `most` evaluations and then hangs in the next,
    and one in ten is left until it does.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["matloop.hpc.serial", "matloop.hpc.local", "tests.orchestrator.loop.test_kill", *EVOLUTION]
    )
    rng, log, found = random.Random(0), folder / "log", Kills()
    for kill in range(kills):
        begun, number = lines(log), rng.randint(1, most)
        ours, theirs = context.Pipe()
        driver = Stalling(log, SLEEP_S, until=begun + number)
        process = context.Process(target=target, args=(folder, make, driver, theirs))
        process.start()
        ours.recv()  # imports are done
        if kill % 10 < 3:
            process.join(rng.uniform(0, early_s))
        else:
            hangs = kill % 10 == 3
            wait_for(lambda: lines(log) > begun + (number if hangs else 0))  # noqa: B023 (called here)
            process.join(0 if hangs else rng.uniform(0, 2 * SLEEP_S * number))
            found.opened += 1
            found.measuring += hangs
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    process = context.Process(target=target, args=(folder, make, Bowl(log, SLEEP_S)))
    process.start()
    process.join(LIMIT_S)
    assert process.exitcode == 0
    return found


def wait_for(happened: Callable[[], bool]) -> None:
    """Return once it has."""
    ends_at = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < ends_at
        time.sleep(0.0005)


@pytest.mark.parametrize(("make", "most"), [(descent, 3), (evolution, 2)])  # times KILLS below their budgets
def test_serial_killed_100_times_equals_unkilled(tmp_path, make, most):
    kills = killed_often(tmp_path / "killed", serial, make, kills=KILLS, most=most, early_s=0.03)
    serial_folder = tmp_path / "whole"
    serial_folder.mkdir()
    serial(serial_folder, make, Bowl())
    killed, whole = (read(tmp_path / name / "ledger.db") for name in ("killed", "whole"))
    assert len(killed.sessions) > kills.opened >= 0.7 * KILLS
    assert len(killed.lost) >= kills.measuring >= 0.1 * KILLS
    for a, b in zip(killed.trials, whole.trials, strict=True):
        assert (a.point, a.values, a.seed, a.ask, a.extra, a.parents) == (
            b.point,
            b.values,
            b.seed,
            b.ask,
            b.extra,
            b.parents,
        )
    assert killed.finished == whole.finished


def test_asynchronous_killed_loses_nothing_and_doubles_nothing(tmp_path):
    kills = killed_often(tmp_path, asynchronous, many, kills=ASYNCHRONOUS_KILLS, most=30, early_s=0.8)
    history = read(tmp_path / "ledger.db")
    assert len(history.sessions) > kills.opened >= 14 and len(history.lost) >= kills.measuring >= 2
    assert [t.number for t in history.trials] == list(range(ASYNCHRONOUS_TRIALS))
    assert sorted(history.finished) == list(range(ASYNCHRONOUS_TRIALS))
    assert all(t.state == "answered" for t in history.trials)
    begun = Counter(int(line.split()[0]) for line in (tmp_path / "log").read_text().splitlines())
    lost = Counter(loss.trial for loss in history.lost)
    for trial in history.trials:  # evaluated again only where an attempt is on record as lost
        assert 1 <= begun[trial.id] <= 1 + lost[trial.id]
