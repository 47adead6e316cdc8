"""The classifier of what works: its gradient, what it learns, and that a few failures do no harm."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime

from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.modelled.feasibility import Feasibility, _Laplace, informative
from matloop.orchestrator.trial import Failure, Objective, Trial
from matloop.search_spaces.box import Box
from matloop.surrogates.gaussian_process.gp import GP
from matloop.testing.strategy import answered, as_trial


def half_space(n: int, d: int = 3):  # type: ignore[no-untyped-def]
    x = derive("half space").random((n, d))
    return x, x[:, 0] + 0.3 * x[:, 1] < 0.8


def test_evidence_has_the_gradient_of_finite_differences() -> None:
    x, worked = half_space(25)
    logs = np.array([-0.5, 0.2, 0.4, 1.0])
    _, gradient = _Laplace(x, worked.astype(float), 0.5, logs).evidence()
    numeric = approx_fprime(logs, lambda at: _Laplace(x, worked.astype(float), 0.5, at).evidence()[0], 1e-6)
    assert gradient == pytest.approx(numeric, rel=1e-3, abs=1e-4)


def test_learns_where_experiments_fail() -> None:
    x, worked = half_space(40)
    model = Feasibility(x, worked.tolist())
    fresh = derive(1).random((1000, 3))
    truth = fresh[:, 0] + 0.3 * fresh[:, 1] < 0.8
    probability = model.log_probability(torch.as_tensor(fresh)).exp().numpy()
    assert ((probability > 0.5) == truth).mean() > 0.9
    assert -np.log(np.where(truth, probability, 1 - probability)).mean() < 0.4  # of no knowledge: 0.69


def test_probability_is_differentiable() -> None:
    x, worked = half_space(15)
    model = Feasibility(x, worked.tolist())
    at = torch.as_tensor(derive(2).random((4, 3))).requires_grad_()
    assert torch.autograd.gradcheck(model.log_probability, (at,), eps=1e-6, atol=1e-6)


def test_one_failure_keeps_away_from_where_it_was_and_little_more() -> None:
    x = derive(3).random((12, 4))
    worked = [True] * 12
    worked[5] = False
    model = Feasibility(x, worked)
    probability = model.log_probability(torch.as_tensor(np.vstack([x, derive(4).random((200, 4))]))).exp().numpy()
    assert probability[5] == probability[:12].min() < 0.8
    assert np.median(probability[12:]) > 0.75


def test_only_causes_that_say_something_about_the_point_teach() -> None:
    trial = Trial(id=0, study="s", number=0, point={}, seed=0, state="failed")
    told = {
        cause: informative(replace(trial, failure=Failure(cause=cause, message="")))
        for cause in ("experiment", "exception", "invalid_result", "timeout", "memory", "crash", "lost")
    }
    assert [cause for cause, learned in told.items() if not learned] == ["crash", "lost"]
    assert not informative(trial)


def campaign(*, feasibility: bool, trials: int = 25, seed: int = 0) -> tuple[int, float, list[Any]]:
    """Failures, best value and proposals of a search whose optimum, 0.9, lies behind the edge of what works, 0.6."""
    space = Box(parameters={name: {"type": "float", "low": 0.0, "high": 1.0} for name in "ab"})
    strategy = Bayesian(
        space=space, objectives=(Objective("f", "maximise"),), surrogate=GP(space=space), initial=4, candidates=64,
        iterations=10, feasibility=feasibility, explain=False, seed=seed,
    )  # fmt: skip
    failures, best, proposals = 0, -math.inf, []
    for number in range(trials):
        proposal = strategy.ask(1, (), derive(seed, number))[0]
        trial = as_trial(number, proposal)
        a, b = trial.point["a"], trial.point["b"]
        value = 1 - (a - 0.9) ** 2 - (b - 0.5) ** 2
        if a > 0.6:
            failures += 1
            failure = Failure(cause="experiment", message="cracked")
            strategy.tell(replace(trial, state="failed", failure=failure))
        else:
            best = max(best, value)
            strategy.tell(answered(trial, {"f": value}))
        proposals.append(proposal)
    return failures, best, proposals


def test_failures_teach_where_not_to_go_without_giving_up_the_edge() -> None:
    failures, best, proposals = campaign(feasibility=True)
    blind_failures, *_ = campaign(feasibility=False)
    assert failures < 0.7 * blind_failures, (failures, blind_failures)
    assert best > 1 - 0.3**2 - 0.02
    assert any("works with a probability of" in p.reason for p in proposals)
