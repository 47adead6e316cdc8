"""A strategy on another thread and one in another process hear the same and propose the same."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

import numpy as np
import psutil
import pytest

from matloop.hpc.serial import Serial
from matloop.orchestrator.errors import WorkerCrashed
from matloop.orchestrator.loop.asker import asker_of
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.proposer import Mail, ProcessProposer, Proposer, ThreadProposer
from matloop.orchestrator.loop.study import Study
from matloop.orchestrator.protocols import Strategy
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.evolution.evolution import Evolution
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.strategies.successive_halving import SuccessiveHalving
from matloop.orchestrator.trial import Objective, Proposal, Trial, Unanswered
from matloop.search_spaces.box import Box
from matloop.surrogates.fitness_svm import FitnessSVM
from tests.orchestrator.harness import run

OBJECTIVES = (Objective("f"),)
SPACE = Box(parameters={f"g{i}": {"type": "integer", "low": 0, "high": 9} for i in range(6)})


def evolution() -> Evolution:
    return Evolution(space=SPACE, objectives=OBJECTIVES, population=8, predictor=FitnessSVM())


def halving() -> SuccessiveHalving:
    return SuccessiveHalving(strategy=evolution(), objectives=OBJECTIVES)


class Reporting:
    """Says in which process it is; dies when it is told of a failure."""

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        return [Proposal(point={"process": os.getpid(), "pending": len(pending)}) for _ in range(n)]

    def tell(self, trial: Trial) -> None:
        if trial.values is None:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def apart() -> Iterator[Callable[[Callable[[], Strategy]], ProcessProposer]]:
    made: list[ProcessProposer] = []

    def make(maker: Callable[[], Strategy]) -> ProcessProposer:
        made.append(ProcessProposer(maker))
        return made[-1]

    yield make
    for proposer in made:
        proposer.close()


def trial(number: int, proposal: Proposal) -> Trial:
    return Trial(
        id=number,
        study="s",
        number=number,
        point=proposal.point,
        seed=0,
        parents=proposal.parents,
        extra=proposal.extra,
        fidelity=proposal.fidelity,
    )


def course(proposer: Proposer, turns: int) -> list[Proposal]:
    """Proposals of a search with two trials in flight."""
    made: list[Proposal] = []
    flying: list[Trial] = []
    mail: list[Mail] = []
    for turn in range(turns):
        future: Future[list[Proposal]] = proposer.start(mail, 2 - len(flying), derive("turn", turn))
        mail = []
        for proposal in future.result(60):
            flying.append(trial(len(made), proposal))
            mail.append(("pending", flying[-1]))
            made.append(proposal)
        done = flying.pop(0)
        loss = float(sum((g - 4) ** 2 for g in done.point.values()))
        mail.append(("told", replace(done, state="answered", values={"f": loss})))
    return made


@pytest.mark.parametrize("make", [evolution, halving])
def test_a_process_proposes_what_a_thread_does(make, apart) -> None:
    here = ThreadProposer(make())
    expected = course(here, 40)
    here.close()
    made = course(apart(make().maker()), 40)
    assert [(p.point, p.parents, p.fidelity) for p in made] == [(p.point, p.parents, p.fidelity) for p in expected]
    assert len({tuple(p.point.values()) for p in expected}) > 20


def test_lives_in_one_other_process_and_ends_at_once(apart) -> None:
    proposer = apart(Reporting)
    first, second = (proposer.start([], 2, derive(i)).result(60) for i in range(2))
    processes = {p.point["process"] for p in first + second}
    assert len(processes) == 1 and os.getpid() not in processes
    proposer.close()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and any(_alive(process) for process in processes):
        time.sleep(0.05)
    assert not any(_alive(process) for process in processes)


def test_its_death_is_an_error_and_not_a_forgetful_strategy(apart) -> None:
    proposer = apart(Reporting)
    (made,) = proposer.start([], 1, derive(0)).result(60)
    with pytest.raises(WorkerCrashed, match="SIGKILL"):
        proposer.start([("told", trial(0, made))], 1, derive(1)).result(60)
    with pytest.raises(RuntimeError, match="run again"):
        proposer.start([], 1, derive(2)).result(60)


def test_what_cannot_be_sent_stays_on_a_thread() -> None:
    class Local(Random):
        slow = True

        def filler(self) -> Random:
            return Random(space=SPACE)

        def maker(self) -> Callable[[], Local]:
            return partial(Local, space=SPACE)

    study = Study(name="s", space=SPACE, strategy=Local(space=SPACE), driver=None, objectives=OBJECTIVES)  # type: ignore[arg-type]
    asker = asker_of(study, 2, lambda: None)
    assert isinstance(asker._proposer, ThreadProposer)  # type: ignore[attr-defined]
    asker.close()


class Sum:
    """Adds up a point."""

    repeatable = True
    objectives = OBJECTIVES

    def __call__(self, trial: Trial) -> float:
        return float(sum(trial.point.values()))


def test_no_process_outlives_a_study_or_one_that_was_over_before(tmp_path) -> None:
    def study() -> Study:
        strategy = evolution()
        return Study(
            name="s", space=SPACE, strategy=strategy, driver=Sum(), objectives=OBJECTIVES, budget=Budget(trials=12)
        )

    before = psutil.Process().children()
    for _ in range(2):
        assert run(tmp_path, study, executor=Serial(), slots=2) == "finished"
        assert psutil.Process().children() == before


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
