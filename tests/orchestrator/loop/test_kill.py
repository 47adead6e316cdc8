"""SIGKILL at random moments: a serial campaign ends as if it had not been killed, an asynchronous one loses nothing."""

from __future__ import annotations

import multiprocessing
import random
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.budget import Budget
from tests.orchestrator.harness import run
from tests.orchestrator.toys import LOSS, Bowl, study

KILLS = 100
TRIALS = 800
ASYNCHRONOUS_TRIALS = 2000
EVOLUTION_TRIALS = 250
EVOLUTION = [
    "matloop.orchestrator.strategies.evolution.evolution",
    "matloop.search_spaces.box",
    "matloop.surrogates.fitness_svm",
    "scipy.stats",
]


def descent(folder: Path, sleep_s: float):
    # an attempt that dies with its manager must not become a failure here, however often it is hit
    return study(driver=Bowl(folder / "log", sleep_s), budget=Budget(trials=TRIALS), attempts=10**6)


def evolution(folder: Path, sleep_s: float):
    from matloop.orchestrator.strategies.evolution.evolution import Evolution
    from matloop.search_spaces.box import Box
    from matloop.surrogates.fitness_svm import FitnessSVM

    space = Box(parameters={"x": {"type": "float", "low": 0.0, "high": 1.0}})
    strategy = Evolution(space=space, objectives=(LOSS,), population=10, predictor=FitnessSVM())
    return study(
        strategy=strategy, driver=Bowl(folder / "log", sleep_s), budget=Budget(trials=EVOLUTION_TRIALS), attempts=10**6
    )


def serial(folder: Path, make, sleep_s: float, started=None) -> None:
    from matloop.hpc.serial import Serial

    if started:
        started.send(True)
    run(folder, lambda: make(folder, sleep_s), executor=Serial(), seed=5)


def many(folder: Path, sleep_s: float):
    return replace(descent(folder, sleep_s), budget=Budget(trials=ASYNCHRONOUS_TRIALS))


def asynchronous(folder: Path, make, sleep_s: float, started=None) -> None:
    from matloop.hpc.local import Local

    if started:
        started.send(True)
    with Local(slots=2) as executor:
        run(folder, lambda: make(folder, sleep_s), executor=executor, seed=5)


def killed_often(folder: Path, target, make, kills: int, within_s: float, sleep_s: float) -> int:
    """Start and kill `kills` times at random moments, then let it finish; return how many kills struck it running."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["matloop.hpc.serial", "matloop.hpc.local", "tests.orchestrator.loop.test_kill", *EVOLUTION]
    )
    rng, struck = random.Random(0), 0
    for _ in range(kills):
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(folder, make, sleep_s, theirs))
        process.start()
        ours.recv()  # imports are done
        process.join(rng.uniform(0, within_s))
        process.kill()
        process.join()
        struck += process.exitcode == -signal.SIGKILL
    process = context.Process(target=target, args=(folder, make, sleep_s))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    return struck


@pytest.mark.parametrize("make", [descent, evolution])
def test_serial_killed_100_times_equals_unkilled(tmp_path, make):
    within_s = 0.03 if make is descent else 0.12
    struck = killed_often(tmp_path / "killed", serial, make, KILLS, within_s, 0.003)
    serial_folder = tmp_path / "whole"
    serial_folder.mkdir()
    serial(serial_folder, make, 0.0)
    killed, whole = (read(tmp_path / name / "ledger.db") for name in ("killed", "whole"))
    assert struck >= 0.7 * KILLS
    assert len(killed.sessions) > struck * 0.5 and len(killed.lost) > 5
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
    struck = killed_often(tmp_path, asynchronous, many, 20, 0.8, 0.004)
    history = read(tmp_path / "ledger.db")
    assert struck >= 14 and len(history.lost) > 5
    assert [t.number for t in history.trials] == list(range(ASYNCHRONOUS_TRIALS))
    assert sorted(history.finished) == list(range(ASYNCHRONOUS_TRIALS))
    assert all(t.state == "answered" for t in history.trials)
    begun = Counter(int(line.split()[0]) for line in (tmp_path / "log").read_text().splitlines())
    lost = Counter(loss.trial for loss in history.lost)
    for trial in history.trials:  # evaluated again only where an attempt is on record as lost
        assert 1 <= begun[trial.id] <= 1 + lost[trial.id]
