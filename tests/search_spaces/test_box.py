"""The box: its contract, its scales against closed forms, its conditions, its messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from orchestrator.errors import ConfigError, InvalidPoint
from orchestrator.protocols import Finite
from search_spaces.box import Box
from tests.contracts.space import SpaceContract

PLAIN = {
    "temperature": {"type": "float", "low": 300, "high": 1200, "unit": "K"},
    "cycles": {"type": "integer", "low": -3, "high": 8},
    "solvent": {"type": "categorical", "choices": ["water", "ethanol", "toluene"]},
}
LOGARITHMIC = {
    "pressure": {"type": "float", "low": 1e-7, "high": 10.0, "log": True, "unit": "Pa"},
    "layers": {"type": "integer", "low": 1, "high": 1000, "log": True},
    "signed": {"type": "float", "low": -1.0, "high": 1.0},
}
CONDITIONAL = {
    "route": {"type": "categorical", "choices": ["melt", "sol-gel", "sputter"]},
    "steps": {"type": "integer", "low": 1, "high": 4},
    "anneal": {"type": "categorical", "choices": [True, False], "when": {"route": ["sol-gel", "sputter"]}},
    "anneal_temperature": {"type": "float", "low": 400, "high": 900, "when": {"anneal": [True]}},
    "second_power": {
        "type": "float",
        "low": 1,
        "high": 300,
        "log": True,
        "when": {"route": "sputter", "steps": [2, 3]},
    },
}


class TestPlainBox(SpaceContract):
    @pytest.fixture
    def space(self):
        return Box(parameters=PLAIN)


class TestLogarithmicBox(SpaceContract):
    @pytest.fixture
    def space(self):
        return Box(parameters=LOGARITHMIC)


class TestConditionalBox(SpaceContract):
    @pytest.fixture
    def space(self):
        return Box(parameters=CONDITIONAL)


def test_a_box_is_never_listed():
    assert not isinstance(Box(parameters={"a": {"type": "integer", "low": 0, "high": 1}}), Finite)


def test_encoding_by_hand():
    box = Box(parameters=PLAIN | {"pressure": LOGARITHMIC["pressure"]})
    point = {"temperature": 525.0, "cycles": -3, "solvent": "ethanol", "pressure": 1e-3}
    assert box.encode([point])[0] == pytest.approx([0.25, 0.5 / 12, 0, 1, 0, 0.5])
    assert box.decode(np.array([0.25, 0.999, 0.2, 0.3, 0.1, 0.5])) == pytest.approx(
        {"temperature": 525.0, "cycles": 8, "solvent": "ethanol", "pressure": 1e-3}
    )


@settings(deadline=None, derandomize=True)
@given(st.floats(300, 1200), st.integers(-3, 8), st.floats(1e-7, 10))
def test_decoding_is_accurate(temperature, cycles, pressure):
    box = Box(parameters=PLAIN | {"pressure": LOGARITHMIC["pressure"]})
    point = {"temperature": temperature, "cycles": cycles, "solvent": "water", "pressure": pressure}
    decoded = box.decode(box.encode([point])[0])
    assert decoded["temperature"] == pytest.approx(temperature, rel=1e-12)
    assert decoded["pressure"] == pytest.approx(pressure, rel=1e-12)
    assert (decoded["cycles"], decoded["solvent"]) == (cycles, "water")


def test_samples_are_uniform_on_their_scale():
    box, rng = Box(parameters=PLAIN | LOGARITHMIC), np.random.default_rng(0)
    points = [box.sample(rng) for _ in range(3000)]
    assert kstest([(p["temperature"] - 300) / 900 for p in points], "uniform").pvalue > 0.001
    assert kstest([math.log(p["pressure"] / 1e-7) / math.log(1e8) for p in points], "uniform").pvalue > 0.001
    counts = np.bincount([p["cycles"] + 3 for p in points], minlength=12)
    assert (abs(counts - 250) < 5 * math.sqrt(250)).all()


def test_inactive_parameters_are_absent_and_encoded_neutrally():
    box = Box(parameters=CONDITIONAL)
    melt = {"route": "melt", "steps": 2}
    box.check(melt)
    assert box.encode([melt])[0].tolist() == [1, 0, 0, 0.375, 0.5, 0.5, 0.5, 0.5]
    box.check({"route": "sputter", "steps": 3, "anneal": True, "anneal_temperature": 500, "second_power": 20.0})
    with pytest.raises(InvalidPoint, match="anneal only when"):
        box.check(melt | {"anneal": True})
    with pytest.raises(InvalidPoint, match="second_power"):
        box.check({"route": "sputter", "steps": 3, "anneal": False})


def test_mutation_changes_one_value_in_d_and_reaches_everything():
    box, rng = Box(parameters=PLAIN), np.random.default_rng(1)
    point = {"temperature": 301.0, "cycles": 8, "solvent": "water"}
    mutants = [box.mutate(point, rng) for _ in range(600)]
    changed = [sum(mutant[key] != point[key] for key in point) for mutant in mutants]
    assert min(changed) == 1
    assert 1.2 < np.mean(changed) < 2.0  # one for sure and each of the others with probability 1/3
    assert {mutant["solvent"] for mutant in mutants} == {"water", "ethanol", "toluene"}
    steps = [abs(mutant["temperature"] - 301) for mutant in mutants if mutant["temperature"] != 301]
    assert 40 < np.median(steps) < 90  # median of |normal(0, 90)| is 61


def test_children_take_every_value_from_a_parent():
    box, rng = Box(parameters=PLAIN), np.random.default_rng(2)
    a, b = (
        {"temperature": 400.0, "cycles": 1, "solvent": "water"},
        {"temperature": 500.0, "cycles": 2, "solvent": "ethanol"},
    )
    children = [box.cross(a, b, rng) for _ in range(100)]
    assert all(child[key] in (a[key], b[key]) for child in children for key in child)
    assert len({tuple(child.values()) for child in children}) == 8


@pytest.mark.parametrize(
    ("point", "name"),
    [
        ({"temperature": 299.0}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"cycles": 2.5}, "cycles"),
        ({"cycles": 9}, "cycles"),
        ({"solvent": "watr"}, "solvent"),
        ({"temprature": 300}, "did you mean 'temperature'"),
    ],
)
def test_bad_points_are_named(point, name):
    good = {"temperature": 400.0, "cycles": 1, "solvent": "water"}
    with pytest.raises(InvalidPoint, match=name):
        Box(parameters=PLAIN).check(good | point)


FLOAT = {"type": "float", "low": 0, "high": 1}
KIND = {"type": "categorical", "choices": ["a", "b"]}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "at least one"),
        ({"x": 3}, "'x' to have type"),
        ({"x": {"type": "flot"}}, "'x' to have type"),
        ({"x": {"type": "float", "low": 2, "high": 1}}, "low < high for parameter 'x'"),
        ({"x": {"type": "float", "low": 1, "high": 1}}, "low < high for parameter 'x'"),
        ({"x": {"type": "float", "low": 1}}, "high of parameter 'x', got None"),
        ({"x": {"type": "float", "low": math.nan, "high": 1}}, "low of parameter 'x'"),
        ({"x": {"type": "integer", "low": 0.5, "high": 3}}, "whole number for low"),
        ({"x": FLOAT | {"log": True}}, "low > 0 for parameter 'x' with log"),
        ({"x": FLOAT | {"log": "yes"}}, "log: true or false"),
        ({"x": FLOAT | {"hihg": 3}}, "'hihg' in parameter 'x' of type float; did you mean 'high'"),
        ({"x": KIND | {"low": 3}}, "unknown key 'low'"),
        ({"x": {"type": "categorical", "choices": []}}, "choices"),
        ({"x": {"type": "categorical", "choices": "ab"}}, "choices"),
        ({"x": {"type": "categorical", "choices": ["a", "a"]}}, "'a' twice"),
        ({"x": FLOAT | {"when": {"x": [1]}}}, "cannot be"),
        ({"x": FLOAT | {"when": {"kind": ["a"]}}, "kind": KIND}, "declare it before"),
        ({"kind": KIND, "x": FLOAT | {"when": {"kin": ["a"]}}}, "did you mean 'kind'"),
        ({"kind": KIND, "x": FLOAT | {"when": {"kind": ["c"]}}}, "can never hold"),
        ({"kind": KIND, "x": FLOAT | {"when": {"kind": []}}}, "list values"),
        ({"y": FLOAT, "x": FLOAT | {"when": {"y": [0.5]}}}, "integer or categorical"),
        ({"kind": KIND, "x": FLOAT | {"when": ["kind"]}}, "when: {other"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ConfigError, match=message):
        Box(parameters=parameters)


def test_true_and_one_are_different_choices():
    box = Box(parameters={"flag": {"type": "categorical", "choices": [True, 1, "1"]}})
    for value in (True, 1, "1"):
        assert box.decode(box.encode([{"flag": value}])[0])["flag"] is value
