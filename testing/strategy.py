"""What every strategy must do: subclass `StrategyContract` and give it a `make` fixture.

The fixture is a function `make(seed, direction="minimise")` that returns a fresh strategy, its space and its
objectives, all of the given direction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol

import numpy as np
import pytest

from matloop.orchestrator.errors import SpaceExhausted
from matloop.orchestrator.protocols import Encodable, Finite, Space, Strategy
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Failure, Objective, Point, Proposal, Trial


class Make(Protocol):
    """What the fixture returns."""

    def __call__(
        self, seed: int, direction: Literal["minimise", "maximise"] = "minimise"
    ) -> tuple[Strategy, Space, tuple[Objective, ...]]: ...


def key(point: Point) -> str:
    """Canonical JSON; fails on what JSON cannot hold."""
    return json.dumps(point, sort_keys=True, allow_nan=False)


def measure(space: Space, objectives: Sequence[Objective], point: Point) -> dict[str, float]:
    """A smooth made-up measurement of any point, the same for equal points."""
    x = space.encode([point])[0] if isinstance(space, Encodable) else _digits(point)
    return {
        o.name: float(np.sum((x - 0.3 * (i + 1)) ** 2) + 0.1 * np.sum(np.sin(5 * x))) for i, o in enumerate(objectives)
    }


def _digits(point: Point) -> Any:
    return derive(key(point)).random(3)


def as_trial(number: int, proposal: Proposal, ask: int = 0, study: str = "study") -> Trial:
    """A running trial of a proposal, as the ledger would build it."""
    return Trial(
        id=number + 100,
        study=study,
        number=number,
        point=json.loads(json.dumps(proposal.point)),
        seed=number,
        ask=ask,
        prediction=proposal.prediction,
        reason=proposal.reason,
        parents=proposal.parents,
        fidelity=proposal.fidelity,
        extra=json.loads(json.dumps(dict(proposal.extra), allow_nan=False)),
        inputs=proposal.inputs,
    )


def answered(trial: Trial, values: Mapping[str, float]) -> Trial:
    """The trial with measured values."""
    return replace(trial, state="answered", values=values, started_at=0.0, finished_at=1.0)


def failed(trial: Trial) -> Trial:
    """The trial, failed."""
    failure = Failure(cause="exception", message="furnace broke")
    return replace(trial, state="failed", failure=failure, started_at=0.0, finished_at=1.0)


class StrategyContract:
    """Shared tests; `trials` is how many answers a history has, `n` how many proposals are asked for at a time."""

    trials = 26
    n = 3

    @pytest.fixture
    def make(self) -> Make:
        raise NotImplementedError("a subclass of StrategyContract defines the fixture `make`")

    def history(
        self, strategy: Strategy, space: Space, objectives: Sequence[Objective], *, failures: bool = True
    ) -> list[Trial]:
        """Run a serial campaign; every seventh trial fails."""
        told: list[Trial] = []
        for number in range(self.trials):
            proposals = strategy.ask(1, (), derive(3, number))
            assert len(proposals) == 1
            trial = as_trial(number, proposals[0], ask=number)
            done = (
                failed(trial)
                if failures and number % 7 == 3
                else answered(trial, measure(space, objectives, trial.point))
            )
            strategy.tell(done)
            told.append(done)
        return told

    def test_proposals_are_valid_and_at_most_n(self, make: Make) -> None:
        strategy, space, objectives = make(0)
        proposals = strategy.ask(self.n, (), derive(0))
        assert 1 <= len(proposals) <= self.n
        self.history(strategy, space, objectives)
        later = strategy.ask(self.n, (), derive(0, 1))
        assert 1 <= len(later) <= self.n
        for proposal in (*proposals, *later):
            space.check(proposal.point)
            space.check(json.loads(key(proposal.point)))
            assert proposal.reason
            json.dumps(dict(proposal.extra), allow_nan=False)

    def test_predictions_are_finite_and_name_objectives(self, make: Make) -> None:
        strategy, space, objectives = make(0)
        told = self.history(strategy, space, objectives)
        names = {o.name for o in objectives}
        for trial in told:
            if trial.prediction is not None:
                assert set(trial.prediction.mean) == names
                assert np.isfinite(list(trial.prediction.mean.values())).all()
                assert all(np.isfinite(s) and s > 0 for s in trial.prediction.std.values())

    def test_same_history_and_rng_give_same_proposals(self, make: Make) -> None:
        runs = []
        for _ in range(2):
            strategy, space, objectives = make(0)
            runs.append([key(trial.point) for trial in self.history(strategy, space, objectives)])
        assert runs[0] == runs[1]

    def test_replay_without_asks_gives_same_proposals(self, make: Make) -> None:
        live, space, objectives = make(0)
        told = self.history(live, space, objectives)
        fresh, *_ = make(0)
        for trial in told:
            fresh.tell(trial)
        pending = [as_trial(900, Proposal(point=space.sample(derive("pending"))))]
        assert live.ask(self.n, pending, derive(9)) == fresh.ask(self.n, pending, derive(9))

    def test_ask_leaves_no_trace(self, make: Make) -> None:
        strategy, space, objectives = make(0)
        self.history(strategy, space, objectives)
        first = strategy.ask(self.n, (), derive(9))
        strategy.ask(1, (), derive(10))
        assert strategy.ask(self.n, (), derive(9)) == first

    def test_results_in_any_order_are_accepted(self, make: Make) -> None:
        live, space, objectives = make(0)
        told = self.history(live, space, objectives)
        shuffled, *_ = make(0)
        for i in derive("order").permutation(len(told)):
            shuffled.tell(told[i])
        for proposal in shuffled.ask(self.n, (), derive(9)):
            space.check(proposal.point)

    def test_only_failures_are_accepted(self, make: Make) -> None:
        strategy, *_ = make(0)
        for number in range(6):
            for proposal in strategy.ask(1, (), derive(number)):
                strategy.tell(failed(as_trial(number, proposal, ask=number)))
        assert strategy.ask(1, (), derive(9))

    def test_pending_and_joint_points_are_distinct(self, make: Make) -> None:
        strategy, space, objectives = make(0)
        told = self.history(strategy, space, objectives)
        pending: list[Trial] = []
        for k in range(4):
            for proposal in strategy.ask(self.n, pending, derive(20, k)):
                pending.append(as_trial(len(told) + len(pending), proposal, ask=k))
        keys = [key(trial.point) for trial in pending]
        assert len(keys) == len(set(keys)) > 0

    def test_same_pending_are_not_repeated(self, make: Make) -> None:
        strategy, space, objectives = make(0)
        self.history(strategy, space, objectives)
        pending = [as_trial(500, proposal) for proposal in strategy.ask(1, (), derive(30))]
        again = strategy.ask(self.n, pending, derive(30))
        assert not {key(p.point) for p in again} & {key(t.point) for t in pending}

    def test_trials_never_asked_for_are_accepted(self, make: Make) -> None:
        strategy, space, objectives = make(0)
        for number in range(self.trials):
            trial = as_trial(number, Proposal(point=space.sample(derive("theirs", number))))
            strategy.tell(answered(trial, measure(space, objectives, trial.point)))
        for proposal in strategy.ask(self.n, (), derive(9)):
            space.check(proposal.point)

    def test_maximising_is_minimising_the_negative(self, make: Make) -> None:
        strategy, space, objectives = make(0)
        mirror, _, opposite = make(0, direction="maximise")
        assert [o.direction for o in objectives] == ["minimise"] * len(objectives)
        assert [o.direction for o in opposite] == ["maximise"] * len(objectives)
        for trial in self.history(strategy, space, objectives):
            values = trial.values and {name: -value for name, value in trial.values.items()}
            mirror.tell(replace(trial, values=values))
        theirs = [key(p.point) for p in mirror.ask(self.n, (), derive(9))]
        assert theirs == [key(p.point) for p in strategy.ask(self.n, (), derive(9))]

    def test_exhausts_a_finite_space_without_repeats(self, make: Make) -> None:
        strategy, space, objectives = make(0)
        if not isinstance(space, Finite) or len(space.points) > 200:
            pytest.skip("not a small finite space")
        seen = []
        for number in range(len(space.points)):
            (proposal,) = strategy.ask(1, (), derive(number))
            trial = as_trial(number, proposal)
            seen.append(key(trial.point))
            strategy.tell(answered(trial, measure(space, objectives, trial.point)))
        assert sorted(seen) == sorted(key(p) for p in space.points)
        with pytest.raises(SpaceExhausted):
            strategy.ask(1, (), derive("more"))
