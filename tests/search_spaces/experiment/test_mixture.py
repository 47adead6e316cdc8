"""Mixtures: their contract, the nearest against enumeration and a quadratic program, even draws, exact sums."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import chisquare, kstest

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.search_spaces.experiment.amounts import project
from matloop.search_spaces.experiment.mixture import Mixture
from matloop.search_spaces.experiment.reading import read_mixture
from matloop.testing.space import SpaceContract

METALS = ["Fe", "Co", "Ni", "Cr", "Mn", "Cu"]
ALLOY = {
    "components": METALS, "at_most": 4, "minimum": 0.05, "step": 0.05, "limits": {"Fe": [0.1, 0.6], "Cu": [0, 0.2]},
}  # fmt: skip
SALT = {"components": METALS[:4], "total": 100, "at_most": 3, "at_least": 2, "minimum": 10, "limits": {"Ni": [0, 40]}}


class TestPlainMixture(SpaceContract):
    @pytest.fixture
    def space(self):
        return Mixture("blend", components=["a", "b", "c"])


class TestSteppedMixture(SpaceContract):
    @pytest.fixture
    def space(self):
        return read_mixture("alloy", ALLOY)


class TestContinuousMixtureWithMinimum(SpaceContract):
    @pytest.fixture
    def space(self):
        return read_mixture("salt", SALT)


class TestWideMixture(SpaceContract):
    @pytest.fixture(params=[None, 0.05], ids=["any amount", "in steps"])
    def space(self, request):
        return Mixture("wide", components=list("abcdefgh"), step=request.param)


class TestMixtureWithFixedAmounts(SpaceContract):
    @pytest.fixture
    def space(self):
        return read_mixture("fixed", {"components": list("abcde"), "limits": {"a": [0.3, 0.3], "c": [0, 0]}})


class TestSparseMixture(SpaceContract):
    @pytest.fixture
    def space(self):
        return Mixture("sparse", components=[f"c{i}" for i in range(12)], at_most=3)


def every(mixture, steps):
    """Every valid mixture in so many steps, by trying all."""
    m, found = len(mixture.components), []
    for units in product(range(steps + 1), repeat=m):
        if sum(units) != steps:
            continue
        point = {
            c: float(Fraction(repr(mixture.total)) * n / steps) for c, n in zip(mixture.components, units, strict=True)
        }
        try:
            mixture.check(point)
        except InvalidPoint:
            continue
        found.append(point)
    return found


@st.composite
def options(draw, stepped):
    m = draw(st.integers(2, 4))
    names = METALS[:m]
    at_most = draw(st.integers(1, m))
    made = {"components": names, "at_most": at_most, "minimum": draw(st.sampled_from([0.0, 0.1, 0.25]))}
    if stepped:
        made["step"] = draw(st.sampled_from([0.1, 0.125, 0.05] if m < 4 else [0.1, 0.125]))
    if draw(st.booleans()):
        made["limits"] = {
            name: [draw(st.sampled_from([0.0, 0.0, 0.1])), draw(st.sampled_from([0.3, 0.5, 1.0]))]
            for name in draw(st.lists(st.sampled_from(names), unique=True))
        }
    if stepped or made["minimum"]:
        made["at_least"] = draw(st.integers(1, at_most))
    return made


@settings(deadline=None, derandomize=True, max_examples=60)
@given(options(stepped=True), st.integers(0, 10**6))
def test_in_steps_the_nearest_is_the_nearest_of_all(made, seed):
    steps = round(1 / made["step"])
    try:
        mixture = read_mixture("mix", made)
    except ConfigError:
        return
    points = every(mixture, steps)
    assert mixture.lattice_size == len(points)
    codes, rng = mixture.encode(points), np.random.default_rng(seed)
    for x in rng.random((5, len(made["components"]))):
        found = mixture.encode([mixture.decode(x)])[0]
        best = ((codes - x) ** 2).sum(axis=1).min()
        assert ((found - x) ** 2).sum() == pytest.approx(best, abs=1e-12)


def test_what_is_refused_as_impossible_has_no_points():
    refused = 0
    for highest, at_most, minimum in product([0.2, 0.3, 0.5], [1, 2, 3], [0.0, 0.25, 0.4]):
        made = {"components": METALS[:3], "at_most": at_most, "minimum": minimum, "step": 0.05, "at_least": 1}
        made["limits"] = {name: [0, highest] for name in METALS[:3]}
        allowed = [0, *(n for n in range(1, 21) if minimum - 1e-9 <= n * 0.05 <= highest + 1e-9)]
        possible = any(
            sum(units) == 20 and sum(n > 0 for n in units) <= at_most for units in product(allowed, repeat=3)
        )
        try:
            read_mixture("mix", made)
        except ConfigError:
            refused += 1
            assert not possible
        else:
            assert possible
    assert 0 < refused < 27


@settings(deadline=None, derandomize=True, max_examples=40)
@given(options(stepped=False), st.integers(0, 10**6))
def test_without_steps_the_nearest_is_that_of_the_best_set(made, seed):
    try:
        mixture = read_mixture("mix", made)
    except ConfigError:
        return
    x = np.random.default_rng(seed).random(len(made["components"]))
    low, high = np.zeros(len(x)), np.ones(len(x))
    for i, name in enumerate(made["components"]):
        pair = made.get("limits", {}).get(name, [0, 1])
        low[i], high[i] = pair
    distances = []
    for size in range(made.get("at_least", 1), made["at_most"] + 1):
        for some in combinations(range(len(x)), size):
            chosen = list(some)
            if any(low[i] > 0 and i not in some for i in range(len(x))):
                continue
            floor = np.maximum(low[chosen], made["minimum"])
            if floor.sum() > 1 + 1e-12 or high[chosen].sum() < 1 - 1e-12:
                continue
            solved = minimize(
                lambda v, aim=x[chosen]: ((v - aim) ** 2).sum(),
                np.clip(np.full(size, 1 / size), floor, high[chosen]),
                jac=lambda v, aim=x[chosen]: 2 * (v - aim),
                bounds=list(zip(floor, high[chosen], strict=True)),
                constraints={"type": "eq", "fun": lambda v: v.sum() - 1, "jac": lambda v: np.ones(len(v))},
                method="SLSQP",
                options={"ftol": 1e-14},
            )
            absent = np.delete(x, chosen)
            if solved.success:
                distances.append(solved.fun + (absent**2).sum())
    found = mixture.encode([mixture.decode(x)])[0]
    assert ((found - x) ** 2).sum() == pytest.approx(min(distances), abs=1e-6)


def test_among_many_sets_the_nearest_is_rarely_missed():
    """With unlike limits and many sets the search is local; against all sets."""
    rng, exact, worst = np.random.default_rng(0), 0, 0.0
    for _ in range(40):
        names = [f"c{i}" for i in range(9)]
        limits = {name: [0.0, float(rng.choice([0.15, 0.3, 0.6, 1.0]))] for name in names}
        mixture = Mixture("mix", components=names, at_most=4, minimum=0.1, limits=limits)
        high = np.array([pair[1] for pair in limits.values()])
        x = rng.random(9) * rng.choice([0.3, 1.0])
        best = np.inf
        for size in range(1, 5):
            for some in combinations(range(9), size):
                chosen = list(some)
                if high[chosen].sum() >= 1:
                    near = np.zeros(9)
                    near[chosen] = project(x[chosen], np.full(size, 0.1), high[chosen], 1.0)
                    best = min(best, ((near - x) ** 2).sum())
        found = ((mixture.encode([mixture.decode(x)])[0] - x) ** 2).sum()
        exact += found < best + 1e-9
        worst = max(worst, found / best)
    assert exact >= 36 and worst < 1.1


def test_in_steps_every_mixture_is_equally_likely():
    mixture = Mixture("mix", components=METALS[:3], at_most=2, minimum=0.2, step=0.1)
    points, rng = every(mixture, 10), np.random.default_rng(0)
    keys = [json.dumps(point) for point in points]
    counts = dict.fromkeys(keys, 0)
    for _ in range(4000):
        counts[json.dumps(mixture.sample(rng))] += 1
    assert len(keys) == 3 + 3 * 7
    assert chisquare(list(counts.values())).pvalue > 0.001


def test_amounts_are_uniform_on_the_simplex():
    mixture, rng = Mixture("mix", components=METALS[:4]), np.random.default_rng(1)
    amounts = [mixture.sample(rng)["Fe"] for _ in range(2000)]
    assert kstest(amounts, lambda a: 1 - (1 - a) ** 3).pvalue > 0.001  # a Dirichlet's margin is Beta(1, 3)


def test_amounts_are_uniform_where_limits_leave_little():
    """Two of ten components may hold more than a tenth: rejection fails, exchanges between pairs do not."""
    names = [f"c{i}" for i in range(10)]
    mixture = Mixture("mix", components=names, limits={n: [0, 0.1] for n in names[2:]})
    rng = np.random.default_rng(2)
    points = [mixture.sample(rng) for _ in range(1500)]
    for point in points[:50]:
        mixture.check(point)
    others = np.array([sum(p[n] for n in names[2:]) for p in points])
    left = np.array([p["c0"] for p in points]) / (1 - others)
    assert kstest(left, "uniform").pvalue > 0.001  # given the rest, the first two share evenly


def test_sets_of_components_are_equally_likely():
    mixture, rng = Mixture("mix", components=METALS[:4], at_most=2, minimum=0.1), np.random.default_rng(3)
    counts: dict[tuple[str, ...], int] = {}
    for _ in range(3000):
        present = tuple(c for c, amount in mixture.sample(rng).items() if amount > 0)
        counts[present] = counts.get(present, 0) + 1
    assert len(counts) == 4 + 6
    assert chisquare(list(counts.values())).pvalue > 0.001


@pytest.mark.parametrize(("total", "step"), [(1.0, 0.05), (100, 2.5), (1.0, 0.001), (0.3, 0.1), (7, 0.07), (1, 1 / 3)])
def test_steps_add_up_without_drift(total, step):
    mixture, rng = Mixture("mix", components=METALS, total=total, step=step), np.random.default_rng(4)
    point = mixture.sample(rng)
    for i in range(200):
        steps = [Fraction(amount) * mixture.steps / Fraction(repr(float(total))) for amount in point.values()]
        assert all(abs(n - round(n)) < Fraction(1, 10**9) for n in steps)
        assert sum(round(n) for n in steps) == mixture.steps
        point = mixture.mutate(point, rng) if i % 2 else mixture.cross(point, mixture.sample(rng), rng)


def test_a_fine_and_wide_lattice_is_counted_exactly():
    mixture = Mixture("mix", components=[f"c{i}" for i in range(20)], step=0.01)
    assert mixture.lattice_size == comb(119, 19)
    mixture.check(mixture.sample(np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Fe": 0.65, "Co": 0.0, "Ni": 0.35}, "Fe to be 0.1 to 0.6"),
        ({"Fe": 0.05}, "Fe to be 0.1"),
        ({"Fe": 0.0, "Co": 0.6}, "Fe to be 0.1"),
        ({"Co": 0.03}, "Co to be 0.05 to 1, or 0"),
        ({"Fe": 0.33, "Co": 0.37}, "Fe in steps of 0.05, got 0.33; 0.35 is the nearest"),
        ({"Co": 0.35}, r"to be 1, got 1\.05"),
        ({"Fe": 0.3, "Co": 0.3, "Ni": 0.2, "Cr": 0.1, "Mn": 0.1}, "1 to 4 of Fe, Co"),
        ({"Fe": True}, "Fe to be an amount"),
        ({"Fe": "0.4"}, "Fe to be an amount"),
        ({"Zn": 0.1}, "unknown component 'Zn'"),
    ],
)
def test_amounts_that_are_not_allowed_are_named(change, message):
    good = {"Fe": 0.4, "Co": 0.3, "Ni": 0.3, "Cr": 0.0, "Mn": 0.0, "Cu": 0.0}
    mixture = read_mixture("alloy", ALLOY)
    mixture.check(good)
    with pytest.raises(InvalidPoint, match=message):
        mixture.check(good | change)


def test_rounded_amounts_are_accepted():
    third = {"a": 33.33333, "b": 33.33333, "c": 33.33334}
    Mixture("mix", components=list("abc"), total=100).check(third)
    with pytest.raises(InvalidPoint, match="to be 100"):
        Mixture("mix", components=list("abc"), total=100).check(third | {"a": 33.3})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"components": ["Fe"]}, "at least two"),
        ({"components": ["Fe", "Fe"]}, "different names"),
        ({"atmost": 3}, "did you mean 'at_most'"),
        ({"total": 0}, "total of mixture 'alloy'"),
        ({"step": 0.3}, "whole number of steps"),
        ({"step": 1e-7}, "coarser step"),
        ({"at_most": 0}, "whole number >= 1"),
        ({"at_least": 5}, "no more than at_most"),
        ({"at_least": 2, "minimum": 0, "step": None}, "any trace"),
        ({"minimum": 0.3}, "'Cu' of mixture 'alloy' can never be present"),
        ({"limits": {"Zn": [0, 1]}}, "unknown component 'Zn' in limits"),
        ({"limits": {"Fe": [0.5, 0.2]}}, "least <= most"),
        ({"limits": {"Fe": 0.5}}, r"\[least, most\]"),
        ({"limits": {name: [0, 0.2] for name in METALS}}, "no amounts add up to the total"),
    ],
)
def test_bad_options_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        read_mixture("alloy", ALLOY | change)


def test_a_corner_is_one_mixture_however_it_is_reached():
    mixture = Mixture("mix", components=list("abc"), at_most=1, minimum=0.3)
    rng = np.random.default_rng(0)
    points = [mixture.sample(rng) for _ in range(60)] + [mixture.decode(rng.random(3)) for _ in range(60)]
    assert {max(point.values()) for point in points} == {1.0}
    free = Mixture("mix", components=list("abcde"), total=37.5)
    for x in rng.random((40, 5)):
        point = free.decode(x)
        assert free.decode(free.encode([point])[0]) == point


def test_too_fine_a_step_is_not_blamed_on_limits():
    with pytest.raises(ConfigError) as caught:
        Mixture("alloy", components=list("abcdefg"), step=1e-6)
    assert "mixture 'alloy': expected at most" in str(caught.value)
    assert "limits" not in str(caught.value)
