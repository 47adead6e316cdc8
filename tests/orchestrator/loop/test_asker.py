"""Asking in the background: ahead of demand but no further, in order, and never the same point twice."""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from matloop.orchestrator.ledger.pending import key
from matloop.orchestrator.loop.asker import BATCH, Asker, BackgroundAsker
from matloop.orchestrator.loop.proposer import ThreadProposer
from matloop.orchestrator.protocols import Strategy
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.evolution.evolution import Evolution
from matloop.orchestrator.trial import Objective, Proposal, Trial, Unanswered
from matloop.search_spaces.box import Box
from matloop.surrogates.fitness_svm import FitnessSVM


class Counting:
    """Proposes 0, 1, 2, ... times `step`, when allowed to; writes down what it heard and where."""

    def __init__(self, step: int = 1) -> None:
        self.step, self.next = step, 0
        self.gate = threading.Event()
        self.gate.set()
        self.sizes: list[int] = []
        self.seen: list[list[object]] = []
        self.told: list[int] = []
        self.threads: set[str] = set()

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        assert self.gate.wait(100)
        self.sizes.append(n)
        self.seen.append([t.point["x"] for t in pending])
        self.threads.add(threading.current_thread().name)
        made = [Proposal(point={"x": self.step * i}) for i in range(self.next, self.next + n)]
        self.next += n
        return made

    def tell(self, trial: Trial) -> None:
        self.threads.add(threading.current_thread().name)
        self.told.append(trial.id)


class Desk:
    """The loop's part: records proposals, tells answers, waits to be woken."""

    def __init__(self, strategy: Strategy, filler: Strategy | None) -> None:
        self.woken = threading.Semaphore(0)
        self.asker = BackgroundAsker(ThreadProposer(strategy), filler, self.woken.release, tuple)
        self.trials: list[Trial] = []
        self.asks = 0

    def ask(self, n: int) -> list[Trial]:
        self.asks += 1
        new = []
        for proposal in self.asker.ask(n, lambda role: derive(role, self.asks)):
            number = len(self.trials)
            new.append(Trial(id=number, study="s", number=number, point=proposal.point, seed=0, extra=proposal.extra))
            self.trials.append(new[-1])
            self.asker.proposed(new[-1])
        return new

    def answer(self, trial: Trial, loss: float = 0.0) -> None:
        self.asker.tell(replace(trial, state="answered", values={"f": loss}))

    def wait(self) -> None:
        assert self.woken.acquire(timeout=120)

    def settle(self) -> None:
        """Collect until the other thread has nothing left to do."""
        while self.asker.busy:
            self.wait()
            self.ask(0)


@pytest.fixture
def desk() -> Iterator[type[Desk]]:
    made: list[Desk] = []

    class Closed(Desk):
        def __init__(self, strategy: Strategy, filler: Strategy | None = None) -> None:
            super().__init__(strategy, filler)
            made.append(self)

    yield Closed
    for one in made:
        one.asker.close()


def test_a_filler_answers_while_the_strategy_is_busy(desk: type[Desk]) -> None:
    slow, filler = Counting(), Counting(step=-1)
    slow.gate.clear()
    loop = desk(slow, filler)
    assert [t.point["x"] for t in loop.ask(3)] == [0, -1, -2]
    assert [t.point["x"] for t in loop.ask(2)] == [-3, -4]
    for trial in loop.trials:
        loop.answer(trial)
    assert filler.told == [0, 1, 2, 3, 4] and not slow.told
    slow.gate.set()
    loop.settle()
    # the strategy's 0 is not proposed again: the filler had come to make it while the strategy was at work
    assert [t.point["x"] for t in loop.ask(1)] == [1]
    loop.settle()
    assert slow.told == filler.told
    assert threading.current_thread().name not in slow.threads
    assert filler.threads == {threading.current_thread().name}


def test_what_is_pending_ready_or_handed_out_is_known_to_both_once(desk: type[Desk]) -> None:
    slow, filler = Counting(), Counting(step=-1)
    filler.next = 1
    loop = desk(slow, filler)
    for trial in loop.ask(9)[4:]:
        loop.answer(trial)
    answered = {-5, -6, -7, -8, -9}
    for n in (5, 2, 1, 1, 1, 1, 1, 1, 1, 1):
        loop.settle()
        known = {t.point["x"] for t in loop.trials}.union(range(slow.next)) - answered
        asks = len(slow.sizes)
        loop.ask(n)
        loop.settle()
        assert len(slow.sizes) in (asks, asks + 1)
        seen = slow.seen[-1]
        assert len(seen) == len(set(seen))
        assert asks == len(slow.sizes) or set(seen) == known
    assert len(slow.sizes) > 5
    loop.answer(loop.trials[0])
    known = {t.point["x"] for t in loop.trials[1:]}.union(range(slow.next)) - answered
    loop.ask(30)
    assert sorted(filler.seen[-1]) == sorted(known)


