"""Restarts: one rule for every way in which an attempt can end, and nothing unrepeatable is repeated."""

from __future__ import annotations

import io
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, Executor, Future
from pathlib import Path

import pytest
from rich.console import Console

from matloop.hpc.local import Local
from matloop.hpc.serial import Serial
from matloop.orchestrator.cli.commands import status
from matloop.orchestrator.errors import MatloopError, WorkerCrashed, WorkerLost
from matloop.orchestrator.ledger.corrections import Correction, amend
from matloop.orchestrator.ledger.decisions import decide
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.loop import flights
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.restarts import Rules, follows
from matloop.orchestrator.loop.study import Silent
from matloop.orchestrator.report import ending
from matloop.orchestrator.report.content import Prose
from matloop.orchestrator.report.sections import failures
from matloop.orchestrator.trial import Failure, Proposal, Trial
from tests.orchestrator.harness import run
from tests.orchestrator.toys import LOSS, Bowl, Descent, Scripted, study

ONCE = Rules(repeatable=False, attempts=3)


def test_what_was_not_begun_may_always_be_begun_again() -> None:
    for how, repeatable, attempt in itertools.product(("death", "stop"), (True, False), (1, 2, 3, 9)):
        assert follows(how, begun=False, attempt=attempt, rules=Rules(repeatable=repeatable, attempts=3)) == "again"


def test_what_may_have_begun_is_repeated_only_if_it_is_harmless() -> None:
    for how, attempt in itertools.product(("answer", "death", "stop"), (1, 2, 3, 9)):
        expected = "result" if how == "answer" else "uncertain"
        assert follows(how, begun=True, attempt=attempt, rules=ONCE) == expected
    harmless = Rules(repeatable=True, attempts=3)
    assert [follows("death", begun=True, attempt=n, rules=harmless) for n in (1, 2, 3)] == ["again", "again", "result"]
    assert [follows("stop", begun=True, attempt=n, rules=harmless) for n in (1, 3, 9)] == ["again"] * 3
    assert follows("answer", begun=True, attempt=1, rules=harmless) == "result"


class Held(Executor):
    """Two slots and a queue behind them: what is begun is never answered unless told to; all by hand."""

    slots, ahead = 2, 2

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.futures: list[Future] = []

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        if len(self.begun) < 2:
            future.set_running_or_notify_cancel()
            self.begun.append(fn.trial.id)
        self.futures.append(future)
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        for future in self.futures:
            if not future.cancel() and not future.done():
                future.set_exception(CancelledError("it was stopped"))


class TwoSignals(Silent):
    """Stops the run at once, when all four are submitted."""

    def __init__(self) -> None:
        self.proposals = 0

    def proposed(self, trial: Trial) -> None:
        self.proposals += 1

    def running(self, busy: int, slots: int) -> None:
        if self.proposals == 4:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)


def once(**options):
    return study(driver=Bowl(repeatable=False), **options)


def test_of_what_is_withdrawn_only_that_begins_again_which_had_not_begun(tmp_path: Path) -> None:
    executor = Held()
    assert run(tmp_path, once, executor=executor, observer=TwoSignals()) == "terminated"
    history = read(tmp_path / "ledger.db")
    assert executor.begun == [0, 1] and [t.state for t in history.trials] == ["failed"] * 2 + ["running"] * 2
    assert [t.failure.cause for t in history.trials[:2]] == ["uncertain"] * 2
    assert [t.cost for t in history.trials[:2]] == [None] * 2 and [t.id for t in history.undecided()] == [0, 1]
    assert run(tmp_path, once, executor=Serial()) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [t.state for t in history.trials] == ["failed"] * 2 + ["answered"] * 8
    assert {t.attempt for t in history.trials} == {1} and not history.lost


def test_what_is_repeatable_begins_again_after_a_stop_whatever_had_begun(tmp_path: Path) -> None:
    assert run(tmp_path, study, executor=Held(), observer=TwoSignals()) == "terminated"
    assert run(tmp_path, study, executor=Serial()) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [(t.state, t.attempt) for t in history.trials] == [("answered", 1)] * 10 and not history.lost


class Failing(Executor):
    """Raises `error` for the third trial."""

    slots = 1

    def __init__(self, error: Exception) -> None:
        self.error, self.begun = error, []

    def submit(self, fn, /, *args, **kwargs):
        self.begun.append(fn.trial.number)
        future: Future = Future()
        if fn.trial.number == 2:
            future.set_exception(self.error)
        else:
            future.set_result(fn())
        return future


