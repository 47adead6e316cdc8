"""A search in rungs from a campaign file: checkpoints travel by the ledger, and a stop or a kill changes nothing."""

from __future__ import annotations

import multiprocessing
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from matloop.hpc.serial import Serial
from matloop.orchestrator.composition.build import plans, validate
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.errors import LedgerError
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.loop.campaign import Campaign
from matloop.orchestrator.trial import Objective, best

CAMPAIGN = """
name: rungs
seed: 3
executor: {{kind: serial}}
studies:
  search:
    space: {{kind: conv_network, input: [1, 6, 6], max_layers: 2, max_multiply_adds: 5000, morphisms: 0.5}}
    driver: {{kind: training, data: data.npz, epochs: 9, device: cpu}}
    strategy:
      kind: successive_halving
      strategy: {{kind: evolution, population: 4, predictor: svm, inherit: true}}
    objectives: {{{objectives}}}
    budget: {{trials: {trials}}}
"""
ERROR = "validation_mae: minimise"
THREE = "validation_mae: minimise, parameters: minimise, latency_ms: minimise"


def write(folder: Path, trials: int, objectives: str = ERROR) -> Path:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    x = (rng.random((40, 1, 6, 6)) < rng.uniform(0.1, 0.9, (40, 1, 1, 1))).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=x.mean(axis=(1, 2, 3)))
    file = folder / "campaign.yaml"
    file.write_text(CAMPAIGN.format(trials=trials, objectives=objectives))
    return file


def run(file: Path) -> None:
    config = load(file)
    resolved = validate(config)[1]
    with Ledger.open(file.parent / "ledger.db", config=resolved, environment={}) as ledger:
        Campaign(
            plans=plans(config),
            ledger=ledger,
            executor=Serial(),
            seed=config.seed,
            artifacts=file.parent / "artifacts",
        ).run()


def story(folder: Path) -> list[tuple[object, ...]]:
    """What happened, but for times."""
    trials = read(folder / "ledger.db").trials
    return [(t.point, t.fidelity, t.parents, t.inputs, t.seed, t.values, t.artifacts) for t in trials]


def test_networks_are_trained_in_rungs_and_measured_in_three_ways(tmp_path):
    run(write(tmp_path, 17, THREE))
    trials = read(tmp_path / "ledger.db").trials
    assert all(t.state == "answered" for t in trials)
    assert {"validation_mae", "parameters", "latency_ms"} <= set(trials[0].values)
    promoted = [t for t in trials if t.extra["origin"] == "promotion"]
    assert {round(9 * t.fidelity) for t in promoted} == {3, 9}
    for trial in promoted:
        (before,) = trial.parents
        assert trial.inputs == {"checkpoint": trials[before].artifacts["checkpoint"]}
        assert trial.info["continued_from"] == trials[before].info["used"]
        assert trial.info["history"]["train"][:1] == trials[before].info["history"]["train"][:1]
    heirs = [t for t in trials if "parent_weights" in t.inputs]
    assert heirs and all(0 <= t.info["inherited"] <= 1 for t in heirs)
    found = best(trials, Objective("validation_mae"))
    assert found is not None and found.fidelity == 1.0


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path):
    run(write(tmp_path / "whole", 17))
    for trials in (6, 17):
        run(write(tmp_path / "parts", trials))
    assert story(tmp_path / "parts") == story(tmp_path / "whole")


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path):
    run(write(tmp_path / "whole", 21))
    file = write(tmp_path / "killed", 21)
    context = multiprocessing.get_context("spawn")
    for finished in (3, 11, 17):
        process = context.Process(target=run, args=(file,))
        process.start()
        while process.is_alive() and count(file.with_name("ledger.db")) < finished:
            time.sleep(0.01)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    run(file)
    assert story(tmp_path / "killed") == story(tmp_path / "whole")


def count(ledger: Path) -> int:
    try:
        return len(read(ledger).finished)
    except LedgerError:
        return 0
