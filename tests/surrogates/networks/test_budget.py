"""Budgets: what counts, what a clock says, and when it is time to validate or to stop."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import torch_seed
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
    progress = Seconds(
        100.0, used=0.0, until=1.0, validations=20, afterwards=2.0, clock=clock, began=90.0, validation=1.0
    )
    steps = validations = 0
    while not progress.ended:
        clock.now += 0.5
        steps += 1
        if progress.advance():
            validations += 1
            clock.now += 1.0
            progress.validated(1.0)
    assert 90 + 100 - 2 - 0.5 <= clock.now <= 90 + 100 - 2 + 0.5  # two seconds remain for the predictions
    assert validations == 9  # a tenth of the 87 s of training, and the one at the end
    assert progress.least == 13


def test_no_step_begins_that_would_take_too_long():
    clock = Clock()
    progress = Seconds(20.0, used=0.0, until=1.0, validations=20, afterwards=0.0, clock=clock, validation=2.5)
    marks = []
    for _ in range(3):
        clock.now += 6.0
        marks.append(progress.advance())
        if progress.ended:
            break
    assert marks == [False, False, True] and progress.share == 1  # 18 s, of 17.5 and a twentieth of 20
    short = Seconds(16.0, used=0.0, until=1.0, validations=20, afterwards=0.0, clock=clock, validation=1.0)
    for _ in range(2):
        assert not short.ended
        clock.now += 6.0
        short.advance()
    assert short.ended and short.share == 1  # a third step would end after 18 s


def test_where_nothing_is_left_for_training_there_is_one_step():
    clock = Clock()
    progress = Seconds(10.0, used=0.0, until=1.0, validations=20, afterwards=3.0, clock=clock, validation=3.0)
    assert not progress.ended and progress.least == 12
    clock.now += 0.1
    assert progress.advance() and progress.ended


def test_a_stage_in_seconds_takes_its_share():
    clock = Clock()
    progress = Seconds(60.0, used=0.25, until=0.5, validations=20, afterwards=0.0, clock=clock)
    assert progress.share == progress.upcoming() == 0.25
    for share in (0.375, 0.5):
        clock.now += 7.5
        progress.advance()
        assert progress.share == share and progress.ended == (share == 0.5)
    over = Seconds(60.0, used=0.5, until=0.4, validations=20, afterwards=0.0, clock=clock)
    assert over.ended and over.share == 0.5 and over.stage == 0


def test_an_epoch_that_is_longer_than_the_budget_stops_in_its_middle():
    clock = Clock()

    def slowly(x, y):
        clock.now += 1.0
        return x, y

    x, y = torch.randn(1000, 2), torch.randn(1000, 1)
    line = nn.Linear(2, 1)
    found = fit(line, x, y, budget=Budget(seconds=20.0), batch=2, transform=slowly, clock=clock, seed=0)
    assert found.steps == 20 and found.epochs == 0.04 and found.used == 1


class Slow(nn.Module):
    """A line whose passes take time by a clock: so long for each row, other than in training."""

    def __init__(self, clock, row_s, step_s):
        super().__init__()
        self.line, self.clock, self.row_s, self.step_s, self.predicted = nn.Linear(2, 1), clock, row_s, step_s, 0

    def forward(self, x):
        if self.training:
            self.clock.now += self.step_s
        else:
            self.clock.now += self.row_s * len(x)
            self.predicted += len(x)
        return self.line(x)


@pytest.mark.parametrize("row_s", [0.001, 0.05, 0.2])
@pytest.mark.parametrize("step_s", [0.01, 1.0, 2.5])
@pytest.mark.parametrize("stages", [(1.0,), (0.5, 1.0)], ids=str)
def test_seconds_are_exceeded_by_less_than_a_tenth(row_s, step_s, stages):
    """Whatever a step and a prediction take: set-up, 20 rows of validation and 30 that the caller predicts included."""
    clock, state = Clock(), None
    x, y = torch.randn(400, 2), torch.randn(400, 1)
    with torch_seed(0):
        line = Slow(clock, row_s, step_s)
    for until, before in zip(stages, (0.0, *stages), strict=False):
        began, training = clock.now, line.predicted
        clock.now += 1.0  # the caller's set-up
        found = fit(
            line, x, y, x_validation=x[:20], y_validation=y[:20], budget=Budget(seconds=40.0), until=until, state=state,
            batch=16, afterwards=1.5, clock=clock, began=began,
        )  # fmt: skip
        clock.now += 30 * row_s
        state, stage = found.state, 40.0 * (until - before)
        assert 0.8 * stage <= clock.now - began <= 1.1 * stage
        assert found.used == until and found.shares[-1] == until
        assert found.stage == pytest.approx(stage) and found.least == pytest.approx(1 + 50 * row_s + 3 * row_s, abs=0.1)
        between = (line.predicted - training - 20 - 3) * row_s  # without the last and what was tried before
        assert between <= 0.1 * stage
    assert found.outputs is None or torch.equal(found.outputs, line.eval()(x[:20]))


def test_the_rate_of_few_and_long_steps_is_not_that_of_the_very_beginning():
    clock, rates = Clock(), []
    x, y = torch.randn(400, 2), torch.randn(400, 1)
    line = Slow(clock, 0.0, 6.0)
    first = line.line.weight.detach().clone()

    def note(x, y):
        rates.append((line.line.weight - first).detach().abs().sum().item())
        return x, y

    fit(line, x, y, budget=Budget(seconds=20.0), batch=16, clock=clock, transform=note)
    assert len(rates) == 3 and rates[1] > 1e-4  # Adam's first step is of the rate itself