@pytest.mark.parametrize("error", [WorkerCrashed("died of SIGSEGV"), WorkerLost("lost rank 3"), CancelledError("off")])
def test_a_worker_that_dies_leaves_it_uncertain(tmp_path: Path, error: Exception) -> None:
    executor, strategy = Failing(error), Descent()
    assert run(tmp_path, lambda: once(strategy=strategy), executor=executor) == "finished"
    history = read(tmp_path / "ledger.db")
    assert executor.begun == list(range(10))  # none of them twice
    failure = history.trials[2].failure
    assert failure is not None and failure.cause == "uncertain" and failure.message.startswith("it may have happened: ")
    assert not failure.informative and [t.state for t in strategy.told].count("failed") == 1


def test_a_limit_is_an_answer(tmp_path: Path) -> None:
    run(tmp_path, once, executor=Failing(TimeoutError("took longer than 3 s")))
    failure = read(tmp_path / "ledger.db").trials[2].failure
    assert failure is not None and failure.cause == "timeout" and failure.informative


def test_a_manager_that_is_killed_leaves_uncertain_what_it_may_have_begun(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db", config={"name": "toy"}, environment={}) as ledger:
        for number in range(2):
            ledger.propose("walk", Proposal(point={"x": 0.1 * number}), seed=number, ask=0)
        ledger.withdraw(ledger.history.trials[1], begun=False)
        ledger.commit()
        ledger._release()  # as a killed process leaves it
    assert run(tmp_path, once, executor=Serial()) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [t.state for t in history.trials] == ["failed"] + ["answered"] * 9
    assert history.trials[0].failure == Failure(
        cause="uncertain", message="it may have happened: the manager stopped while it ran"
    )


def test_uncertain_ones_are_charged_and_are_no_failures(tmp_path: Path) -> None:
    class Lost(Failing):
        def submit(self, fn, /, *args, **kwargs):
            self.begun.append(fn.trial.number)
            future: Future = Future()
            if fn.trial.number % 2:
                future.set_exception(self.error)
            else:
                future.set_result(fn())
            return future

    script = (ValueError("no"), 1.0)  # a failure, then one that is lost, ...
    budget = Budget(cost=10.0, failures=3)
    made = lambda: study(driver=Scripted(script, repeatable=False), budget=budget)  # noqa: E731
    assert run(tmp_path, made, executor=Lost(WorkerLost("gone"))) == "failures in a row"
    causes = [t.failure.cause for t in read(tmp_path / "ledger.db").trials]
    assert causes == ["exception", "uncertain"] * 2 + ["exception"]
    only_lost = lambda: study(driver=Bowl(repeatable=False), budget=Budget(cost=4.0, failures=2))  # noqa: E731
    assert run(tmp_path / "b", only_lost, executor=Failing(WorkerLost("gone"))) == "finished"
    assert len(read(tmp_path / "b/ledger.db").trials) == 4  # the lost one has cost 1 too


def test_a_driver_that_only_crashes_is_not_fed_without_end(tmp_path: Path) -> None:
    class Crashing(Failing):
        def submit(self, fn, /, *args, **kwargs):
            self.begun.append(fn.trial.number)
            future: Future = Future()
            future.set_exception(self.error)
            return future

    executor = Crashing(WorkerCrashed("died of SIGSEGV"))
    made = lambda: once(budget=Budget(trials=100, failures=5))  # noqa: E731
    assert run(tmp_path, made, executor=executor) == "failures in a row" and len(executor.begun) == 5
    history = read(tmp_path / "ledger.db")
    assert {t.failure.cause for t in history.trials} == {"uncertain"} and not history.uncounted("walk")


def test_a_result_that_comes_while_everything_is_ended_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights, "FAREWELL_S", 60.0)

    class Late(Held):
        def shutdown(self, wait=True, *, cancel_futures=False):
            threading.Timer(0.1, lambda: self.futures[0].set_result(self.answer())).start()
            self.futures[1].set_exception(CancelledError("it was stopped"))
            for future in self.futures[2:]:
                future.cancel()

        def submit(self, fn, /, *args, **kwargs):
            if not self.futures:
                self.answer = fn
            return super().submit(fn, *args, **kwargs)

    assert run(tmp_path, once, executor=Late(), observer=TwoSignals()) == "terminated"
    assert [t.state for t in read(tmp_path / "ledger.db").trials] == ["answered", "failed", "running", "running"]


# --- decisions -------------------------------------------------------------------------------------------------------


def stopped(folder: Path, **options) -> None:
    """A study whose trials 0 and 1 are uncertain."""
    assert run(folder, lambda: once(**options), executor=Held(), observer=TwoSignals()) == "terminated"


def decided(folder: Path, number: int, verdict: str, **options: str) -> Trial:
    with Ledger(folder / "ledger.db") as ledger:
        return decide(ledger, number, verdict, **options)


