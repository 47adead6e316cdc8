"""Spaces of experiments: their contract, constraints, repair against a quadratic program, even draws."""

from __future__ import annotations

import pickle
import sys
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import kstest

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Column, Finite
from matloop.search_spaces.experiment.space import Experiment
from matloop.testing.space import SpaceContract

UNIT = {"type": "float", "low": 0.0, "high": 1.0}
SYNTHESIS = {
    "parameters": {
        "temperature": {"type": "float", "low": 600, "high": 1100, "step": 10, "unit": "°C"},
        "time": {"type": "float", "low": 0.5, "high": 48, "log": True, "unit": "h"},
        "atmosphere": {"type": "categorical", "choices": ["air", "argon", "vacuum"]},
        "pressure": {"type": "float", "low": 1e-6, "high": 1e-2, "log": True, "when": {"atmosphere": "vacuum"}},
        "binder": {"type": "categorical", "descriptors": {"PVA": [1.2, 180], "PEG": [1.1, 60], "PVB": [1.08, 165]}},
    },
    "mixtures": {
        "alloy": {
            "components": ["Fe", "Co", "Ni", "Cr"], "at_most": 3, "minimum": 0.05, "step": 0.05,
            "limits": {"Fe": [0, 0.6]}, "unit": "mol/mol",
        },
        "solvent": {"components": ["water", "ethanol"], "total": 100, "unit": "vol %"},
    },
    "constraints": [
        "Fe + Co >= 0.3",
        "temperature <= 900 or atmosphere != 'air'",
        "(temperature - 500) * time <= 9000",
        "pressure * time <= 0.1",
        "ethanol <= 60",
    ],
}  # fmt: skip


WHOLE = {"type": "integer", "low": 0, "high": 10}
NARROW = {"parameters": dict.fromkeys("abcdef", UNIT), "constraints": ["a + b + c + d + e + f <= 1"]}
EQUAL = {
    "parameters": {**dict.fromkeys("abc", UNIT), "n": {"type": "integer", "low": 0, "high": 3}},
    "constraints": ["a + 2 * b == 1", "a ** 2 + c ** 2 <= 1"],
}
SCATTERED = {
    "parameters": {"a": WHOLE, "b": WHOLE, "kind": {"type": "categorical", "choices": list("uvw")}},
    "constraints": ["a == b * b and b >= 3 or a == 10 - b and b > 9"],
}


@cache
def synthesis():
    return Experiment(**SYNTHESIS)


@cache
def unconstrained():
    return Experiment(parameters=SYNTHESIS["parameters"], mixtures=SYNTHESIS["mixtures"])


@cache
def alloy():
    return Experiment(mixtures={"alloy": SYNTHESIS["mixtures"]["alloy"]}, constraints=["Fe >= 2 * Co or Cr == 0"])


@cache
def narrow():
    return Experiment(**NARROW)


@cache
def equal():
    return Experiment(**EQUAL)


@cache
def scattered():
    return Experiment(**SCATTERED)


TEN = {"type": "float", "low": 0, "high": 10}
HUNDRED = {"type": "float", "low": 0, "high": 100}
STEEL = {
    "parameters": {"T": HUNDRED},
    "mixtures": {
        "steel": {
            "components": ["Fe", "Cr", "Mo", "V"], "total": 100, "at_most": 3, "step": 0.5, "limits": {"Fe": [85, 100]},
        }
    },
}  # fmt: skip
WATER = {
    "mixtures": {
        "bath": {
            "components": ["water", *"abcd"],
            "total": 100,
            "limits": {"water": (80, 100), **dict.fromkeys("abcd", (0, 10))},
        }
    },
    "parameters": {"kind": {"type": "categorical", "choices": list("uvwxyz")}},
}  # fmt: skip
LINE = {"parameters": dict.fromkeys("ab", TEN), "constraints": ["a + b == 10"]}
HYPERBOLA = {
    "parameters": {
        "a": TEN,
        "b": TEN,
        "kind": {"type": "categorical", "choices": list("uvw")},
    },
    "constraints": ["a * b == 12"],
}
STEPPED_HYPERBOLA = {
    "parameters": {
        "a": {"type": "float", "low": 0, "high": 10, "step": 0.5},
        "b": TEN,
        "T": HUNDRED,
    },
    "constraints": ["a * b == 12"],
}


