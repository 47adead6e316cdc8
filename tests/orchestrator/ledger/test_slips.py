"""Slips of the pen: said, left out where nothing explains them, and no steep optimum is taken for one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from matloop.orchestrator.ledger.slips import advice, doubted, slips
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.trial import Objective, Point, Trial
from matloop.search_spaces.box import Box

UP, DOWN = Objective("hardness", "maximise", "HV"), Objective("hardness", "minimise", "HV")
SPACE = Box(parameters={name: {"type": "float", "low": 0.0, "high": 10.0} for name in "xz"})


def trial(i: int, value: float, point: Point | None = None) -> Trial:
    point = point or SPACE.sample(derive("slip point", i))
    return Trial(id=i, study="s", number=i, point=point, seed=0, state="answered", values={"hardness": value})


@pytest.mark.parametrize("objective", [UP, DOWN], ids=["maximise", "minimise"])
def test_a_thousandfold_value_is_said_and_left_out_whatever_is_sought(objective: Objective) -> None:
    told = [trial(i, v) for i, v in enumerate([412.0, 388.0, 240.0, 412000.0, 510.0, 350.0, 290.0])]
    (slip,) = slips(told, (objective,))
    assert (slip.trial, slip.value, slip.left_out) == (3, 412000.0, True)
    assert slip.text == "trial 3: hardness of 412000 is 1,100 times the median of the others"
    assert advice(slip, "runs/lab") == (
        f"{slip.text}; if it is a slip, correct it: matloop amend runs/lab 3 --value hardness=NUMBER "
        '--reason "slip of the pen"; until then, or until an experiment close to it agrees, the model leaves it out'
    )
    confirmed = [*told, trial(7, 398000.0)]
    assert slips(confirmed, (objective,)) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([85.0, 62.0, 0.74, 71.0, 90.0, 55.0, 64.0], {2: False}),  # a share among percentages
        ([-3.1, -2.8, -31.0, -3.3, -2.9, -3.0, -3.2], {2: False}),  # a comma in energies
        ([-1.0, 0.5, 0.2, -0.4, 900.0, 0.8, -0.3], {4: True}),  # of both signs
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 30.0], {}),  # a first hit
        ([0.0, 0.0, 0.2, 0.1, 0.0, 0.3, 30.0], {}),  # hits are too few to tell
        ([1e-3, 5.0, 80.0, 1e3, 2e4, 3e5, 4e6], {}),  # decades are usual here
        ([5.0, 4.0, 700.0, 6.0], {}),  # too few
        ([3.0] * 9, {}),
    ],
)
def test_what_is_doubted_and_what_is_not(values: list[float], said: dict[int, bool]) -> None:
    assert doubted(np.array(values), UP) == said


def test_random_data_are_hardly_ever_doubted() -> None:
    rng = derive("false alarms")
    draws: dict[str, Any] = {
        "normal": lambda: rng.normal(size=15),
        "uniform": lambda: rng.uniform(100, 600, 15),
        "yields": lambda: rng.normal(30, 30, 15).clip(0, 100),
        "lognormal": lambda: 10 ** rng.normal(size=15),
        "exponential": lambda: rng.exponential(size=15),
    }
    for name, draw in draws.items():
        found = [doubted(draw(), UP) for _ in range(500)]
        assert np.mean([bool(f) for f in found]) < 0.03, name
        assert np.mean([any(f.values()) for f in found]) < 0.005, name


def hill(point: Point) -> float:
    return float(100 + 500 * np.exp(-((point["x"] - 7) ** 2) / 12 - (point["z"] - 2) ** 2 / 20))


def recommended(objective: Objective, factor: float | None, seed: int) -> float:
    """True value of the first recommendation after 15 results, one of them told wrong by a factor, or not at all."""
    asked = Bayesian(space=SPACE, objectives=(objective,), initial=10, explain=False, seed=seed)
    rng, sign = derive("slips", seed), 1 if objective.direction == "maximise" else -1
    for i in range(15):
        point = SPACE.sample(rng)
        value = hill(point) if sign > 0 else 720 - hill(point)
        if i != 3 or factor is not None:
            asked.tell(trial(i, value * (factor if i == 3 and factor else 1), point))
    return hill(asked.ask(1, (), derive("ask", seed))[0].point)


@pytest.mark.parametrize("objective", [UP, DOWN], ids=["maximise", "minimise"])
def test_one_slip_among_fifteen_hardly_harms_the_recommendation(objective: Objective) -> None:
    slipped, without = ([recommended(objective, f, seed) for seed in range(4)] for f in (1000.0, None))
    usual = 277  # at a random place; the best has 600, and a model that believes the slip gets 270
    assert np.mean(slipped) - usual > 0.85 * (np.mean(without) - usual)  # all but nothing is lost but that one result
    assert np.mean(without) > 550


def test_a_narrow_peak_twenty_times_above_the_rest_is_followed() -> None:
    asked = Bayesian(space=SPACE, objectives=(UP,), initial=10, explain=False)
    rng = derive("peak")

    def peak(p: Point) -> float:
        return float(1 + 0.2 * np.sin(3 * p["x"] + p["z"]) + 20 * np.exp(-((p["x"] - 6.3) ** 2) - (p["z"] - 3.1) ** 2))

    best = 0.0
    for i in range(26):
        point = {"x": 6.6, "z": 3.3} if i == 3 else SPACE.sample(rng)
        if i >= 15:
            point = dict(asked.ask(1, (), derive("peak", i))[0].point)
        if i == 14:
            assert 3 in doubted(np.array([(t.values or {})["hardness"] for t in asked._answered]), UP)
        best = max(best, peak(point))
        asked.tell(trial(i, peak(point), point))
    assert best > 20.2  # of 21.2 at most; the lucky hit had 18.5
    assert "slip" not in asked.ask(1, (), derive("peak"))[0].reason


def test_what_experiments_beside_it_do_not_confirm_is_left_out() -> None:
    asked = Bayesian(space=SPACE, objectives=(UP,), initial=5, explain=False)
    told = [trial(i, 100.0 + 7 * i) for i in range(8)]
    told[3] = replace(told[3], values={"hardness": 1500.0}, point={"x": 5.0, "z": 5.0})
    for one in told:
        asked.tell(one)
    assert not asked._outcomes().left_out.any()
    for i, shift in ((8, 0.2), (9, -0.3)):
        asked.tell(trial(i, 120.0, {"x": 5.0 + shift, "z": 5.0}))
    assert asked._outcomes().left_out[:, 0].nonzero().flatten().tolist() == [3]
    proposal = asked.ask(1, (), derive("ask"))[0]
    assert "without trial 3, whose value looks like a slip of the pen" in proposal.reason
    assert "best so far 149" in proposal.reason and proposal.extra["left_out"] == [3]