def test_a_repeat_is_a_new_trial_at_the_same_point_within_the_number_of_trials(tmp_path: Path) -> None:
    stopped(tmp_path, budget=Budget(trials=4))
    decided(tmp_path, 1, "repeat", by="Ada", reason="the shutter was closed")
    asked: list[int] = []

    class Counting(Descent):
        def ask(self, n, pending, rng):
            asked.append(n)
            return super().ask(n, pending, rng)

    strategy = Counting()
    made = lambda: once(strategy=strategy, budget=Budget(trials=4))  # noqa: E731
    assert run(tmp_path, made, executor=Serial()) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [t.state for t in history.trials] == ["failed", "failed", "answered", "answered", "answered"]
    new = history.trials[4]
    assert new.point == history.trials[1].point and new.parents == (1,) and new.extra["repeats"] == 1
    assert new.reason == "repeats trial 1, which may not have happened" and not any(asked)
    assert new.id in [t.id for t in strategy.told] and [t.id for t in history.undecided()] == [0]
    assert (history.decisions[1].by, history.decisions[1].reason) == ("Ada", "the shutter was closed")
    assert history.ended("walk") == {"reason": "4 trials"}
    assert run(tmp_path, made, executor=Serial()) == "finished"  # and not once more
    assert len(read(tmp_path / "ledger.db").trials) == 5


def test_a_repeat_comes_before_what_the_strategy_proposes(tmp_path: Path) -> None:
    stopped(tmp_path)
    for number in (0, 1):
        decided(tmp_path, number, "repeat")
    assert run(tmp_path, once, executor=Serial()) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [t.parents for t in history.trials[4:6]] == [(0,), (1,)] and len(history.trials) == 12
    assert sum(t.state == "answered" for t in history.trials) == 10


def test_a_study_at_its_end_repeats_nothing(tmp_path: Path) -> None:
    stopped(tmp_path, budget=Budget(cost=2.0))  # both are charged
    decided(tmp_path, 0, "repeat")
    assert run(tmp_path, lambda: once(budget=Budget(cost=2.0)), executor=Serial()) == "finished"
    history = read(tmp_path / "ledger.db")
    assert len(history.trials) == 4 and [t.id for t in history.to_repeat("walk")] == [0]
    assert run(tmp_path, lambda: once(budget=Budget(cost=5.0)), executor=Serial()) == "finished"
    assert read(tmp_path / "ledger.db").trials[4].parents == (0,)


def test_what_is_counted_stays_as_it_is(tmp_path: Path) -> None:
    stopped(tmp_path)
    before = decided(tmp_path, 0, "counted")
    run(tmp_path, once, executor=Serial())
    history = read(tmp_path / "ledger.db")
    assert history.trials[0] == before and len(history.trials) == 10 and [t.id for t in history.undecided()] == [1]


def test_what_is_dropped_is_set_aside_and_has_its_cost(tmp_path: Path) -> None:
    stopped(tmp_path, budget=Budget(cost=5.0))
    dropped = decided(tmp_path, 0, "drop", by="Ada")
    assert (dropped.state, dropped.failure, dropped.was_done) == ("cancelled", None, True)
    assert run(tmp_path, lambda: once(budget=Budget(cost=5.0)), executor=Serial()) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [t.id for t in history.undecided()] == [1] and history.ended("walk") == {"reason": "cost 5"}
    assert len(history.trials) == 5 and history.amendments[0].before.failure.cause == "uncertain"
    with pytest.raises(MatloopError, match="there is nothing to decide on trial 0, which is cancelled"):
        decided(tmp_path, 0, "repeat")


def test_a_trial_that_may_have_happened_can_be_given_its_result(tmp_path: Path) -> None:
    stopped(tmp_path)
    with Ledger(tmp_path / "ledger.db") as ledger:
        amend(ledger, 1, Correction(values={"loss": 0.25}), reason="the detector has it", by="Ada")
    history = read(tmp_path / "ledger.db")
    assert history.trials[1].values == {"loss": 0.25} and [t.id for t in history.undecided()] == [0]


@pytest.mark.parametrize(
    ("number", "verdict", "message"),
    [
        (0, "repeat", "trial 0 was decided already by Ada: counted; a decision stands"),
        (2, "counted", "there is nothing to decide on trial 2, which runs; trials to decide on: 1"),
        (7, "counted", "there is no trial 7; trials to decide on: 1"),
        (1, "maybe", "expected counted, repeat, drop, got 'maybe'"),
    ],
)
def test_a_decision_is_made_once_and_only_where_there_is_one(
    tmp_path: Path, number: int, verdict: str, message: str
) -> None:
    stopped(tmp_path)
    decided(tmp_path, 0, "counted", by="Ada")
    before = read(tmp_path / "ledger.db")
    with pytest.raises(MatloopError, match=message):
        decided(tmp_path, number, verdict)
    assert read(tmp_path / "ledger.db").decisions == before.decisions


