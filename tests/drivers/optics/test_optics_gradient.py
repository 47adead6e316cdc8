"""The driver's gradient against finite differences, through the loop: proposals, answers, artifacts and costs."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from matloop.drivers.optics.driver import Optics
from matloop.hpc.serial import Serial
from matloop.orchestrator.errors import InvalidPoint
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.protocols import Differentiable, differentiates, gradient_of
from matloop.orchestrator.trial import Objective, Proposal, Trial
from tests.orchestrator.harness import run
from tests.orchestrator.toys import LOSS, Scripted, study

STEP = 1e-4
ABSORPTION = Objective("absorption", "maximise")
GREY = np.random.default_rng(0).uniform(0.2, 0.8, (16, 16))
DIRECTION = np.random.default_rng(1).standard_normal((16, 16))


class Densities:
    """Films of so many pixels a side."""

    def __init__(self, side=16):
        self.shape = (side, side)

    def sample(self, rng):
        return {"density": rng.random(self.shape).tolist()}

    def check(self, point):
        if np.shape(point["density"]) != self.shape:
            raise InvalidPoint(f"expected the shape {self.shape}")


class Climb:
    """One gradient, values along a direction, and then what the gradient says is better."""

    differentiates = True

    def __init__(self, artifacts):
        self.artifacts, self.asked, self.gradient = artifacts, 0, None

    def ask(self, n, pending, rng):
        self.asked += 1
        if self.asked == 1:
            return [Proposal(point={"density": GREY.tolist()}, extra={"gradient": True})]
        if self.asked in (2, 3):
            moved = GREY + (STEP if self.asked == 2 else -STEP) * DIRECTION
            return [Proposal(point={"density": moved.tolist()})]
        better = np.clip(GREY + 0.1 * self.gradient / np.abs(self.gradient).max(), 0, 1)
        return [Proposal(point={"density": better.tolist()})]

    def tell(self, trial):
        if gradient_of("absorption") in trial.artifacts:
            self.gradient = self.artifacts.load(trial.artifacts[gradient_of("absorption")])


@pytest.fixture
def driver():
    return Optics(order=1, wavelength_nm=[480.0, 520.0], angle_deg=20.0, substrate="silica", polarisation="p")


def test_a_strategy_asks_for_gradients_and_climbs_by_them(driver, tmp_path):
    strategy = Climb(ArtifactStore(tmp_path / "artifacts"))

    def made():
        climb = study(strategy=strategy, driver=driver, objectives=(ABSORPTION,), budget=Budget(cost=4.5))
        return replace(climb, space=Densities())

    assert run(tmp_path, made, executor=Serial()) == "finished"
    history = read(tmp_path / "ledger.db")
    first, above, below, better = history.trials
    assert [t.failure for t in history.trials] == [None] * 4
    assert [t.cost for t in history.trials] == [driver.gradient_cost, None, None, None]
    assert history.ended("walk") == {"reason": "cost 4.5"}
    slope = (above.values["absorption"] - below.values["absorption"]) / (2 * STEP)
    assert (strategy.gradient * DIRECTION).sum() == pytest.approx(slope, rel=1e-5)
    assert better.values["absorption"] > first.values["absorption"] + 1e-3


def asked(point, **fields):
    return Trial(id=0, study="study", number=0, point=point, seed=0, extra={"gradient": True}, **fields)


def test_gradients_come_by_objective_and_cost_what_they_say(driver, tmp_path):
    two = Optics(order=1, objectives=(Objective("reflectance"), Objective("absorption_in_film")))
    assert isinstance(driver, Differentiable) and two.gradient_cost == 2.0
    trial = asked({"microstructure": (GREY > 0.5).astype(int).tolist()})
    answer = Evaluation(Conditions(driver=two, objectives=two.objectives, artifacts=tmp_path), trial)()
    assert answer.failure is None and answer.cost == 2.0
    assert {gradient_of("reflectance"), gradient_of("absorption_in_film"), "microstructure"} <= set(answer.artifacts)
    found = two(replace(trial, extra={}))
    assert answer.values == found.values and found.cost is None
    for name in ("reflectance", "absorption_in_film"):
        gradient = ArtifactStore(tmp_path).load(answer.artifacts[gradient_of(name)])
        ends = [
            two(asked({"density": np.clip((GREY > 0.5) + step * ((GREY < 0.5) - (GREY > 0.5) * 1.0), 0, 1).tolist()}))
            for step in (1e-5, 2e-5)
        ]
        inwards = (GREY < 0.5) - (GREY > 0.5) * 1.0
        rise = (4 * ends[0].values[name] - ends[1].values[name] - 3 * found.values[name]) / 2e-5  # to second order
        assert (gradient * inwards).sum() == pytest.approx(rise, rel=1e-4)


def test_a_driver_that_has_none_says_so(tmp_path):
    conditions = Conditions(driver=Scripted((1.0,)), objectives=(LOSS,), artifacts=tmp_path)
    answer = Evaluation(conditions, asked({"x": 0.5}))()
    assert answer.values is None and "expected a driver that offers gradients" in answer.failure.message


def test_the_strategy_of_the_page_on_extending_climbs(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "extending.md").read_text(encoding="utf-8")
    (text,) = [code for code in re.findall(r"^```python\n(.*?)```", page, re.M | re.S) if "class Ascent" in code]
    names = {"np": np, "Proposal": Proposal}
    exec(text, names)
    ascent = names["Ascent"](space=Densities(32), artifacts=ArtifactStore(tmp_path / "artifacts"))
    budget = Budget(cost=6)

    def made():
        climb = study(strategy=ascent, driver=Optics(order=1), objectives=(ABSORPTION,), budget=budget)
        return replace(climb, space=Densities(32))

    assert differentiates(ascent) and run(tmp_path, made, executor=Serial()) == "finished"
    values = [trial.values["absorption"] for trial in read(tmp_path / "ledger.db").trials]
    assert len(values) == 4 and values == sorted(values)
