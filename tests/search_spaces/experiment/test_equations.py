"""Equations between parameters: found, filled, decoded near to, climbed along; and what cannot be found is said so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import kstest

from matloop.orchestrator.errors import ConfigError
from matloop.search_spaces.experiment.space import Experiment

TEN = {"type": "float", "low": 0, "high": 10}
HALVES = {**TEN, "step": 0.5}
UNIT = {"type": "float", "low": -1, "high": 1}


def curve(*constraints, **parameters):
    return Experiment(parameters=parameters or dict.fromkeys("ab", TEN), constraints=list(constraints))


@pytest.mark.parametrize("others", [{}, {"c": TEN, "d": TEN}], ids=["alone", "beside others"])
def test_a_product_is_filled_evenly_along_its_curve(others):
    space = curve("a * b == 12", a=TEN, b=TEN, **others)
    points = space.draw(400, np.random.default_rng(0))
    places = np.linspace(1.2, 10, 20_001)
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(places), np.diff(12 / places)))])
    shares = np.interp([point["a"] for point in points], places, length / length[-1])
    assert kstest(shares, "uniform").statistic < 0.12
    assert (shares < 1e-6).mean() < 0.02 and (shares > 1 - 1e-6).mean() < 0.02  # not piled up at the ends


def test_of_a_product_in_steps_the_other_factor_follows():
    space = curve("a * b == 12", a=HALVES, b=TEN)
    points = space.draw(300, np.random.default_rng(0))
    assert len({point["a"] for point in points}) >= 14  # of 1.5, 2.0, … 10.0
    assert all(point["b"] == pytest.approx(12 / point["a"]) for point in points)


def test_of_products_in_steps_all_pairs_are_found():
    space = curve("a * b == 12", a=HALVES, b=HALVES)
    pairs = {(point["a"], point["b"]) for point in space.draw(400, np.random.default_rng(0))}
    assert pairs == {(n / 2, m / 2) for n in range(1, 21) for m in range(1, 21) if n * m == 48}


def test_two_equations_hold_at_once():
    space = curve("a ** 2 + b ** 2 + c ** 2 == 1", "a * d == 0.1", **dict.fromkeys("abcd", UNIT))
    points = space.draw(100, np.random.default_rng(0))
    assert all(abs(p["a"] * p["d"] - 0.1) < 1e-8 for p in points)
    for name in "bc":
        assert np.ptp([point[name] for point in points]) > 1.4


def test_a_product_of_amounts_is_slid_to():
    space = Experiment(mixtures={"m": {"components": list("abc")}}, constraints=["a * b == 0.1"])
    amounts = np.array([list(p.values()) for p in space.draw(100, np.random.default_rng(0))])
    assert np.allclose(amounts.sum(axis=1), 1) and np.allclose(amounts[:, 0] * amounts[:, 1], 0.1)
    assert amounts[:, 0].min() < 0.2 and amounts[:, 0].max() > 0.7


def nearest(f, jacobian, x, starts):
    """Distance to the nearest point of the unit square where f is 0, by quadratic programs from many places."""
    found = [
        minimize(
            lambda v: ((v - x) ** 2).sum(),
            start,
            jac=lambda v: 2 * (v - x),
            bounds=[(0, 1)] * len(x),
            constraints={"type": "eq", "fun": f, "jac": jacobian},
            method="SLSQP",
            options={"ftol": 1e-12},
        )
        for start in starts
    ]
    return min(np.sqrt(r.fun) for r in found if r.success)


@pytest.mark.parametrize(
    ("text", "f", "jacobian"),
    [
        ("a * b == 12", lambda v: 100 * v[0] * v[1] - 12, lambda v: [100 * v[1], 100 * v[0]]),
        ("a ** 2 + b ** 2 == 64", lambda v: 100 * (v @ v) - 64, lambda v: 200 * v),
        ("a + b == 10", lambda v: 10 * v.sum() - 10, lambda v: [10, 10]),
    ],
)
def test_decoding_comes_near_the_nearest(text, f, jacobian):
    space, rng = curve(text), np.random.default_rng(1)
    ratios, corners = [], [np.array([i, j]) / 4 + 0.1 for i in range(4) for j in range(4)]
    for x in [*rng.random((40, 2)), np.zeros(2), np.ones(2), np.array([1.0, 0.0])]:
        point = space.decode(x)
        space.check(point)
        there = space.encode([point])[0]
        assert space.decode(there) == pytest.approx(point, abs=1e-9)
        ratios.append(np.linalg.norm(there - x) / max(nearest(f, jacobian, x, corners), 0.02))
    assert np.median(ratios) < 1.05 and max(ratios) < 1.6


@pytest.mark.parametrize("a", [TEN, HALVES])
def test_mutation_climbs_along_a_product(a):
    """b − a is largest at a = 1.2 (1.5 in halves), b = 10 (8)."""
    space, rng = curve("a * b == 12", a=a, b=TEN, c=TEN), np.random.default_rng(0)
    best = {"a": 6.0, "b": 2.0, "c": 5.0}
    for _ in range(150):
        mutant = space.mutate(best, rng)
        space.check(mutant)
        assert mutant != best
        best = max(best, mutant, key=lambda p: p["b"] - p["a"])
    assert best["b"] - best["a"] > (6.4 if a is HALVES else 8.3)


@settings(deadline=None, derandomize=True, max_examples=15)
@given(
    st.lists(st.sampled_from("abc"), min_size=2, max_size=3, unique=True),
    st.floats(0.5, 400),
    st.sampled_from([TEN, HALVES, {"type": "float", "low": 0.01, "high": 10, "log": True}]),
    st.integers(0, 99),
)
def test_whatever_product_can_be_had_is_found(names, value, first, seed):
    """With one factor in steps, on a logarithmic scale or on a linear one, the others free."""
    assume(value < 0.8 * 10 ** len(names))
    space = curve(f"{' * '.join(names)} == {value!r}", a=first, b=TEN, c=TEN)
    rng = np.random.default_rng(seed)
    point = space.sample(rng)
    for made in (
        point,
        space.mutate(point, rng),
        space.cross(point, space.sample(rng), rng),
        space.decode(rng.random(3)),
    ):
        space.check(made)
        assert np.prod([made[name] for name in names]) == pytest.approx(value)


def test_what_was_not_found_is_not_called_impossible():
    with pytest.raises(ConfigError, match=r"found no point .* in 500 tries.*there is none, or it is hard to find"):
        curve("a * b == 12", "a + b <= 3")


def test_what_few_points_show_is_said():
    digit = {"type": "integer", "low": 0, "high": 9}
    with pytest.raises(ConfigError, match="none of all that the space has does"):
        curve("a * b == 11", a=digit, b=digit)
