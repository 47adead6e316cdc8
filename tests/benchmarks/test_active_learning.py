"""How the benchmark of active learning compares curves, by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from rich.console import Console

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    sys.path.insert(0, str(FOLDER))  # as for a script: it imports the one beside it
    try:
        spec = importlib.util.spec_from_file_location("active_learning_benchmark", FOLDER / "active_learning.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        module.comparison, module.tasks = (
            importlib.import_module(f"learning.{name}") for name in ("comparison", "tasks")
        )
    finally:
        sys.path.remove(str(FOLDER))
    return module


def test_points_needed_are_read_off_between_the_numbers_measured(bench: ModuleType) -> None:
    curve = {"100": 4.0, "200": 2.0, "300": 1.0}
    assert bench.comparison.needed(curve, 3.0) == pytest.approx(150)
    assert bench.comparison.needed(curve, 5.0) == 100
    assert np.isnan(bench.comparison.needed(curve, 0.5))
    found = {"100": 0.0, "200": 0.5, "300": 0.6}
    assert bench.comparison.needed(found, 0.25, rising=True) == pytest.approx(150)
    assert np.isnan(bench.comparison.needed(found, 0.7, rising=True))


def test_a_policy_is_held_against_random_choice_on_the_same_seeds(bench: ModuleType) -> None:
    random = {0: {"10": 4.0, "20": 2.0, "30": 1.0}, 1: {"10": 4.0, "20": 2.0, "30": 2.0}}
    own = {0: {"10": 4.0, "20": 1.0, "30": 0.5}, 1: {"10": 4.0, "20": 1.0, "30": 1.5}}
    found = bench.comparison.against(own, random, [0, 1])
    assert found["last"] == [pytest.approx(-0.375), pytest.approx(0.125)]
    assert found["all"][0] == pytest.approx(np.mean([-0.5, -0.5, -0.5, -0.25]))
    assert found["ahead_at_last"] == "2 of 2"
    assert found["points_for_randoms_last"] == 18  # 4 to 1 between 10 and 20, and 1.5 is random's mean at 30
    assert found["random_points_for_its_last"] == "over 30"
    assert found["level_from"] is None


def test_shares_found_differ_by_subtraction_and_more_is_better(bench: ModuleType) -> None:
    random = {0: {"10": 0.0, "20": 0.1}, 1: {"10": 0.0, "20": 0.0}}
    own = {0: {"10": 0.0, "20": 0.5}, 1: {"10": 0.0, "20": 0.6}}
    found = bench.comparison.against(own, random, [0, 1], rising=True)
    assert found["last"] == [pytest.approx(0.5), pytest.approx(0.1)]
    assert found["ahead_at_last"] == "2 of 2"
    assert found["points_for_randoms_last"] == 11  # random's 0.05 of the way to 0.55
    assert found["random_points_for_its_last"] == "over 20"


def test_random_choice_is_level_from_where_no_lead_exceeds_its_error(bench: ModuleType) -> None:
    leads = np.array([[0.3, 0.2, 0.1, -0.1], [0.3, 0.3, -0.1, 0.2]])
    assert bench.comparison.level_from(leads, [20, 30, 40, 50]) == 40
    assert bench.comparison.level_from(leads[:, :2], [20, 30]) is None
    assert bench.comparison.level_from(-leads, [20, 30, 40, 50]) == 20


def test_every_policy_starts_alike_and_proposes_new_points_of_the_space(bench: ModuleType) -> None:
    task = bench.tasks.function("branin", 0, True)
    first = {policy: bench.learn(task, policy, 0) for policy in ("random", "integrated_variance")}
    assert list(first["random"]["mae"]) == ["10", "15", "20"]
    assert set(first["random"]) == {"rmse", "mae", "outer"}  # candidates are not listed, so none is to be found
    assert first["random"]["mae"]["10"] == first["integrated_variance"]["mae"]["10"]
    assert first["random"]["mae"]["20"] != first["integrated_variance"]["mae"]["20"]


def test_what_is_sought_is_the_best_hundredth_or_the_rare_class(bench: ModuleType) -> None:
    skewed, rare = bench.tasks.skewed(0, True), bench.tasks.rare_class(0, True)
    points = skewed.space.points
    values = np.array([skewed.truth(point) for point in points])
    best = [points[i] for i in np.argsort(values)[-5:]]
    assert len(points) == 500 and skewed.sought(best) == 1.0 and skewed.sought(best[:2]) == pytest.approx(0.4)
    works = [point for point in rare.space.points if rare.truth(point) == 1.0]
    assert 0.005 < len(works) / 500 < 0.06
    assert rare.sought(works) == 1.0 and (rare.outer == (rare.targets == 1.0)).all()


def test_images_are_seen_as_images_and_the_more_conducts_the_more_there_is_of_it(bench: ModuleType) -> None:
    task = bench.tasks.images(0, True)
    point = task.space.points[7]
    seen = task.space.render(torch.as_tensor(task.space.encode([point])))
    assert seen.shape == (1, 1, 16, 16) and set(seen.unique().tolist()) == {-1.0, 1.0}
    uniform = bench.tasks.conductivity(np.stack([np.zeros((16, 16)), np.ones((16, 16))]))
    assert uniform.tolist() == pytest.approx([1.0, 10.0])
    assert len(task.start) == 40 and task.outer.sum() == pytest.approx(25, abs=1)


def test_figures_of_a_quick_run_have_keys_of_their_own(bench: ModuleType) -> None:
    curves = {measure: {"10": 1.0, "20": 0.5} for measure in ("rmse", "mae", "outer")}
    records = [{"task": "branin", "policy": "random", "seed": 0, "quick": quick, "curves": curves} for quick in (0, 1)]
    silent = Console(quiet=True)
    assert set(bench.summary(records[:1], silent)) == {"branin"}
    assert set(bench.summary(records[1:], silent)) == {"quick_branin"}
