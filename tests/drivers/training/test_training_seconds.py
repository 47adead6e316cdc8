"""Budgets in seconds of the training driver, by a clock that networks move: nothing is exceeded in silence."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.drivers.training.driver import Training
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.networks.module import Network
from matloop.search_spaces.networks.segmentation.space import SegmentationNetworks

SPACE = SegmentationNetworks(input=[1, 8, 8], classes=2, max_multiply_adds=200_000)
STEP_S = 1.5


class Clock:
    """Time that passes in networks' forward passes only."""

    def __init__(self):
        self.now, self.predicted, self.row_s = 0.0, 0, 0.1

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock, forward = Clock(), Network.forward

    def slowly(network, x):
        if network.training:
            clock.now += STEP_S
        else:
            clock.predicted += len(x)
            clock.now += clock.row_s * len(x)
        return forward(network, x)

    monkeypatch.setattr(Network, "forward", slowly)
    return clock


@pytest.fixture
def made(tmp_path, clock):
    rng = np.random.default_rng(0)
    y = rng.random((40, 8, 8)) < 0.5
    np.savez(tmp_path / "images.npz", x=y[:, None] + rng.normal(size=(40, 1, 8, 8)), y=y)

    def made(**options):
        driver = Training(data=tmp_path / "images.npz", task="segmentation", device="cpu", **options)
        driver.clock = clock
        return driver

    return made


def trial(**options):
    point = SPACE.recipes[0]
    return Trial(id=0, study="search", number=0, point=point | {"training": point["training"]}, seed=1, **options)


def test_validation_rows_are_predicted_once_at_the_end(made, clock):
    """24 rows train, 8 validate, 8 test: what the last validation said is not asked again."""
    measurement = made(budget={"epochs": 1})(trial())
    assert clock.predicted == 8 + 8 and "least_seconds" not in measurement.info
    assert 0 <= measurement.values["validation_pixel_error"] <= 1


def test_what_is_kept_of_the_validation_is_what_the_weights_say(made, monkeypatch):
    driver = made(budget={"epochs": 8})
    kept = driver(trial())
    monkeypatch.setattr(
        "matloop.surrogates.networks.fitting._Training.outputs", property(lambda self: None, _drop), raising=False
    )
    assert driver(trial()).values == kept.values


def _drop(self, value):
    """Nothing is kept, so that all is predicted again."""


@pytest.mark.parametrize(("seconds", "row_s"), [(20, 0.1), (20, 0.6), (60, 0.01), (60, 2.0)])
def test_all_of_a_trial_is_within_its_seconds(made, clock, seconds, row_s):
    clock.row_s = row_s
    driver = made(budget={"seconds": seconds})
    measurement = driver(trial())
    assert 0.8 * seconds <= clock.now <= 1.1 * seconds
    assert measurement.info["used"] == 1
    few = measurement.info["steps"] < 10
    assert few == ("steps of training were all that" in "".join(measurement.info.get("problems", [])))
    began = clock.now
    half = driver(trial(fidelity=0.5))
    assert clock.now - began <= 1.1 * max(seconds / 2, half.info["least_seconds"] + STEP_S)


def test_a_budget_without_room_for_training_says_so(made, clock):
    clock.row_s = 0.5
    measurement = made(budget={"seconds": 5})(trial())
    (said,) = measurement.info["problems"]
    assert "takes about 8.5 s even without training" in said and "has 5 s; raise the budget" in said
    assert measurement.info["steps"] == 1 and measurement.info["least_seconds"] == pytest.approx(8.5)
    assert clock.now == pytest.approx(8.5 + STEP_S)


def test_the_latency_of_a_slow_network_is_part_of_the_seconds(made, clock):
    clock.row_s = 0.5
    measurement = made(budget={"seconds": 30}, objectives=(Objective("latency_ms"),), latency_batch=2)(trial())
    assert measurement.values["latency_ms"] == pytest.approx(1000) and clock.now <= 1.1 * 30


def test_a_rung_that_was_reached_before_has_nothing_to_say(made):
    driver = made(budget={"seconds": 40})
    half = driver(trial(fidelity=0.5))
    again = driver(trial(fidelity=0.5), {"checkpoint": half.artifacts["checkpoint"]})
    assert again.info["steps"] == half.info["steps"] and "problems" not in again.info
    assert again.values == half.values


@pytest.mark.parametrize(("row_s", "said"), [(0.01, None), (0.5, "training has the rest"), (2, "leaves none")])
def test_the_check_foresees_predictions_that_take_much(made, clock, row_s, said):
    clock.row_s = row_s
    lines = [line for line in made(budget={"seconds": 20}).check(SPACE) if "predicting the 16 rows" in line]
    assert (said is None) == (not lines)
    if said is not None:
        assert said in lines[0] and f"about {16 * row_s:.2g} s here, of a budget of 20 s" in lines[0]
    assert not any("predicting" in line for line in made(epochs=1).check(SPACE))