def test_what_is_held_ready_is_shown_as_a_proposal_and_then_as_its_trial(desk: type[Desk]) -> None:
    """Also where a strategy measures one point several times, as it may without a filler."""

    seen: list[list[object]] = []

    class Same(Counting):
        def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
            seen.append([t.id if isinstance(t, Trial) else type(t) for t in pending])
            return super().ask(n, pending, rng)

    loop, proposal = desk(Same(step=0)), Proposal(point={"x": 0})
    assert loop.ask(1) == []
    loop.settle()
    assert list(loop.asker._pending) == [proposal, proposal]
    loop.ask(1)
    assert list(loop.asker._pending) == [loop.trials[0], proposal]
    loop.ask(1)
    loop.settle()
    assert list(loop.asker._pending) == [*loop.trials, proposal] and len(loop.trials) == 2
    assert seen == [[], [0, Proposal]]


def test_is_ahead_by_the_answers_that_came_during_an_ask_and_no_further(desk: type[Desk]) -> None:
    slow = Counting()
    loop = desk(slow, Counting(step=-1))
    running = loop.ask(100)

    def ready() -> int:
        return slow.next - sum(t.point["x"] >= 0 for t in loop.trials)

    for _ in range(10):  # bursts of 20 answers
        slow.gate.clear()
        for _ in range(20):
            loop.answer(running.pop(0))
            running += loop.ask(1)
        slow.gate.set()
        loop.settle()
    assert max(slow.sizes) <= BATCH
    assert 15 <= ready() <= 20
    for _ in range(300):  # one by one
        loop.answer(running.pop(0))
        running += loop.ask(1)
        loop.settle()
    for _ in range(20):  # nothing is handed out, so nothing is made
        loop.ask(0)
        loop.settle()
    assert ready() <= 2


def test_without_a_filler_one_is_held_ready(desk: type[Desk]) -> None:
    slow = Counting()
    loop = desk(slow)
    assert loop.ask(5) == []
    loop.settle()
    assert slow.sizes == [6]
    assert [t.point["x"] for t in loop.ask(5)] == [0, 1, 2, 3, 4]
    assert not loop.asker.busy


def test_the_switch_interval_is_short_while_it_runs(desk: type[Desk]) -> None:
    before = sys.getswitchinterval()
    loop = desk(Counting())
    loop.ask(1)
    assert sys.getswitchinterval() < before
    loop.asker.close()
    assert sys.getswitchinterval() == before


@pytest.mark.parametrize("seed", range(2))
def test_evolution_and_its_filler_never_propose_a_point_twice(desk: type[Desk], seed: int) -> None:
    """In a space so small that they would often meet."""
    genes = {f"g{i}": {"type": "categorical", "choices": [0, 1, 2]} for i in range(6)}
    strategy = Evolution(
        space=Box(parameters=genes), objectives=(Objective("f"),), population=8, predictor=FitnessSVM(children=8)
    )
    filler = strategy.filler()
    assert strategy.slow and filler is not None and not filler.slow and filler.filler() is None
    loop, rng = desk(strategy, filler), derive("meet", seed)
    running: list[Trial] = []
    while len(loop.trials) < 250:
        running += loop.ask(int(rng.integers(0, 12)))
        for _ in range(int(rng.integers(0, len(running) + 1))):
            trial = running.pop(int(rng.integers(len(running))))
            loop.answer(trial, float(sum(trial.point.values())))
        if rng.random() < 0.5:
            loop.settle()
    keys = [key(t.point) for t in loop.trials]
    assert len(set(keys)) == len(keys)
    shares = [t.extra["screened"] for t in loop.trials]
    assert 10 < sum(shares) < 240
    assert filler._tried._told == {key(t.point) for t in loop.trials} - {key(t.point) for t in running}


def test_asking_at_once_sees_what_is_pending() -> None:
    strategy = Counting()
    asker = Asker(strategy)
    assert asker.ask(0, lambda role: derive(role)) == []
    (proposal,) = asker.ask(1, lambda role: derive(role))
    trial = Trial(id=0, study="s", number=0, point=proposal.point, seed=0)
    asker.proposed(trial)
    asker.ask(1, lambda role: derive(role))
    asker.tell(trial)
    asker.ask(1, lambda role: derive(role))
    assert strategy.seen == [[], [0], []]


def test_costs_the_same_however_many_are_pending_or_told(desk: type[Desk]) -> None:
    box = Box(parameters={f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(4)})
    evolution = Evolution(space=box, objectives=(Objective("f"),), population=50, predictor=FitnessSVM())
    slow = Counting()
    slow.gate.clear()  # the other thread waits, so that this one is timed alone

    def seconds(n: int) -> float:
        loop, rng = desk(slow, evolution.filler()), derive("many", n)
        for number in range(2 * n):
            trial = Trial(id=number, study="s", number=number, point=box.sample(rng), seed=0)
            loop.trials.append(trial)
            loop.asker.proposed(trial)
            if number % 2:
                loop.answer(trial, float(rng.random()))
        times = []
        for number in range(0, 100, 2):
            began = time.thread_time()
            loop.answer(loop.trials[number], 1.0)
            assert len(loop.ask(1)) == 1
            times.append(time.thread_time() - began)
        return statistics.median(times)

    few, many = seconds(100), seconds(10_000)
    slow.gate.set()
    assert many < 4 * few
