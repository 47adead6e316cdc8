"""The loop: order, failures, retries, budgets, interruption, resume."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matloop.orchestrator.errors import MatloopError, MemoryExceeded, StrategyStalled, WorkerCrashed
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.flight import outcome
from matloop.orchestrator.loop.study import Silent
from matloop.orchestrator.trial import Answer, Objective, Proposal
from tests.orchestrator.harness import run
from tests.orchestrator.toys import LOSS, Bowl, Descent, Listed, Scripted, study


class InPlace(Executor):
    """One slot, at once."""

    slots = 1

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Shuffled(Executor):
    """Holds back up to `slots` tasks and answers them in random order, from another thread."""

    def __init__(self, slots: int, seed: int) -> None:
        self.slots, self._random, self._held = slots, random.Random(seed), []
        self._lock, self._open = threading.Condition(), True
        self.most = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        with self._lock:
            self._held.append((future, fn))
            self.most = max(self.most, len(self._held))
            self._lock.notify()
        return future

    def _serve(self):
        while self._open:
            with self._lock:
                self._lock.wait_for(lambda: self._held or not self._open)
                if not self._held:
                    continue
                future, fn = self._held.pop(self._random.randrange(len(self._held)))
            try:
                future.set_result(fn())
            except Exception as error:
                future.set_exception(error)

    def shutdown(self, wait=True, *, cancel_futures=False):
        with self._lock:
            self._open = False
            self._lock.notify()


def trials(folder):
    return read(folder / "ledger.db").trials


def test_ten_trials_and_no_more(tmp_path):
    assert run(tmp_path, study, executor=InPlace()) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [t.state for t in history.trials] == ["answered"] * 10
    assert history.finished == list(range(10))
    assert history.ended("walk") == {"reason": "10 trials"}
    assert len({t.seed for t in history.trials}) == 10
    assert history.trials[0].info == {"tuple": [1, 2]}


def test_same_seed_same_campaign_other_seed_other(tmp_path):
    runs = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, study, executor=InPlace(), seed=seed)
        runs[name] = [(t.point, t.values) for t in trials(tmp_path / name)]
    assert runs["a"] == runs["b"] != runs["c"]


def test_a_finished_campaign_stays_finished(tmp_path):
    run(tmp_path, study, executor=InPlace())
    before = read(tmp_path / "ledger.db")
    run(tmp_path, study, executor=InPlace())
    after = read(tmp_path / "ledger.db")
    assert after.trials == before.trials and after.notes == before.notes


def test_a_larger_budget_goes_on_as_if_it_had_been_there_from_the_start(tmp_path):
    run(tmp_path / "two", lambda: study(budget=Budget(trials=4)), executor=InPlace())
    run(tmp_path / "two", study, executor=InPlace())
    run(tmp_path / "one", study, executor=InPlace())
    assert [t.point for t in trials(tmp_path / "two")] == [t.point for t in trials(tmp_path / "one")]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31), slots=st.integers(1, 9))
def test_results_in_any_order(tmp_path_factory, seed, slots):
    folder = tmp_path_factory.mktemp("any")
    executor = Shuffled(slots, seed)
    made = []

    def make():
        made.append(study(budget=Budget(trials=25)))
        return made[-1]

    run(folder, make, executor=executor)
    executor.shutdown()
    history = read(folder / "ledger.db")
    assert sorted(history.finished) == list(range(25))
    assert [t.id for t in made[-1].strategy.told] == history.finished  # told in recorded order
    assert executor.most <= slots


def test_failures_are_data_with_their_traceback(tmp_path):
    script = (1.0, ValueError("a\nbad day"), float("nan"), {"other": 1.0}, "text", {"loss": 2.0, "more": 3.0})
    strategy = Descent()
    run(tmp_path, lambda: study(strategy=strategy, driver=Scripted(script)), executor=InPlace())
    found = trials(tmp_path)[:6]
    assert [t.state for t in found] == ["answered", "failed", "failed", "failed", "failed", "answered"]
    assert [t.failure.cause for t in found[1:5]] == ["exception"] + ["invalid_result"] * 3
    assert found[1].failure.message == "ValueError: a bad day"
    assert "in __call__" in found[1].failure.traceback and "raise act" in found[1].failure.traceback
    assert "objective 'loss': expected a finite number, at most 1e+100, got nan" in found[2].failure.message
    assert "objective 'loss': expected a value, got none (but for other); return a number" in found[3].failure.message
    assert "objective 'loss': expected a finite number, at most 1e+100, got 'text'" in found[4].failure.message
    assert found[5].values == {"loss": 2.0, "more": 3.0}
    assert len(strategy.told) == 10  # told of failures too


class Dying(Executor):
    """Raises instead of answering: `deaths[number]` is a list of what happens on each attempt."""

    slots = 2

    def __init__(self, deaths):
        self.deaths = {number: list(errors) for number, errors in deaths.items()}
        self.attempts = []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.attempts.append((fn.trial.number, fn.trial.attempt))
        errors = self.deaths.get(fn.trial.number)
        if errors:
            future.set_exception(errors.pop(0))
        else:
            future.set_result(fn())
        return future


def test_a_crash_is_retried_and_poison_becomes_a_failure(tmp_path):
    crash = WorkerCrashed("died of SIGSEGV")
    executor = Dying({2: [crash], 4: [crash, crash, crash, crash]})
    run(tmp_path, study, executor=executor)
    found = trials(tmp_path)
    assert found[2].state == "answered" and found[2].attempt == 2
    assert found[4].state == "failed" and found[4].attempt == 3
    assert found[4].failure.cause == "crash" and "SIGSEGV" in found[4].failure.message
    assert len(read(tmp_path / "ledger.db").lost) == 4
    assert [n for n, _ in executor.attempts].count(4) == 3
    assert {a for n, a in executor.attempts if n == 4} == {1, 2, 3}


def test_what_must_not_be_repeated_is_not(tmp_path):
    executor = Dying({2: [WorkerCrashed("gone")]})
    run(tmp_path, lambda: study(driver=Bowl(repeatable=False)), executor=executor)
    assert trials(tmp_path)[2].failure.cause == "uncertain" and trials(tmp_path)[2].attempt == 1


def test_limits_are_final(tmp_path):
    executor = Dying({1: [TimeoutError("took longer than 3 s")], 2: [MemoryExceeded("used 9 GiB")]})
    run(tmp_path, study, executor=executor)
    assert [(t.failure.cause, t.attempt) for t in trials(tmp_path)[1:3]] == [("timeout", 1), ("memory", 1)]


def test_an_empty_ask_with_nothing_running_is_an_error(tmp_path):
    with pytest.raises(StrategyStalled, match="Listed proposes nothing"):
        run(tmp_path, lambda: study(strategy=Listed([0.1, 0.2], silent=True)), executor=InPlace())
    assert len(read(tmp_path / "ledger.db").finished) == 2
    with pytest.raises(StrategyStalled):
        run(
            tmp_path / "background",
            lambda: study(strategy=Listed([0.1, 0.2], silent=True), background=True),
            executor=InPlace(),
        )


def test_an_exhausted_space_ends_the_study(tmp_path):
    assert run(tmp_path, lambda: study(strategy=Listed([0.1, 0.2, 0.3])), executor=Shuffled(2, 0)) == "finished"
    assert read(tmp_path / "ledger.db").ended("walk") == {"reason": "space exhausted: every listed point was tried"}


class Rude(Descent):
    def __init__(self, act, when=3):
        super().__init__()
        self.act, self.when = act, when

    def ask(self, n, pending, rng):
        return self.act() if len(self.told) >= self.when else super().ask(n, pending, rng)


def bug():
    raise ZeroDivisionError("oops")


@pytest.mark.parametrize("background", [False, True])
def test_a_bug_in_a_strategy_loses_nothing(tmp_path, background):
    with pytest.raises(MatloopError, match=r"Rude failed in `ask`: ZeroDivisionError: oops\. All results are recorded"):
        run(tmp_path, lambda: study(strategy=Rude(bug), background=background), executor=Shuffled(3, 0))
    history = read(tmp_path / "ledger.db")
    assert len(history.finished) == len(history.trials) >= 3
    assert "in bug" in next(n.data["traceback"] for n in history.notes if n.kind == "strategy_failed")
    run(tmp_path, study, executor=InPlace())
    assert len(read(tmp_path / "ledger.db").finished) == 10


@pytest.mark.parametrize(
    ("point", "message"), [({"x": 7.0}, "outside the space"), ({"x": 1j}, "numbers, text, lists and mappings")]
)
def test_a_bad_proposal_is_refused(tmp_path, point, message):
    class Anywhere:
        def check(self, point):
            if point == {"x": 7.0}:
                from matloop.orchestrator.errors import InvalidPoint

                raise InvalidPoint("x is 7")

    def make():
        import dataclasses

        return dataclasses.replace(study(strategy=Rude(lambda: [Proposal(point=point)])), space=Anywhere())

    with pytest.raises(MatloopError, match=message):
        run(tmp_path, make, executor=InPlace())
    assert len(read(tmp_path / "ledger.db").finished) == 3


@pytest.mark.parametrize(
    ("budget", "reason", "count"),
    [
        (Budget(trials=3), "3 trials", 3),
        (Budget(cost=4.5), "cost 5", 5),
        (Budget(target=5.0), "target reached: loss 5", 3),
        (Budget(patience=4), "no better loss in 4 answers", 9),
    ],
)
def test_budgets(tmp_path, budget, reason, count):
    values = (7.0, 6.0, 5.0, 5.0, 4.0, 4.0, 9.0, 4.0, 4.0, 1.0)
    run(tmp_path, lambda: study(driver=Scripted(values), budget=budget), executor=InPlace())
    history = read(tmp_path / "ledger.db")
    assert history.ended("walk") == {"reason": reason} and len(history.trials) == count


def test_direction_of_target_and_patience(tmp_path):
    objectives = (Objective("loss", "maximise"),)
    driver = Scripted((1.0, 2.0, 3.0, 4.0))
    run(tmp_path, lambda: study(driver=driver, objectives=objectives, budget=Budget(target=3.0)), executor=InPlace())
    assert len(trials(tmp_path)) == 3


def test_a_broken_driver_ends_early(tmp_path):
    driver = Scripted((ValueError("no such file"),))
    run(tmp_path, lambda: study(driver=driver, budget=Budget(trials=1000, failures=5)), executor=InPlace())
    assert read(tmp_path / "ledger.db").ended("walk")["reason"] == "5 failures in a row"
    assert len(trials(tmp_path)) == 5


def test_time_budget_counts_over_sessions(tmp_path):
    slow = lambda: study(driver=Bowl(sleep_s=0.02), budget=Budget(seconds=0.2))  # noqa: E731
    run(tmp_path, slow, executor=InPlace())
    count = len(trials(tmp_path))
    assert 2 <= count <= 10
    run(tmp_path, slow, executor=InPlace())
    assert len(trials(tmp_path)) == count


def test_later_studies_see_earlier_ones_and_hold_them_closed(tmp_path):
    from matloop.orchestrator.ledger.ledger import Ledger
    from matloop.orchestrator.loop.campaign import Campaign
    from matloop.orchestrator.loop.study import Plan

    def second(history, store):
        best = min(t.values["loss"] for t in history.told("first"))
        return study("second", driver=Scripted((best,)), budget=Budget(trials=1))

    for trials_of_first in (5, 8):
        first = study("first", budget=Budget(trials=trials_of_first))
        plans = [Plan("first", lambda h, s, first=first: first), Plan("second", second)]
        with Ledger.open(tmp_path / "ledger.db", config={}, environment={}) as ledger:
            Campaign(plans=plans, ledger=ledger, executor=InPlace(), artifacts=tmp_path).run()
    history = read(tmp_path / "ledger.db")
    assert len(history.of("first")) == 5  # not reopened: "second" was built on it
    assert history.of("second")[0].values["loss"] == min(t.values["loss"] for t in history.of("first"))


class SignalAt(Silent):
    """Sends this process a signal after some answers."""

    def __init__(self, *numbers):
        self.numbers, self.count = numbers, 0

    def finished(self, trial):
        self.count += 1
        if self.count in self.numbers:
            os.kill(os.getpid(), signal.SIGINT)


def test_first_interrupt_records_what_runs(tmp_path):
    with ThreadPoolExecutor(3) as pool:
        slow = lambda: study(driver=Bowl(sleep_s=0.05), budget=Budget(trials=50))  # noqa: E731
        assert run(tmp_path, slow, executor=pool, slots=3, observer=SignalAt(4)) == "interrupted"
    history = read(tmp_path / "ledger.db")
    assert len(history.finished) == len(history.trials) <= 8
    assert history.sessions[-1].ended == "finished"
    assert history.ended("walk") is None


def test_second_interrupt_stops_at_once_and_does_not_count_as_an_attempt(tmp_path):
    log = tmp_path / "log"
    began = time.monotonic()

    def stuck(trial):
        if not log.exists():
            log.touch()
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        return 1.0

    made = lambda: study(driver=Scripted((stuck,)), budget=Budget(trials=3))  # noqa: E731
    assert run(tmp_path, made, executor=InPlace()) == "interrupted"
    assert time.monotonic() - began < 30
    assert [t.state for t in trials(tmp_path)] == ["running"]
    assert run(tmp_path, made, executor=InPlace()) == "finished"
    assert [(t.state, t.attempt) for t in trials(tmp_path)] == [("answered", 1)] * 3
    assert read(tmp_path / "ledger.db").lost == []


def test_interrupts_leave_the_handlers_as_they_were(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run(tmp_path, study, executor=InPlace())
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


class Slow(Descent):
    slow = True

    def ask(self, n, pending, rng):
        time.sleep(0.03)
        assert threading.current_thread() is not threading.main_thread()
        return super().ask(n, pending, rng)


def test_a_slow_strategy_is_asked_in_the_background(tmp_path):
    with ThreadPoolExecutor(2) as pool:
        made = lambda: study(strategy=Slow(), driver=Bowl(sleep_s=0.03), budget=Budget(trials=12))  # noqa: E731
        run(tmp_path, made, executor=pool, slots=2)
    history = read(tmp_path / "ledger.db")
    assert sorted(history.finished) == list(range(12))
    assert len({t.reason for t in history.trials}) == 12  # no step drawn twice


def test_a_filler_keeps_slots_busy(tmp_path):
    class VerySlow(Descent):
        def ask(self, n, pending, rng):
            time.sleep(0.3)
            return [Proposal(point={"x": 0.5}, reason="slow")]

    filler = Descent()
    with ThreadPoolExecutor(2) as pool:
        made = lambda: study(  # noqa: E731
            strategy=VerySlow(), filler=filler, background=True, driver=Bowl(sleep_s=0.01), budget=Budget(trials=30)
        )
        run(tmp_path, made, executor=pool, slots=2)
    reasons = [t.reason for t in trials(tmp_path)]
    assert sum(r != "slow" for r in reasons) > 15
    assert len(filler.told) > 20


def test_a_strategy_may_bring_its_own_filler(tmp_path):
    class Prepared(Slow):
        def ask(self, n, pending, rng):
            return [replace(proposal, reason="slow") for proposal in super().ask(n, pending, rng)]

        def filler(self):
            return filler

    filler = Descent()
    with ThreadPoolExecutor(4) as pool:
        made = lambda: study(strategy=Prepared(), driver=Bowl(sleep_s=0.005), budget=Budget(trials=60))  # noqa: E731
        run(tmp_path, made, executor=pool, slots=4)
    reasons = [t.reason for t in trials(tmp_path)]
    assert 5 < sum(reason == "slow" for reason in reasons) < 60
    assert [t.id for t in filler.told] == read(tmp_path / "ledger.db").finished


def test_evolution_in_the_background_resumes_and_repeats_no_point(tmp_path):
    from matloop.orchestrator.strategies.evolution.evolution import Evolution
    from matloop.search_spaces.box import Box
    from matloop.surrogates.fitness_svm import FitnessSVM

    space = Box(parameters={"x": {"type": "float", "low": 0.0, "high": 1.0}})

    def made(total, sleep_s):
        strategy = Evolution(space=space, objectives=(LOSS,), population=5, predictor=FitnessSVM(children=5))
        return replace(study(strategy=strategy, driver=Bowl(sleep_s=sleep_s), budget=Budget(trials=total)), space=space)

    screened = []
    for total, sleep_s in (
        (40, 0.01),
        (120, 0.1),
        (200, 1.0),
    ):  # the last for a machine that is slow to start a process
        if not screened:
            with ThreadPoolExecutor(4) as pool:
                run(tmp_path, partial(made, total, sleep_s), executor=pool, slots=4)
            found = trials(tmp_path)
            assert [t.state for t in found] == ["answered"] * total
            assert len({t.point["x"] for t in found}) == total
            screened = [t.number for t in found if t.extra["screened"] and t.number > 40]
    assert 0 < len(screened) < 160


def test_replay_tells_in_recorded_order_and_never_asks(tmp_path):
    executor = Shuffled(4, 3)
    run(tmp_path, lambda: study(budget=Budget(trials=20)), executor=executor)
    order = read(tmp_path / "ledger.db").finished

    class Witness(Descent):
        def ask(self, n, pending, rng):
            raise AssertionError("asked during replay")

    witness = Witness()
    run(tmp_path, lambda: study(strategy=witness, budget=Budget(trials=20)), executor=InPlace())
    assert [t.id for t in witness.told] == order and order != sorted(order)
    assert np.isfinite([t.values["loss"] for t in witness.told]).all()


def test_garbage_is_looked_for_seldom_while_a_study_runs_and_as_before_afterwards(tmp_path):
    class Looking(Silent):
        def finished(self, trial):
            thresholds.append(gc.get_threshold())

    before, thresholds = gc.get_threshold(), []
    run(tmp_path, partial(study, budget=Budget(trials=2)), executor=InPlace(), observer=Looking())
    assert thresholds[0][:2] == before[:2] and thresholds[0][2] > before[2] and gc.get_threshold() == before


def test_a_crash_that_names_an_odd_file_can_be_recorded() -> None:
    future: Future[Answer] = Future()
    future.set_exception(OSError("no such file: caf\udce9.cif"))
    answer = outcome(future, 0.0)
    assert answer is not None and answer.failure is not None and answer.failure.cause == "crash"
    assert answer.failure.message == r"OSError: no such file: caf\udce9.cif" and answer.failure.traceback.encode()