def test_status_and_report_say_what_is_to_be_decided_and_how(tmp_path: Path) -> None:
    stopped(tmp_path)
    command = "decide with `matloop decide DIR 0 counted|repeat|drop`"
    for done, which in ((None, "trials 0, 1 may have happened"), (0, "trial 1 may have happened")):
        if done is not None:
            decided(tmp_path, done, "counted")
            command = command.replace("DIR 0", "DIR 1")
        history = read(tmp_path / "ledger.db")
        console = Console(width=300, record=True, file=io.StringIO())
        console.print(status.page(history, None, 0.0, "DIR"))
        section = failures.section(history)
        assert section is not None
        shown = [console.export_text(), "".join(b.text for b in section.blocks if isinstance(b, Prose))]
        assert all(which in text and command in text for text in shown), shown
    decided(tmp_path, 1, "drop")
    assert read(tmp_path / "ledger.db").trials[1].state == "cancelled"
    assert ending.undecided(read(tmp_path / "ledger.db"), "DIR") == []


# --- the whole way ---------------------------------------------------------------------------------------------------

CAMPAIGN = """\
name: scope
executor: {kind: local, slots: 1}
studies:
  a:
    space: {kind: box, parameters: {x: {type: float, low: 0, high: 1}}}
    driver: {kind: python, path: "s.py:expose", repeatable: false}
    strategy: {kind: random}
    objectives: {y: minimise}
    budget: {trials: 3}
"""
EXPOSE = """\
import time
from pathlib import Path
FOLDER = Path(__file__).parent
def expose(point):
    with FOLDER.joinpath("log").open("a") as log:
        log.write(f"{point['x']}\\n")
    while not FOLDER.joinpath("go").exists():
        time.sleep(0.05)
    return point["x"]
"""
MATLOOP = [sys.executable, "-m", "matloop.orchestrator.cli.main"]


@pytest.mark.parametrize("signals", [[signal.SIGTERM] * 2, [signal.SIGINT] * 2, [signal.SIGKILL]])
def test_nothing_is_exposed_twice(tmp_path: Path, signals: list[int]) -> None:
    """Three trials were exposed four times after two SIGTERM and a resume."""
    (tmp_path / "c.yaml").write_text(CAMPAIGN)
    (tmp_path / "s.py").write_text(EXPOSE)
    log = tmp_path / "log"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*MATLOOP, "run", "c.yaml"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
    ends_at = time.monotonic() + 120
    while not log.exists() and process.poll() is None and time.monotonic() < ends_at:
        time.sleep(0.05)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.5)
    process.communicate(timeout=60)
    codes = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}
    assert process.returncode == codes[signals[0]]
    (tmp_path / "go").touch()
    done = subprocess.run([*MATLOOP, "run", "c.yaml"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    history = read(tmp_path / "runs/scope/ledger.db")
    exposed = log.read_text().split()
    assert len(exposed) == len(set(exposed)) == 3
    assert [t.state for t in history.trials] == ["failed", "answered", "answered"]
    assert history.trials[0].failure.cause == "uncertain"
    assert "matloop decide runs/scope 0 counted|repeat" in done.stdout
    if signals[0] != signal.SIGTERM:
        return
    command = [*MATLOOP, "decide", "c.yaml", "0", "repeat", "--by", "Ada"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "trial 0 is repeated by the next run" in done.stdout
    subprocess.run([*MATLOOP, "run", "c.yaml"], cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
    exposed = log.read_text().split()
    assert len(exposed) == 4 and exposed[3] == exposed[0]  # a person wanted it


def test_local_processes_say_what_was_not_begun(tmp_path: Path) -> None:
    class WhenBegun(Silent):
        def running(self, busy: int, slots: int) -> None:
            if busy:
                deadline = time.monotonic() + 60
                while not log.exists() and time.monotonic() < deadline:
                    time.sleep(0.02)
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)

    log = tmp_path / "log"
    driver = Bowl(log=log, sleep_s=60.0, repeatable=False, objectives=(LOSS,))
    with Local(slots=1) as executor:
        made = lambda: study(driver=driver, budget=Budget(trials=2))  # noqa: E731
        outcome = run(tmp_path, made, executor=executor, slots=2, observer=WhenBegun())
    assert outcome == "terminated" and log.read_text() == "0 1\n"
    history = read(tmp_path / "ledger.db")
    assert [t.state for t in history.trials] == ["failed", "running"]
    assert not history.may_have_begun(history.trials[1])
