"""Slices through a known function: what changes, what is held, what is marked, and which measurements are near."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.report.forecast import Forecast, Outside
from matloop.orchestrator.report.inputs import inputs_of
from matloop.orchestrator.report.order import Order, centre
from matloop.orchestrator.report.response import NEAR, PLACES, SIDE, Responses, telling
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.experiment.space import Experiment
from matloop.search_spaces.pool import Pool

SPACE = Experiment(
    parameters={
        "t": {"type": "float", "low": 600, "high": 1000, "step": 50, "unit": "°C"},
        "hours": {"type": "float", "low": 0.5, "high": 50, "log": True},
        "gas": {"type": "categorical", "choices": ["argon", "air"]},
        "flow": {"type": "integer", "low": 1, "high": 9, "when": {"gas": ["air"]}},
    },
    mixtures={"m": {"components": ["A", "B", "C", "D"], "total": 100, "limits": {"A": [40, 100]}, "step": 5}},
    constraints=["t <= 900 or gas == 'argon'"],
)
AT = {"t": 800.0, "hours": 2.0, "gas": "air", "flow": 3, "A": 60.0, "B": 30.0, "C": 10.0, "D": 0.0}
Y = Objective("y", "maximise", "%")


def ask(points):
    means = [p["t"] / 100 + 10 * np.log(p["hours"]) + p["A"] for p in points]
    return [
        Forecast(point=p, mean={"y": m}, interval={"y": (m - 2, m + 2)}) for p, m in zip(points, means, strict=True)
    ]


def responses(trials=(), space=SPACE) -> Responses:
    return Responses(space, ask, trials)


def trial(i: int, value: float = 1.0, **changes) -> Trial:
    return Trial(id=i, study="s", number=i, point={**AT, **changes}, seed=0, state="answered", values={"y": value})


def test_along_a_number_all_else_is_held_and_the_forbidden_is_marked():
    cut = responses().along("t", AT)
    assert cut.shape == (PLACES,) and cut.values(0)[0] == 600 and cut.values(0)[-1] == 1000
    assert all({**p, "t": 800.0} == AT for p in cut.points)
    assert [a for a, t in zip(cut.allowed, cut.values(0), strict=True) if t <= 900] == [True] * 31
    assert not any(a for a, t in zip(cut.allowed, cut.values(0), strict=True) if t >= 925)
    assert cut.mean("y")[-1] - cut.mean("y")[0] == pytest.approx(4)
    assert (cut.bounds("y")[1] - cut.bounds("y")[0] == pytest.approx(4)) and cut.greyed.sum() == 41 - sum(cut.allowed)


def test_a_logarithmic_input_is_cut_on_its_scale_and_a_whole_one_at_whole_numbers():
    hours = responses().along("hours", AT).values(0)
    assert np.ptp(np.diff(np.log(hours))) < 1e-9 and (hours[0], hours[-1]) == (0.5, 50)
    assert responses().along("flow", AT).values(0) == list(range(1, 10))


def test_a_choice_brings_and_takes_the_inputs_that_depend_on_it():
    argon, air = responses().along("gas", AT).points
    assert "flow" not in argon and air["flow"] == 3
    back = responses().along("gas", argon).points[1]
    assert back["flow"] == 5, "a middle value of what was not part of the point"
    with pytest.raises(MatloopError, match="not part of it"):
        responses().along("flow", argon)


def test_the_others_in_a_mixture_keep_their_shares():
    cut = responses().along("A", AT)
    for p in cut.points:
        assert sum(p[c] for c in "ABCD") == pytest.approx(100)
        assert p["B"] == pytest.approx(3 * p["C"]) and p["D"] == 0
    assert (cut.values(0)[0], cut.values(0)[-1]) == (40, 100), "what the limits leave"
    assert responses().along("B", AT).values(0)[-1] == 60
    pure = {**AT, "A": 100.0, "B": 0.0, "C": 0.0}
    assert responses().along("A", pure).points[0]["B"] == pytest.approx(20), "of nothing, all the same"


def test_over_two_inputs_and_over_three_components():
    cut = responses().plane("t", "hours", AT)
    assert cut.shape == (SIDE, SIDE) and len(cut.points) == SIDE**2
    assert cut.values(0)[:SIDE] == [600.0] * SIDE and cut.values(1)[0] == 0.5
    three = responses().triangle("m", AT)
    assert [one.name for one in three.inputs] == ["A", "B", "C"] and len(three.points) == SIDE * (SIDE + 1) // 2
    assert {round(sum(p[c] for c in "ABC"), 6) for p in three.points} == {100} and min(
        p["A"] for p in three.points
    ) == 40
    other = responses().triangle("m", AT, ["A", "B", "D"])
    assert {p["C"] for p in other.points} == {10.0}


@pytest.mark.parametrize(
    ("cut", "text"),
    [
        (lambda r: r.along("x", AT), "there is no input 'x'; known are t, hours"),
        (lambda r: r.plane("t", "gas", AT), "two inputs that are numbers, got the choice 'gas'"),
        (lambda r: r.plane("t", "t", AT), "two different inputs"),
        (lambda r: r.triangle("n", AT), "there is no mixture 'n'; known are m"),
        (lambda r: r.triangle("m", AT, ["A", "B"]), "three different components of m"),
        (lambda r: r.triangle("m", {**AT, "A": 40.0, "B": 60.0, "C": 0.0}, ["A", "C", "D"]), "take other components"),
    ],
)
def test_what_cannot_be_cut_is_named(cut, text):
    with pytest.raises(MatloopError, match=text):
        cut(responses())


def test_measurements_that_differ_little_in_what_is_held_are_near():
    trials = [
        trial(0, t=650.0),
        trial(1, hours=2.5),
        trial(2, gas="argon"),
        trial(3, hours=45.0),
        trial(4, A=90.0, B=0.0, C=10.0),
    ]
    trials[2].point.pop("flow")
    found = {near.trial.id: near.distance for near in responses(trials).along("t", AT).near}
    assert set(found) == {0, 1} and found[0] == 0 and 0 < found[1] <= NEAR
    assert {near.trial.id for near in responses(trials).along("A", AT).near} == {1, 4}


def test_beyond_the_range_a_slice_reaches_its_point_and_nothing_is_greyed():
    cut = responses().along("hours", {**AT, "t": 1200.0})
    assert not any(cut.allowed) and not cut.greyed.any()
    assert responses().along("t", {**AT, "t": 1200.0}).values(0)[-1] == 1200


def test_the_two_numbers_that_move_most_are_the_telling_ones():
    lines = [responses().along(name, AT) for name in ("t", "hours", "gas", "A")]
    assert telling(lines) == ("hours", "A") and telling(lines[:1]) is None


def test_a_pool_is_cut_along_its_candidates():
    pool = Pool(points=[{"a": a, "b": b} for a in (1, 2, 4) for b in ("x", "y")])
    cut = Responses(pool, lambda ps: [Forecast(point=p, mean={"y": p["a"]}) for p in ps], ()).along(
        "a", {"a": 2, "b": "x"}
    )
    assert cut.values(0) == [1, 2, 3, 4] and cut.allowed == (True, True, False, True)
    described = Pool(points=[{"name": n, "w": w} for n, w in (("p", 1.0), ("q", 2.0))], inputs=["name"], features=["w"])
    cut = Responses(described, lambda ps: [Forecast(point=p, mean={"y": 1.0}) for p in ps], ()).along(
        "name", {"name": "p"}
    )
    assert cut.values(0) == ["p", "q"]


def test_outside_is_said_of_ranges_sums_and_choices_and_of_nothing_else():
    outside = Outside(SPACE)
    assert outside(AT) == "" == outside({**AT, "t": 825.0}) == outside({**AT, "t": 950.0})
    assert outside({**AT, "t": 1200.0, "hours": 0.1}) == "t above 1000 °C; hours below 0.5"
    assert "A + B + C + D" in outside({**AT, "A": 80.0}) and "none of its choices" in outside({**AT, "gas": "neon"})
    assert [one.kind for one in inputs_of(SPACE)] == ["number", "number", "choice", "number", *["amount"] * 4]


def test_the_best_are_in_order():
    values = [{"y": v} for v in (1.0, 5.0, 3.0, 5.0)]
    assert Order((Y,), {}, 3)(values) == [1, 3, 2] and Order((Y,), {"y": (2.0, 4.0)}, 2)(values) == [2, 0]
    assert Order((Y, Objective("z")), {}, 1)([{"y": 1.0, "z": 1.0}, {"y": 2.0, "z": 2.0}, {"y": 0.0, "z": 3.0}]) == [
        1,
        0,
    ]
    assert Order((Y,), {}, 1)([]) == []
    assert centre([trial(0, 1.0, t=650.0), trial(1, 2.0)], Y, {}) == AT and centre([], Y, {}) is None
