"""The benchmark of searches over one's own data: its solver, its figures, its hand-made networks and its watch."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml

from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import own_data  # type: ignore[import-not-found]
        from own import elasticity, hand_made, kinds, watch  # noqa: F401
    finally:
        sys.path.remove(str(BENCHMARKS))
    return own_data


@pytest.fixture(scope="module")
def own(bench: ModuleType) -> ModuleType:
    return sys.modules["own"]


def test_a_laminate_is_as_stiff_as_theory_says(own) -> None:
    phase = np.zeros((9, 9, 9), dtype=bool)
    phase[:4] = True

    def modulus(young: float) -> float:
        return young * 0.7 / (1.3 * 0.4)  # of uniaxial strain, for a Poisson's ratio of 0.3

    across = 1 / ((4 / 9) / modulus(50.0) + (5 / 9) / modulus(1.0))
    assert own.elasticity.stiffness(phase) == pytest.approx(across, rel=1e-4)
    assert own.elasticity.stiffness(np.zeros((5, 5, 5), dtype=bool)) == pytest.approx(modulus(1.0))


def test_volumes_have_the_shares_that_are_drawn(own) -> None:
    shares = [own.elasticity.volume(np.random.default_rng(seed)).mean() for seed in range(12)]
    assert min(shares) > 0.09 and max(shares) < 0.91 and max(shares) - min(shares) > 0.3


def test_figures_by_hand(own) -> None:
    kinds = own.kinds
    assert kinds.absolute(np.array([[1.0], [3.0]]), np.array([[2.0], [3.0]])) == {"mae": 0.5}
    assert kinds.relative(np.log([1.0, 3.0]), np.log([2.0, 3.0]))["error_percent"] == pytest.approx(25.0)
    found = kinds.overlap(np.array([[0, 0, 1, 2]]), np.array([[0, 1, 1, 2]]))
    assert found["class_1"] == 0.5 and found["mean_iou"] == pytest.approx((0.5 + 0.5 + 1) / 3)


def test_hand_made_networks_learn(own) -> None:
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.normal(size=(300, 4)), dtype=torch.float32)
    y = 1 + x[:, :1]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Linear(4, 1)
    ticks = iter(range(1000))
    batch = own.hand_made.shuffled(x, y, 32, 0)
    steps = own.hand_made.train(
        network, batch, own.hand_made.huber(0.1), seconds=300, rate=3e-2, decay=0.0, clock=lambda: float(next(ticks))
    )
    assert steps == 299 and float((network(x) - y).detach().abs().max()) < 0.1


def test_hand_made_networks_take_their_data(own) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 1, 40, 40)).astype(np.uint8)
    classes = (images[:, 0] > 100).astype(int)
    found = own.hand_made.micrographs(images, classes, images, seed=0, seconds=0.05, crop=16)
    assert found.shape == (2, 40, 40) and set(np.unique(found)) <= {0, 1}
    phases = rng.integers(0, 2, (40, 1, 5, 5, 5)).astype(np.uint8)
    assert own.hand_made.volumes(phases, rng.normal(size=40), phases[:3], seed=0, seconds=0.05).shape == (3,)


def test_the_watch_sees_what_children_use(own, tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time; "
        "subprocess.run([sys.executable, '-c', 'x = bytearray(b\"1\") * 200_000_000; import time; time.sleep(1)'])"
    )
    status, peak = own.watch.run([sys.executable, "-c", code], tmp_path / "log.txt", interval_s=0.05)
    assert status == 0 and (np.isnan(peak) or peak > 200)
    assert (
        own.watch.run(
            [sys.executable, "-c", "print('told'); raise SystemExit(3)"], tmp_path / "log.txt", interval_s=0.05
        )[0]
        == 3
    )
    assert "told" in (tmp_path / "log.txt").read_text()


def test_the_watch_leaves_nothing_running_when_it_is_stopped(own, tmp_path: Path, monkeypatch) -> None:
    begun: list[subprocess.Popen[bytes]] = []

    def begin(*given: object, **options: object) -> subprocess.Popen[bytes]:
        begun.append(popen(*given, **options))
        return begun[0]

    def stopped(seconds: float) -> None:
        raise KeyboardInterrupt

    popen = subprocess.Popen
    monkeypatch.setattr(own.watch.subprocess, "Popen", begin)
    monkeypatch.setattr(own.watch.time, "sleep", stopped)
    with pytest.raises(KeyboardInterrupt):
        own.watch.run([sys.executable, "-c", "import threading; threading.Event().wait()"], tmp_path / "log.txt")
    assert begun[0].returncode


@pytest.mark.parametrize("name", ["composition", "homogenisation"])
def test_campaigns_are_valid_and_test_rows_are_fixed(bench, own, name: str, tmp_path: Path) -> None:
    kind = own.kinds.KINDS[name]
    data = tmp_path / "public"
    (data / "composition").mkdir(parents=True)
    with (data / "composition" / "oqmd_formation_energy.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["formula", "target"])
        pairs = [(a, b) for a in ("Li", "Na", "K", "Mg", "Ca", "Fe") for b in ("O", "S", "Cl", "F", "N", "P")]
        writer.writerows([(f"{a}{b}", i * 0.1) for i, (a, b) in enumerate(pairs)])
        writer.writerows([("Li2O2", 9.0), ("Fe2P2", -1.0), ("NaO3", 40.0)])  # the same as above, and an outlier
    kind.prepare(tmp_path, data, 30)
    plan = bench.Plan(search_s=9.0, trial_s=1.0, final_s=2.0, finalists=3, seeds=1)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(bench.campaign(kind, plan), sort_keys=False))
    studies, _ = validate(load(tmp_path / "c.yaml"))
    found, parts = studies[0].driver.divided()  # type: ignore[attr-defined]
    assert [len(rows) for rows in parts] == [len(own.kinds.rows_of(found, p)) for p in ("train", "validation", "test")]
    assert len(found) == 30 and [study.name for study in studies] == ["search", "finals", "finals-references"]
    assert studies[0].budget.seconds == 6.0 and studies[1].budget.trials == 3
    assert studies[2].driver.driver.recipe.budget.seconds == 2.0  # type: ignore[attr-defined]
    if name == "composition":
        assert len(set(found.groups)) == 30 and found.y.max() < 5


def test_where_memory_is_not_told_the_line_says_so(bench, own) -> None:
    figures = {"winner": [{"mae": 0.1}], "hand-made": [{"mae": 0.1}]}
    outcome = bench.Outcome(figures, dict.fromkeys(figures, 50.0), 3, (6.0, 9.0), 0.0, float("nan"))
    assert json.loads(json.dumps(bench.summary(own.kinds.PEROVSKITES, outcome)))["memory_mb"] is None


def test_the_line_has_the_keys_that_were_asked_for(bench, own) -> None:
    names = ("winner", "gradient_boosting", "random_forest", "elemnet", "perceptron", "hand-made")
    figures = {name: [{"mae": 0.1 + i}, {"mae": 0.3 + i}] for i, name in enumerate(names)}
    outcome = bench.Outcome(figures, dict.fromkeys(names, 50.0), 33, (600.0, 1190.0), 0.04, 1500.2)
    found = json.loads(json.dumps(bench.summary(own.kinds.COMPOSITION, outcome)))
    assert list(found) == [
        "evolved", "gradient_boosting", "random_forest", "elemnet", "residual", "memory_mb", "overrun"
    ]  # fmt: skip
    assert found["evolved"] == {"mae": 0.2, "trials": 33, "seconds": 50.0} and found["residual"]["mae"] == 5.2
    assert bench.table(own.kinds.COMPOSITION, outcome).row_count == 6


def test_the_sites_of_a_perovskite_are_found_wherever_the_origin_is():
    from own.kinds import _on_sites
    from pymatgen.core import Lattice, Structure

    places = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    elements = ["Sr", "Ti", "O", "O", "N"]
    for origin in ([0, 0, 0], [0.5, 0.5, 0.5], [0.37, 0.9, 0.12]):
        for order in ([0, 1, 2, 3, 4], [4, 2, 1, 0, 3]):
            moved = Structure(Lattice.cubic(3.9), [elements[i] for i in order], places[order] + origin)
            assert _on_sites(moved)[:5] == ["Sr", "Ti", "N", "O", "O"]
