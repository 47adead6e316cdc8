"""Clients killed at random moments: what a person was told is recorded is recorded, once; the others go on."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.ledger.ledger import read
from tests.orchestrator.lab.files import furnace

PRELOAD = [
    "matloop.orchestrator.lab",
    "matloop.orchestrator.strategies.space_filling",
    "matloop.search_spaces.box",
    "matloop.drivers.manual",
]


def client(folder: Path, number: int, started) -> None:
    """Recommend and tell for ever; write down what was acknowledged, after it was."""
    log = os.open(folder / f"log{number}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Lab.open(folder / "furnace.yaml", directory=folder / "run") as lab:
        started.send(True)
        for count in range(10**6):
            (trial,) = lab.recommend()
            _note(log, ["recommended", trial.id, trial.point["temperature"]])
            value = trial.id % 1900 + 0.5
            lab.tell([Result(trial=trial.id, values={"hardness": value})], by=f"client {number}")
            _note(log, ["answered", trial.id, value])
            request = f"{os.getpid()} {count}"
            lab.tell([Result(point=trial.point, values={"hardness": 1.0}, request=request)])
            lab.tell([Result(point=trial.point, values={"hardness": 1.0}, request=request)])
            _note(log, ["reported", request, 1.0])


def _note(log: int, event: list) -> None:
    os.write(log, (json.dumps(event) + "\n").encode())


def killed(folder: Path, kills: int, clients: int = 2) -> None:
    """Keep several clients busy, killing one of them at a time at random moments."""
    furnace(folder)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOAD, "tests.orchestrator.lab.test_lab_kill"])
    rng = random.Random(0)
    least = itertools.cycle((0, 6, 6))  # lines that one writes down before it may be killed

    def start(number: int):
        ours, theirs = context.Pipe()
        process = context.Process(target=client, args=(folder, number, theirs), daemon=True)
        process.start()
        assert ours.poll(240) and ours.recv()
        log, awaited = folder / f"log{number}", next(least)
        begun = log.read_bytes().count(b"\n")
        while log.read_bytes().count(b"\n") < begun + awaited:
            assert process.is_alive()
            time.sleep(0.001)
        return process

    processes = [start(number) for number in range(clients)]
    for kill in range(kills):
        victim = kill % clients
        processes[victim].join(rng.uniform(0.0, 0.15))
        processes[victim].kill()
        processes[victim].join()
        assert processes[victim].exitcode == -signal.SIGKILL
        if kill < kills - clients:
            processes[victim] = start(victim)


def check(folder: Path, clients: int = 2) -> int:
    """Everything acknowledged is on record exactly once; returns how much that was."""
    history = read(folder / "run" / "ledger.db")
    reported = [t.extra["request"] for t in history.trials if t.ask < 0]
    assert len(reported) == len(set(reported))
    temperatures = [t.point["temperature"] for t in history.trials if t.ask >= 0]
    assert len(temperatures) == len(set(temperatures))  # no recommendation twice
    seen = 0
    for number in range(clients):
        for line in (folder / f"log{number}").read_text().splitlines():
            kind, key, value = json.loads(line)
            seen += 1
            if kind == "recommended":
                assert history.trials[key].point["temperature"] == value
            elif kind == "answered":
                assert history.trials[key].values == {"hardness": value}
                assert history.trials[key].worker == f"client {number}"
            else:
                assert reported.count(key) == 1
    with Lab.open(folder / "furnace.yaml", directory=folder / "run") as lab:  # and on it goes
        waiting = lab.pending()
        assert {t.id for t in waiting} == {t.id for t in history.trials if t.state == "running"}
        lab.tell([Result(trial=t.id, values={"hardness": 2.0}) for t in waiting])
        lab.recommend()
    return seen


def test_clients_killed_at_random_lose_nothing_and_double_nothing(tmp_path):
    killed(tmp_path, kills=7)
    assert check(tmp_path) > 20


@pytest.mark.slow
def test_clients_killed_a_hundred_times(tmp_path):
    killed(tmp_path, kills=100, clients=3)
    assert check(tmp_path, clients=3) > 300