MORE = {"steel": STEEL, "water": WATER, "line": LINE, "hyperbola": HYPERBOLA, "stepped": STEPPED_HYPERBOLA}


@cache
def made(name):
    return Experiment(**MORE[name])


class TestSynthesis(SpaceContract):
    @pytest.fixture
    def space(self):
        return synthesis()


class TestWithoutConstraints(SpaceContract):
    @pytest.fixture
    def space(self):
        return unconstrained()


class TestMixtureAlone(SpaceContract):
    @pytest.fixture
    def space(self):
        return alloy()


class TestNarrow(SpaceContract):
    """A corner of a cube: 1 / 720 of it by volume, in six dimensions."""

    @pytest.fixture
    def space(self):
        return narrow()


class TestEquality(SpaceContract):
    @pytest.fixture
    def space(self):
        return equal()


class TestScattered(SpaceContract):
    """Allowed integers far apart: two pairs of 121."""

    @pytest.fixture
    def space(self):
        return scattered()


class TestManyMore(SpaceContract):
    """Narrow limits, an equation, a product that is given, and the same in steps."""

    @pytest.fixture(params=["steel", "water", "line", "hyperbola", "stepped"])
    def space(self, request):
        return made(request.param)


def test_columns_and_units():
    space = synthesis()
    assert len(space.columns) == space.dimension == space.bounds.shape[1] == 1 + 1 + 3 + 1 + 2 + 4 + 2
    assert space.columns[6] == Column("binder", "descriptor", "descriptor 1")
    assert space.columns[-1] == Column("solvent", "mixture", "ethanol")
    assert space.units["temperature"] == "°C" and space.units["water"] == "vol %" and space.units["binder"] == ""
    assert space.bounds[1, 8:].tolist() == [0.6, 1, 1, 1, 1, 1]


def test_a_failed_constraint_is_named_with_the_values_it_mentions():
    space = synthesis()
    point = {
        "temperature": 700.0, "time": 2.0, "atmosphere": "air", "binder": "PEG",
        "Fe": 0.5, "Co": 0.5, "Ni": 0.0, "Cr": 0.0, "water": 50.0, "ethanol": 50.0,
    }  # fmt: skip
    space.check(point)
    with pytest.raises(InvalidPoint, match=r"Fe \+ Co >= 0.3, got Fe=0.2, Co=0.0"):
        space.check(point | {"Fe": 0.2, "Co": 0.0, "Ni": 0.8})
    with pytest.raises(InvalidPoint, match=r"temperature=910\.0, atmosphere='air'"):
        space.check(point | {"temperature": 910.0})
    with pytest.raises(InvalidPoint, match="did you mean 'ethanol'"):
        space.check(point | {"etanol": 3})
    space.check(point | {"temperature": 910.0, "atmosphere": "vacuum", "pressure": 1e-3})


def test_a_constraint_on_an_absent_parameter_does_not_apply():
    space = synthesis()
    points = [space.sample(np.random.default_rng(seed)) for seed in range(200)]
    without = [p for p in points if "pressure" not in p]
    assert without and all(p["pressure"] * p["time"] <= 0.1 for p in points if "pressure" in p)


DONE = {
    "temperature": 703.5, "time": 2.1, "atmosphere": "air", "binder": "PEG",
    "Fe": 0.103, "Co": 0.101, "Ni": 0.792, "Cr": 0.01, "water": 49.2, "ethanol": 50.1,
}  # fmt: skip


def test_what_was_really_done_may_lie_between_steps_and_outside_constraints():
    space = synthesis()
    with pytest.raises(InvalidPoint):
        space.check(DONE)
    space.check_measured(DONE)
    assert np.isfinite(space.encode([DONE])).all()
    for change, message in [
        ({"temperature": 7035.0}, "temperature"),
        ({"Fe": 0.3}, "Fe \\+ Co"),
        ({"Fe": -0.1}, "Fe to be 0 to 1"),
        ({"binder": "PVC"}, "binder"),
        ({"pressure": 1e-3}, "pressure only when"),
        ({"wter": 3}, "did you mean 'water'"),
    ]:
        with pytest.raises(InvalidPoint, match=message):
            space.check_measured(DONE | change)


