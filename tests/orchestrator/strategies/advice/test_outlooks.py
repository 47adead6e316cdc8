"""Outlooks of several objectives, of a target range and of learning, against the truth and as a strategy gives them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.advice.lesson import Lesson
from matloop.orchestrator.strategies.advice.stopping import Outlook
from matloop.orchestrator.strategies.modelled.active import ActiveLearning
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.modelled.modelled import ModelBased
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.pool import Pool
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.networks.dropout import MCDropout

POOL = Pool(points=[{"x": i} for i in range(40)])
UP, DOWN = Objective("rise", "maximise", "V"), Objective("fall", "minimise", "s")


def truth(i: int) -> dict[str, float]:
    """A trade-off between 10 and 30, nothing to be had elsewhere."""
    a = i / 39
    return {"rise": float(np.sin(3 * a)), "fall": float((a - 0.8) ** 2)}


def told(strategy: ModelBased, indices: list[int]) -> ModelBased:
    for i in indices:
        values = {o.name: truth(i)[o.name] for o in strategy.objectives}
        strategy.tell(
            Trial(id=i, study="s", number=i, point={"x": i}, seed=0, state="answered", values=values, cost=2.0)
        )
    return strategy


def bayesian(*objectives: Objective, **options: object) -> Bayesian:
    return Bayesian(space=POOL, objectives=objectives, surrogate=GP(space=POOL), initial=4, **options)  # type: ignore[arg-type]


FEW, MOST = [0, 5, 35, 39], [i for i in range(40) if i % 10 not in (4,)]


def test_a_front_that_is_all_but_complete_has_little_left() -> None:
    early, late = (told(bayesian(UP, DOWN), which).outlook(derive("front"), q=3) for which in (FEW, MOST))
    assert isinstance(early, Outlook) and isinstance(late, Outlook)
    assert early.objective == late.objective == "hypervolume" and early.delta == 0.01
    assert early.probability_better > 0.5 and late.probability_better < 0.3
    assert early.expected_gain > 5 * late.expected_gain
    assert early.expected_gain_per_cost == pytest.approx(early.expected_gain / 6)
    assert "enlarges the dominated hypervolume by at least 1 %" in early.text


def test_the_growth_of_the_front_is_of_the_right_size() -> None:
    """What the best three of the rest truly add, over what the first dominate."""
    strategy = told(bayesian(UP, DOWN), [0, 4, 8, 12, 16, 20, 36, 39])
    found = strategy.outlook(derive("size"), q=3)
    assert isinstance(found, Outlook)
    goal = strategy._goal()
    assert goal is not None
    known = torch.tensor([[-UP.loss(truth(i)["rise"]), -DOWN.loss(truth(i)["fall"])] for i in range(40)])
    rest = [i for i in range(40) if i not in {0, 4, 8, 12, 16, 20, 36, 39}]
    worth = goal.worth(known[None, [0, 4, 8, 12, 16, 20, 36, 39]].double(), known[None, rest].double())
    total = 0.0
    for _ in range(3):
        gains = worth.gains()[0]
        total += float(gains.max())
        worth.take(int(gains.argmax()))
    assert found.expected_gain == pytest.approx(total, rel=0.35)


def test_a_target_counts_the_points_within() -> None:
    space = [i for i in range(40) if 0.5 <= truth(i)["rise"] <= 0.6]
    strategy = told(bayesian(UP, target={"rise": (0.5, 0.6)}), [0, 7, 13, 20, 26, 33, 39])
    found = strategy.outlook(derive("range"), q=len(space) + 4)
    assert isinstance(found, Outlook) and found.objective == "target"
    assert found.probability_better > 0.9
    assert found.expected_gain == pytest.approx(len([i for i in space if i not in (7, 33)]), abs=1.0)
    away = told(bayesian(UP, target={"rise": (7.0, 8.0)}), [0, 7, 13, 20, 26, 33, 39]).outlook(derive("away"))
    assert isinstance(away, Outlook) and away.probability_better < 0.02 and "less than 5 %" in away.text


def learner(surrogate: object = None, objectives: tuple[Objective, ...] = (UP,), **options: object) -> ActiveLearning:
    return ActiveLearning(
        space=POOL, objectives=objectives, surrogate=surrogate or GP(space=POOL), initial=4, **options,  # type: ignore[arg-type]
    )  # fmt: skip


def test_what_learning_will_bring_is_what_it_brings() -> None:
    """A variance knows beforehand what a measurement does to it: told the same values, it falls as was said."""
    strategy = told(learner(), [0, 5, 35, 39])
    said = strategy.outlook(derive("lesson"), q=1)
    assert isinstance(said, Lesson)
    model = strategy._model()
    rest = torch.as_tensor(POOL.encode([p for p in POOL.points if p["x"] not in (0, 5, 35, 39)]))
    with torch.no_grad():
        joint = model.posterior(rest).distribution.covariance_matrix  # type: ignore[union-attr]
        measured = model.posterior(rest[:1], observation_noise=True).variance - model.posterior(rest[:1]).variance
        chosen = strategy.ask(1, (), derive("ask"))[0].point
    i = [p["x"] for p in POOL.points if p["x"] not in (0, 5, 35, 39)].index(chosen["x"])
    precision = torch.linalg.inv(joint + 1e-10 * joint.diagonal().mean() * torch.eye(len(joint)))
    precision[i, i] += 1 / float(measured)  # one measurement more, by Bayes' rule
    now, left = (float(c.diagonal().mean().sqrt()) for c in (joint, torch.linalg.inv(precision)))
    assert said.uncertainty == pytest.approx(now, rel=1e-4)
    assert said.expected_gain == pytest.approx(now - left, rel=0.02)
    assert said.expected_gain_per_cost == pytest.approx(said.expected_gain / 2)
    assert "V on average; the next measurement is expected to lower that by" in said.text


def test_learning_has_an_end() -> None:
    early, late = (told(learner(), which).outlook(derive("end"), q=2) for which in (FEW, MOST))
    assert isinstance(early, Lesson) and isinstance(late, Lesson)
    assert late.uncertainty < 0.2 * early.uncertainty and late.expected_gain < early.expected_gain
    done = told(learner(), list(range(40))).outlook(derive("done"))
    assert isinstance(done, Lesson) and done.q == 0 and "nothing remains" in done.text


def test_more_measurements_teach_more() -> None:
    one, four = (told(learner(), FEW).outlook(derive("more"), q=q) for q in (1, 4))
    assert isinstance(one, Lesson) and isinstance(four, Lesson)
    assert one.uncertainty == four.uncertainty and four.expected_gain > one.expected_gain


def test_several_objectives_are_learned_in_their_spreads() -> None:
    found = told(learner(objectives=(UP, DOWN)), FEW).outlook(derive("several"))
    assert isinstance(found, Lesson) and found.objective == "all" and "spreads of the measured values" in found.text


def test_networks_are_asked_too() -> None:
    found = told(learner(MCDropout(steps=30)), FEW).outlook(derive("network"), q=2)
    assert isinstance(found, Lesson) and 0 < found.expected_gain < found.uncertainty


def test_learning_seeks_no_difference() -> None:
    with pytest.raises(MatloopError, match="expected no delta"):
        told(learner(), FEW).outlook(derive("delta"), delta=1.0)


@pytest.mark.parametrize(
    "strategy",
    [bayesian(UP, DOWN), bayesian(UP, target={"rise": (0.5, 0.6)}), learner()],
    ids=["front", "target", "learning"],
)
def test_it_is_recorded_with_the_first_of_a_batch(strategy: ModelBased) -> None:
    proposals = told(strategy, FEW).ask(2, (), derive("ask"))
    assert ["outlook" in p.extra for p in proposals] == [True, False]
    recorded = proposals[0].extra["outlook"]
    assert json.loads(json.dumps(recorded, allow_nan=False)) == recorded and recorded["q"] == 1
