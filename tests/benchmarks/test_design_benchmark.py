"""The design benchmark: what a run counts and keeps, and the figures that come of known runs."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from absorbers.methods import METHODS, SLOW
from absorbers.problem import BEST, Run, Store, likeness, random_fields, run

from matloop.orchestrator.randomness import derive

FILE = Path(__file__).parents[2] / "benchmarks" / "design.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("design_benchmark", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_a_run_spends_its_budget_and_measures_its_best_again(bench: ModuleType) -> None:
    method = METHODS["gradient_noise"]
    found = run(method.make, method.generator, 3, budget=16.0, single=True)
    steps = np.diff([0.0, *found.costs])
    assert steps.tolist() == [1.0] * 12 + [1.5] * 2 and found.costs[-1] <= 16.0
    assert all(found.inside) or not np.isnan(found.top())
    assert len(found.order_3) == len(found.higher) == len(found.best) == BEST
    assert found.order_3[0] == pytest.approx(found.top())  # the same structure, measured again
    assert found.order_3 == sorted(found.order_3, reverse=True) and found.higher != found.order_3
    limits = likeness()
    assert all(limits.holds(np.array([[list(map(int, row)) for row in one]]))[0] for one in found.best)
    assert Run(**json.loads(json.dumps(found.as_json()))) == found


@pytest.mark.parametrize("name", [name for name in METHODS if name not in SLOW])
def test_every_method_is_a_strategy_that_proposes_points_of_its_space(name: str) -> None:
    if name == "cma_es":
        pytest.importorskip("cmaes")
    space, strategy = METHODS[name].make(Store(), 0)
    (proposal,) = strategy.ask(1, (), derive(0))
    space.check(proposal.point)


def test_limits_hold_for_most_fields_and_the_fields_are_what_they_were() -> None:
    fields = random_fields(200, "test")
    assert 0.8 < likeness().holds(fields).mean() < 0.95
    assert (fields == random_fields(200, "test")).all()


def test_intervals_of_the_median_are_those_of_order_statistics(bench: ModuleType) -> None:
    assert bench.interval(list(range(10))) == [4.5, 1, 8]  # 97.9 %; from the third to the eighth 89 %
    assert bench.interval([3.0, 1.0, 2.0]) == [2.0, 1.0, 3.0]
    assert bench.interval([5.0]) == [5.0, 5.0, 5.0]


def test_figures_follow_from_runs(bench: ModuleType) -> None:
    measure = bench.scale([0.4, 0.5, 0.6], [0.48, 0.52])
    assert measure.gain(0.6) == pytest.approx(20) and measure.best == 0.6
    ours = {seed: 0.65 + 0.001 * seed for seed in range(8)}
    known = {("inverse_design", s): Run(order_3=[v, 0.6], higher=[0.55, 0.6]) for s, v in ours.items()}
    tops = {("inverse_design", s): v for s, v in ours.items()}
    tops |= {("random", s): 0.6 - 0.001 * s for s in range(8)} | {("density", s): 0.75 for s in range(8)}
    found = bench.figures(measure, known, tops)
    assert found["gain"]["inverse_design"][0] == pytest.approx(30.7)
    assert found["bound_share"] == pytest.approx(0.307 / 0.5)
    assert found["p"] == {"random": pytest.approx(1 / 2**8)}  # all eight differences of one sign
    assert found["kept_at_higher_order"] == pytest.approx(np.median([0.2 / (v / 0.5 - 1) for v in ours.values()]))
    assert found["seeds"] == {"inverse_design": 8, "random": 8, "density": 8}


def test_nothing_is_said_of_what_was_not_measured(bench: ModuleType) -> None:
    found = bench.figures(bench.scale([0.4, 0.6], []), {}, {("random", 0): 0.6})
    assert found == {
        "gain": {"random": [pytest.approx(20)] * 3}, "standard_deviations": {"random": pytest.approx(1)},
        "regret": {"random": 0.0}, "p": {}, "seeds": {"random": 1},
    }  # fmt: skip
    assert math.isnan(bench.scale([0.4, 0.6], []).higher)