def test_children_of_what_was_really_done_are_allowed():
    space, rng = synthesis(), np.random.default_rng(0)
    for _ in range(20):
        space.check(space.mutate(DONE, rng))
        space.check(space.cross(DONE, space.sample(rng), rng))
        space.check(space.decode(space.encode([DONE])[0]))


def test_draws_are_uniform_given_the_constraints():
    space = Experiment(parameters=dict.fromkeys("ab", UNIT), constraints=["a + b <= 1"])
    rng = np.random.default_rng(0)
    assert kstest([space.sample(rng)["a"] for _ in range(1500)], lambda a: 1 - (1 - a) ** 2).pvalue > 0.001


def test_rare_draws_come_close_to_uniform():
    """Six numbers that add up to at most 1: each is Beta(1, 6). Draws are independent walks."""
    rng = np.random.default_rng(1)
    points = [narrow().sample(rng) for _ in range(300)]
    for name in "af":
        assert kstest([p[name] for p in points], lambda a: 1 - (1 - a) ** 6).statistic < 0.1
    assert kstest([sum(p.values()) for p in points], lambda s: s**6).statistic < 0.1


def test_draws_on_an_equality_spread_over_it():
    space = Experiment(parameters=dict.fromkeys("ab", UNIT), constraints=["a + 2 * b == 1"])
    rng = np.random.default_rng(2)
    points = [space.sample(rng) for _ in range(200)]
    assert all(abs(p["a"] + 2 * p["b"] - 1) < 1e-8 for p in points)
    assert kstest([p["a"] for p in points], "uniform").statistic < 0.15


def test_decoding_comes_near_the_nearest():
    """Against a quadratic program, for linear constraints on numbers."""
    names = list("abcd")
    space = Experiment(
        parameters=dict.fromkeys(names, UNIT), constraints=["a + b + c <= 1", "d >= a + 0.2", "b + 0.5 * d <= 0.7"]
    )
    left = np.array([[-1, -1, -1, 0], [-1, 0, 0, 1], [0, -1, 0, -0.5]])
    right = np.array([1, -0.2, 0.7])
    rng, ratios = np.random.default_rng(3), []
    for _ in range(60):
        x = rng.random(4)
        if (left @ x + right >= 0).all():
            assert np.allclose(space.encode([space.decode(x)])[0], x)
            continue
        solved = minimize(
            lambda v, aim=x: ((v - aim) ** 2).sum(),
            np.array([0.2, 0.2, 0.2, 0.6]),
            jac=lambda v, aim=x: 2 * (v - aim),
            bounds=[(0, 1)] * 4,
            constraints={"type": "ineq", "fun": lambda v: left @ v + right, "jac": lambda v: left},
            method="SLSQP",
        )
        found = space.decode(x)
        space.check(found)
        ratios.append(np.linalg.norm(space.encode([found])[0] - x) / np.sqrt(solved.fun))
    assert len(ratios) > 20
    assert min(ratios) > 0.999
    assert np.median(ratios) < 1.1 and max(ratios) < 2.0


