"""Budgets: what counts, what a clock says, and when it is time to validate or to stop."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.networks.budget import Budget, Seconds, Steps
from matloop.surrogates.networks.fitting import fit


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("given", "steps"), [({"steps": 7}, 7), ({"epochs": 3}, 30), ({"samples": 1000}, 50), ({"samples": 1}, 1)]
)
def test_counted_budgets_are_steps(given, steps):
    assert Budget.of(given).total_steps(examples=200, steps_of_an_epoch=10) == steps


@pytest.mark.parametrize(
    "given", [{}, {"steps": 0}, {"steps": True}, {"epochs": 1.5}, {"seconds": float("nan")}, {"seconds": -1}, {"h": 1}]
)
def test_what_is_no_budget_is_refused(given):
    with pytest.raises(ConfigError, match="expected budget"):
        Budget.of(given)


def test_validations_are_even_and_end_with_the_training():
    progress = Steps(103, done=0, until=1.0, validations=20)
    marks = [progress.share for _ in range(103) if progress.advance()]
    assert len(marks) == 20 and marks[-1] == 1 and progress.ended
    assert marks == pytest.approx([k / 20 for k in range(1, 21)], abs=1 / 103)


def test_seconds_keep_what_set_up_validation_and_predictions_take():
    clock = Clock()
    progress = Seconds(100.0, used=0.0, until=1.0, validations=20, afterwards=2.0, clock=clock, began=90.0)
    steps = 0
    while not progress.ended:
        clock.now += 0.5
        steps += 1
        if progress.advance():
            clock.now += 1.0
            progress.validated(1.0)
    last = clock.now
    assert 90 + 100 - 2 - 1.5 <= last <= 90 + 100 - 2 + 0.5  # two seconds remain for the predictions
    assert steps * 0.5 + 8 == pytest.approx(88, abs=3)  # 8 % of the budget for validations


def test_half_of_the_seconds_are_for_training_whatever_else_takes():
    clock = Clock()
    progress = Seconds(10.0, used=0.0, until=1.0, validations=20, afterwards=2.0, clock=clock, began=0.0)
    for later, ended in ((4.9, False), (0.1, True)):
        clock.now += later
        assert progress.advance()  # also at the end
        assert progress.ended == ended


def test_a_stage_in_seconds_takes_its_share():
    clock = Clock()
    progress = Seconds(60.0, used=0.25, until=0.5, validations=20, afterwards=0.0, clock=clock)
    assert progress.share == progress.upcoming() == 0.25
    for share in (0.375, 0.5):
        clock.now += 7.5
        progress.advance()
        assert progress.share == share and progress.ended == (share == 0.5)
    over = Seconds(60.0, used=0.5, until=0.4, validations=20, afterwards=0.0, clock=clock)
    assert over.ended and over.share == 0.5


def test_an_epoch_that_is_longer_than_the_budget_stops_in_its_middle():
    clock = Clock()

    def slowly(x, y):
        clock.now += 1.0
        return x, y

    x, y = torch.randn(1000, 2), torch.randn(1000, 1)
    line = nn.Linear(2, 1)
    found = fit(line, x, y, budget=Budget(seconds=20.0), batch=2, transform=slowly, clock=clock, seed=0)
    assert found.steps == 20 and found.epochs == 0.04 and found.used == 1
