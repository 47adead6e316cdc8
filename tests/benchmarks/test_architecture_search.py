"""The simulated machine, the tables and the statistics of the architecture-search benchmark."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.trial import Proposal, Trial, Unanswered
from matloop.search_spaces.box import Box

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PEERS = BENCHMARKS.parent / ".venv-peers" / "bin" / "python"


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tables in the published formats, but made up: accuracy is the number of 2s or of 3x3 convolutions."""
    target = tmp_path / "architecture_search"
    target.mkdir()
    macro = {}
    for digits in product("012", repeat=4):
        n = digits.count("2")
        runs = [50.0 + n, 51.0 + n, 52.0 + n]
        macro["".join(digits)] = {"test_acc": runs, "mean_acc": 51.0 + n, "flops": 100 + 50 * n}
    (target / "nas-bench-macro_cifar10.json").write_text(json.dumps(macro))
    operations = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    with (target / "nb201_12epochs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["arch_id", "cellstr", *(f"{c}_{w}12" for c in ("c10", "c100", "in16") for w in ("val", "test"))]
        )
        for i, (a, *rest) in enumerate(product(operations, repeat=6)):
            cell = f"|{a}~0|+|{rest[0]}~0|{rest[1]}~1|+|{rest[2]}~0|{rest[3]}~1|{rest[4]}~2|"
            n = [a, *rest].count("nor_conv_3x3")
            writer.writerow([i, cell, *([n, 2 * n] * 3)])
    return tmp_path


def lookup(n: int = 12) -> Any:
    from nas.tables import Lookup

    box = Box(parameters={"x": {"type": "categorical", "choices": [str(i) for i in range(n)]}})
    truth = np.arange(n, dtype=float)
    rows = {(str(i),): i for i in range(n)}
    return Lookup(box=box, rows=rows, fitness=truth[:, None], truth=truth, cost=np.ones(n), tail=True)


class Recorder:
    """Proposes rows in order; notes what it was told and what was pending."""

    def __init__(self) -> None:
        self.next = 0
        self.events: list[tuple[str, Any]] = []

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        self.events.append(("ask", (n, [t.point["x"] for t in pending])))
        proposals = [Proposal(point={"x": str(self.next + i)}) for i in range(n)]
        self.next += n
        return proposals

    def tell(self, trial: Trial) -> None:
        self.events.append(("tell", trial.point["x"]))


def test_workers_are_refilled_one_by_one_and_results_come_in_order_of_their_end() -> None:
    from nas.simulation import Campaign

    table, recorder = lookup(), Recorder()
    rows = Campaign(recorder, table, seed=3, workers=4).run(8)
    durations = table.durations(3)
    starts, ends, free = {}, {}, [0.0] * 4
    for row in range(12):  # oracle: list scheduling, each row on the worker that is free first
        starts[row] = min(free)
        ends[row] = starts[row] + durations[row]
        free[free.index(starts[row])] = ends[row]
    assert rows.tolist() == sorted(ends, key=ends.__getitem__)[:8]
    assert recorder.events[0] == ("ask", (4, []))
    for told, asked in zip(recorder.events[1::2], recorder.events[2::2], strict=False):
        assert told[0] == "tell"
        n, pending = asked[1]
        assert n == 1
        assert len(pending) == 3
        assert told[1] not in pending


def test_the_same_seed_measures_and_takes_the_same_whatever_the_method(folder: Path) -> None:
    from nas.tables import load

    table = load("macro", folder / "architecture_search")
    assert (table.measured(1) == table.measured(1)).all()
    assert (table.measured(1) != table.measured(2)).any()
    assert set(np.unique(table.measured(1) - table.truth)) == {-1.0, 0.0, 1.0}
    assert (table.durations(1) == table.durations(1)).all()
    assert table.cost.mean() == pytest.approx(1.0)
    assert np.corrcoef(table.durations(1), table.cost)[0, 1] > 0.8


def test_durations_of_cells_follow_their_operations_and_have_a_heavy_tail(folder: Path) -> None:
    from nas.tables import load

    table = load("nb201", folder / "architecture_search")
    assert len(table.truth) == 5**6
    noise = table.durations(0) / table.cost
    assert noise.min() >= 1.0
    assert binomtest(int((noise > 3.7).sum()), len(noise), 0.01).pvalue > 1e-3
    heavy, light = (table.row({f"edge{i}": op for i in range(6)}) for op in ("nor_conv_3x3", "none"))
    assert table.cost[heavy] == pytest.approx(6.0 * table.cost[light])


def test_regret_is_that_of_the_best_measured() -> None:
    table = lookup()
    assert table.regret(np.array([0, 3, 7]), table.truth) == 4.0
    assert table.regret(np.array([0, 3, 7]), np.array([5.0, *[0.0] * 6, 5.0, *[0.0] * 4])) == 11.0 - 3.5


def test_campaigns_reach_all_of_a_small_table() -> None:
    from nas.simulation import Campaign

    table = lookup()
    assert Campaign(Random(space=table.box), table, seed=0, workers=3).regrets((2, 12))[1] == 0.0


def test_results_are_kept_and_taken_up_again(folder: Path) -> None:
    """The script itself, stopped after one method and run again with two; JSON of the shape that is promised."""
    kept = folder / "results.jsonl"

    def run(*methods: str) -> dict[str, Any]:
        command = [sys.executable, BENCHMARKS / "architecture_search.py", "--data", folder, "--tables", "nb201"]
        options = ["--seeds", "2", "--jobs", "1", "--results", kept, "--methods", *methods]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    run("random")
    first = kept.read_text()
    figures = run("random", "evolution")
    assert kept.read_text().startswith(first)
    assert len(kept.read_text().splitlines()) == 4
    assert set(figures["nb201"]) == {"50", "100", "150"}
    mean, error = figures["nb201"]["150"]["evolution"]
    assert mean <= figures["nb201"]["150"]["random"][0]
    assert error >= 0.0
    assert figures["seeds"] == {"random": 2, "evolution": 2}


def test_paired_p_is_that_of_the_signed_ranks() -> None:
    from nas.comparison import paired_p

    a = np.arange(8.0)
    assert paired_p(a, a) == 1.0
    assert paired_p(a, a + 1.0 + a) == pytest.approx(2 / 2**8)  # all eight differences have the same sign


@pytest.mark.skipif(not PEERS.exists(), reason="needs the peers' environment: make peers")
def test_a_peer_proposes_through_its_server_and_learns() -> None:
    from nas.peer import Peer
    from nas.simulation import Campaign

    table = lookup(40)
    peer = Peer(python=PEERS, method="propulate", options={}, box=table.box, seed=1, workers=4)
    rows = Campaign(peer, table, seed=1, workers=4).run(60)
    assert table.truth[rows[-20:]].mean() > table.truth.mean()