def test_a_point_of_many_parameters_is_repaired_in_one_place_only():
    space = Experiment(parameters=dict.fromkeys("abcdefgh", UNIT), constraints=["a + b <= 1"])
    x = np.array([0.8, 0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    found = space.encode([space.decode(x)])[0]
    assert np.allclose(found[2:], x[2:])
    assert np.allclose(found[:2], [0.45, 0.55])


def test_a_function_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "furnace_rules.py").write_text(
        "def allowed(point):\n    return point['a'] < 0.5 or point['b'] < 0.2\n\n"
        "def wrong(point):\n    return 1 / 0\n\n"
        "def vague(point):\n    return 'yes'\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    two = dict.fromkeys("ab", UNIT)
    space = Experiment(parameters=two, constraints=["furnace_rules:allowed"], folder=tmp_path)
    for copy in (space, pickle.loads(pickle.dumps(space))):
        points = [copy.sample(np.random.default_rng(seed)) for seed in range(50)]
        assert all(p["a"] < 0.5 or p["b"] < 0.2 for p in points)
        with pytest.raises(InvalidPoint, match="furnace_rules:allowed"):
            copy.check({"a": 0.9, "b": 0.9})
        copy.check(copy.decode(np.array([0.9, 0.9])))
    for text, message in [
        ("furnace_rules:wrong", "raised ZeroDivisionError"),
        ("furnace_rules:vague", "True or False, got 'yes'"),
        ("furnace_rules:alowed", "no function 'alowed'"),
        ("no_such_module:allowed", "cannot import 'no_such_module'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            Experiment(parameters=two, constraints=[text], folder=tmp_path)
    monkeypatch.delitem(sys.modules, "furnace_rules")


def test_it_is_never_listed():
    levels = {"type": "ordinal", "choices": [1, 2, 5, 10, 20]}
    space = Experiment(parameters={f"x{i}": levels for i in range(20)}, constraints=["x0 + x1 <= x2 + 20"])
    assert not isinstance(space, Finite)
    space.check(space.sample(np.random.default_rng(0)))


@st.composite
def experiments(draw):
    """Small spaces of every kind, with constraints that hold somewhere."""
    parameters = {
        "t": {"type": "float", "low": 0, "high": 10, **draw(st.sampled_from([{}, {"step": 0.5}]))},
        "n": {"type": "integer", "low": 1, "high": 9, **draw(st.sampled_from([{}, {"step": 2}, {"log": True}]))},
        "g": draw(
            st.sampled_from(
                [
                    {"type": "ordinal", "choices": [1, 2, 5]},
                    {"type": "categorical", "choices": [1, 2, 5]},
                    {"type": "categorical", "descriptors": {1: [0, 1], 2: [1, 1], 5: [0.2, 0.3]}},
                ]
            )
        ),
        "h": {"type": "float", "low": 1, "high": 3, "when": {"g": [1, 5]}},
    }
    mixture = {"components": ["A", "B", "C", "D"], "at_most": draw(st.integers(2, 4))}
    mixture |= draw(st.sampled_from([{}, {"minimum": 0.1}, {"step": 0.1}, {"step": 0.05, "minimum": 0.15}]))
    some = ["A + B >= 0.5", "t <= 4 * n", "h * t <= 12", "g != 2 or C <= 0.4", "A ** 2 + D ** 2 <= 0.6", "t + n >= 4"]
    constraints = draw(st.lists(st.sampled_from(some), unique=True))
    return Experiment(parameters=parameters, mixtures={"m": mixture}, constraints=constraints)


@settings(deadline=None, derandomize=True, max_examples=12)
@given(experiments(), st.integers(0, 10**6))
def test_whatever_it_gives_is_allowed(space, seed):
    rng = np.random.default_rng(seed)
    a, b = space.sample(rng), space.sample(rng)
    lower, upper = space.bounds
    decoded = [space.decode(rng.uniform(lower, upper)) for _ in range(3)]
    for point in (a, b, space.mutate(a, rng), space.cross(a, b, rng), *decoded):
        space.check(point)
        space.check_measured(point)
        again = space.decode(space.encode([point])[0])
        assert again == pytest.approx(point, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "parameters or mixtures, got neither"),
        ({"parameters": {"Fe": UNIT}, "mixtures": {"m": {"components": ["Fe", "Co"]}}}, "'Fe' twice"),
        ({"mixtures": {"m": ["Fe", "Co"]}}, "mixture 'm' to have components"),
        ({"parameters": {"a": UNIT}, "constraints": ["a >= 2"]}, r"no point .* 'a >= 2' at 0.0%"),
        ({"parameters": {"a": UNIT}, "constraints": ["a <= 0.3", "a >= 0.4"]}, "all constraints hold"),
        ({"parameters": {"a": UNIT}, "constraints": ["A <= 0.3"]}, "unknown name 'A'"),
        ({"parameters": {"a": UNIT}, "constraints": [3]}, "expected constraints to be texts"),
        ({"parameters": {"a": UNIT}, "constraints": "a <= 0.3"}, "a list of texts, got the text 'a <= 0.3'"),
        ({"mixtures": {"m": {"components": ["Fe", "Co"], "unit": [1]}}}, "unit of mixture 'm'"),
        ({"mixtures": {"m": {"components": ["Fe", "Co"]}}, "descriptors": ["x.csv"]}, "expected parameters"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        Experiment(**options)
