"""A strategy on another thread and one in another process hear the same and propose the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import psutil
import pytest

from matloop.hpc.serial import Serial
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.asker import asker_of
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.proposer import (
    Mail,
    ProcessProposer,
    Proposer,
    ProposerDied,
    ThreadProposer,
    left_behind,
)
from matloop.orchestrator.loop.study import Silent, Study
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
    with pytest.raises(ProposerDied, match="SIGKILL"):
        proposer.start([("told", trial(0, made))], 1, derive(1)).result(60)
    with pytest.raises(ProposerDied, match="started again"):
        proposer.start([], 1, derive(2)).result(60)
    proposer.renew()
    assert len(proposer.start([], 2, derive(3)).result(60)) == 2


def test_it_may_die_while_nothing_is_asked_of_it(apart) -> None:
    proposer = apart(Reporting)
    (made,) = proposer.start([], 1, derive(0)).result(60)
    os.kill(made.point["process"], signal.SIGKILL)
    with pytest.raises(ProposerDied):
        proposer.start([], 1, derive(1)).result(60)
    proposer.renew()
    (other,) = proposer.start([], 1, derive(2)).result(60)
    assert other.point["process"] != made.point["process"]


def test_what_cannot_be_sent_stays_on_a_thread() -> None:
    class Local(Random):
        slow = True

        def filler(self) -> Random:
            return Random(space=SPACE)

        def maker(self) -> Callable[[], Local]:
            return partial(Local, space=SPACE)

    study = Study(name="s", space=SPACE, strategy=Local(space=SPACE), driver=None, objectives=OBJECTIVES)  # type: ignore[arg-type]
    asker = asker_of(study, 2, lambda: None, tuple)
    assert isinstance(asker._proposer, ThreadProposer)  # type: ignore[attr-defined]
    asker.close()


class Remembering:
    """Proposes how many it was told of, and in which process; slow, and made anew in a process of its own."""

    slow = True

    def __init__(self, deadly: int = 10**9) -> None:
        self.deadly, self.told = deadly, []

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        if len(self.told) >= self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        extra = {"told": self.told, "pending": [t.id for t in pending if isinstance(t, Trial)], "process": os.getpid()}
        return [Proposal(point=SPACE.sample(rng), extra=extra) for _ in range(n)]

    def tell(self, trial: Trial) -> None:
        self.told.append(trial.id)

    def filler(self) -> Random:
        return Random(space=SPACE)

    def maker(self) -> Callable[[], Remembering]:
        return partial(Remembering, self.deadly)


class Killing(Silent):
    """Kills the process of the strategy once it has proposed anything; says which it killed."""

    def __init__(self) -> None:
        self.killed: set[int] = set()

    def proposed(self, trial: Trial) -> None:
        process = trial.extra.get("process")
        if process is not None and process not in self.killed:
            self.killed.add(process)
            os.kill(process, signal.SIGKILL)


@dataclass(frozen=True)
class Unhurried:
    """Takes a moment, so that the strategy comes to propose beside its filler."""

    repeatable: bool = True
    objectives: tuple[Objective, ...] = OBJECTIVES

    def __call__(self, trial: Trial) -> float:
        time.sleep(0.01)
        return float(sum(trial.point.values()))


def searched(strategy: Strategy, **budget: int) -> Study:
    return Study(
        name="s", space=SPACE, strategy=strategy, driver=Unhurried(), objectives=OBJECTIVES, budget=Budget(**budget)
    )


def test_a_strategy_whose_process_is_killed_again_and_again_goes_on_and_knows_everything(tmp_path) -> None:
    killing, deadline = Killing(), time.monotonic() + 300

    class Enough(Killing):
        def finished(self, trial: Trial) -> None:
            if len(killing.killed) >= 4 or time.monotonic() > deadline:
                os.kill(os.getpid(), signal.SIGINT)

    killing = Enough()
    with ThreadPoolExecutor(2) as pool:
        made = lambda: searched(Remembering(), trials=10**6)  # noqa: E731
        assert run(tmp_path, made, executor=pool, slots=2, observer=killing) == "interrupted"
    history = read(tmp_path / "ledger.db")
    assert len(killing.killed) >= 4
    assert sorted(history.finished) == list(range(len(history.trials)))  # none was lost
    assert {t.state for t in history.trials} == {"answered"} and not history.lost
    by_process: dict[int, list[Trial]] = {}
    for one in history.trials:
        if "process" in one.extra:
            by_process.setdefault(one.extra["process"], []).append(one)
    for ones in by_process.values():  # each of them knew all that was told before, in that order
        told = ones[0].extra["told"]
        assert told == history.finished[: len(told)]
        assert not set(told) & set(ones[0].extra["pending"])
    lengths = [len(ones[0].extra["told"]) for ones in by_process.values()]
    assert lengths == sorted(lengths) and lengths[-1] > lengths[0]


def test_a_strategy_that_dies_whenever_it_is_asked_is_given_up(tmp_path) -> None:
    with ThreadPoolExecutor(2) as pool, pytest.raises(MatloopError, match="died 5 times without a proposal in between"):
        run(tmp_path, lambda: searched(Remembering(deadly=4), trials=10**6), executor=pool, slots=2)
    history = read(tmp_path / "ledger.db")
    assert len(history.finished) == len(history.trials) >= 4


class Fitting:
    """Computes for ever once it was told of something; in Python, or in what looks like one call in C."""

    def __init__(self, in_c: bool) -> None:
        self.in_c, self.began, self.broken_off = in_c, threading.Event(), threading.Event()

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        self.began.set()
        try:
            while True:
                time.sleep(30.0 if self.in_c else 0.001)
        finally:
            self.broken_off.set()

    def tell(self, trial: Trial) -> None:
        pass


@pytest.mark.parametrize("in_c", [False, True])
def test_nobody_waits_for_a_fit_at_the_end(in_c: bool) -> None:
    strategy = Fitting(in_c)
    proposer = ThreadProposer(strategy)
    future = proposer.start([], 1, derive(0))
    assert strategy.began.wait(60)
    began = time.monotonic()
    proposer.close()
    assert time.monotonic() - began < 20
    if in_c:
        assert left_behind() and not future.done()
    else:
        assert strategy.broken_off.wait(60)


STRATEGY = """\
import time
class Fitting:
    def __init__(self, *, space, objectives):
        self.space, self.asked = space, 0
    def ask(self, n, pending, rng):
        from matloop.orchestrator.trial import Proposal
        self.asked += 1
        if self.asked > 3:
            time.sleep(600)
        return [Proposal(point=self.space.sample(rng)) for _ in range(n)]
    def tell(self, trial):
        pass
"""
CAMPAIGN = """\
name: fit
executor: {kind: local, slots: 1}
studies:
  s:
    space: {kind: box, parameters: {x: {type: float, low: 0, high: 1}}}
    driver: {kind: python, path: "m.py:f"}
    strategy: {kind: "fitting:Fitting"}
    background: true
    objectives: {y: minimise}
    budget: {trials: 2}
"""


def test_nor_does_the_end_of_the_process(tmp_path) -> None:
    (tmp_path / "c.yaml").write_text(CAMPAIGN)
    (tmp_path / "fitting.py").write_text(STRATEGY)
    (tmp_path / "m.py").write_text("def f(point):\n    return point['x']\n")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "matloop.orchestrator.cli.main", "run", "c.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "report: " in done.stdout, done.stderr


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
