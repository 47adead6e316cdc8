"""The simulated cluster under the real loop, held against what can be worked out on paper."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from matloop.hpc.simulate import Cluster, Machine, lognormal
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.campaign import Campaign
from matloop.orchestrator.loop.study import Plan, Study
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.box import Box

OBJECTIVES = (Objective("y"),)


class Square:
    repeatable = True
    objectives = OBJECTIVES

    def __call__(self, trial: Trial) -> float:
        return float(trial.point["x"]) ** 2


def run(folder: Path, cluster: Cluster, budget: Budget) -> History:
    box = Box(parameters={"x": {"type": "float", "low": -1.0, "high": 1.0}})
    study = Study(
        name="s",
        space=box,
        strategy=Random(space=box),
        driver=Square(),
        objectives=OBJECTIVES,
        budget=budget,
        attempts=99,
    )
    with Ledger.open(folder / "ledger.db", config={}, environment={}, clock=cluster.clock) as ledger:
        Campaign(
            plans=[Plan("s", lambda history, store: study)],
            ledger=ledger,
            executor=cluster,
            artifacts=folder,
            inbox=cluster.inbox,
        ).run()
        return ledger.history


def test_all_is_measured_once_in_the_time_that_it_takes(tmp_path: Path) -> None:
    cluster = Cluster(Machine(nodes=4, workers_per_node=2, duration=lambda rng: 100.0), sample_s=50.0)
    history = run(tmp_path, cluster, Budget(trials=40))
    assert sorted(history.finished) == list(range(40)) and not history.lost
    assert all(t.values == {"y": t.point["x"] ** 2} for t in history.trials)
    assert 500.0 <= cluster.clock() < 505.0  # five rounds of eight, and what the manager really took
    assert [t.finished_at - t.started_at for t in history.trials] == pytest.approx([100.0] * 40)
    assert {t.worker for t in history.trials} == {f"simulated{i // 2}:{i}" for i in range(8)}


def test_what_dies_with_a_node_is_measured_again(tmp_path: Path) -> None:
    machine = Machine(
        nodes=10, workers_per_node=3, duration=lambda rng: 100.0, node_mtbf_s=1000.0, repair_s=150.0, notice_s=5.0
    )
    cluster = Cluster(machine, seed=1, sample_s=100.0)
    history = run(tmp_path, cluster, Budget(trials=900))
    last = cluster.samples[-1]
    assert sorted(history.finished) == list(range(900)) and all(t.values for t in history.trials)
    assert len(history.lost) > 30 and last.failures > 10
    down = last.down_s / (30 * last.at_s)
    expected = 150.0 / (1000.0 + 150.0)  # renewal: repair over repair and life
    assert down == pytest.approx(expected, rel=5 / math.sqrt(last.failures))
    assert last.lost_s == pytest.approx(50.0 * len(history.lost), rel=0.4)  # hit in the middle, on average
    # what was useful, lost, down or not noticed yet is all there is, but for the ends and messages on their way
    assert last.busy_s == pytest.approx(100.0 * 900 + last.lost_s, rel=0.05)


def test_a_slow_manager_leaves_workers_idle(tmp_path: Path) -> None:
    quick = Cluster(Machine(nodes=500, duration=lambda rng: 100.0))
    run(tmp_path / "a", quick, Budget(trials=1000))
    busy = quick.samples[-1]
    hurried = Cluster(Machine(nodes=500, duration=lambda rng: 0.01), sample_s=0.05)
    run(tmp_path / "b", hurried, Budget(trials=2000))
    late = hurried.samples[-1]
    assert busy.manager_s / busy.at_s < 0.1
    assert late.manager_s / late.at_s > 0.9 and late.busy_s / (500 * late.at_s) < 0.5


def test_heavy_tails_have_the_mean_that_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    draw = lognormal(600.0, 0.75)
    drawn = np.array([draw(rng) for _ in range(40_000)])
    assert drawn.mean() == pytest.approx(600.0, rel=0.02)
    assert np.log(drawn).std() == pytest.approx(0.75, rel=0.02)
    with pytest.raises(ConfigError, match="mean_s > 0"):
        lognormal(0.0)
