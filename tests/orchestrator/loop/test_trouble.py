"""Trouble while long evaluations run: it is said at once, what runs is waited for, and stopping always works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from matloop.hpc.local import Local
from matloop.hpc.serial import Serial
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.study import Guarded, Silent
from matloop.orchestrator.trial import Trial
from tests.orchestrator.harness import run
from tests.orchestrator.toys import Bowl, Descent, Scripted, study

ROOT = Path(__file__).parents[3]


class Failing(Descent):
    """Fails when it is told of the first answer."""

    def tell(self, trial: Trial) -> None:
        raise ZeroDivisionError("in the model")


class Noticing(Silent):
    """Notes what is to be read at once; then does something."""

    def __init__(self, then=lambda: None) -> None:
        self.notices: list[str] = []
        self.then = then

    def notice(self, text: str) -> None:
        self.notices.append(text)
        self.then()


def short_and_long(gate: threading.Event, **options):
    script = (lambda trial: 1.0, lambda trial: float(gate.wait(300)))
    return study(strategy=Failing(), driver=Scripted(script), budget=Budget(trials=2), **options)


def test_an_error_of_the_strategy_is_said_at_once_and_what_runs_is_recorded(tmp_path: Path) -> None:
    gate = threading.Event()
    noticing = Noticing(then=gate.set)  # the long one ends only after the notice
    with ThreadPoolExecutor(2) as pool, pytest.raises(MatloopError, match="ZeroDivisionError: in the model"):
        run(tmp_path, lambda: short_and_long(gate), executor=pool, slots=2, observer=noticing)
    assert len(noticing.notices) == 1
    assert "failed in `tell`: ZeroDivisionError: in the model" in noticing.notices[0]
    assert "1 evaluation runs and is waited for; Ctrl-C or SIGTERM ends it" in noticing.notices[0]
    assert [t.state for t in read(tmp_path / "ledger.db").trials] == ["answered"] * 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("repeatable", [True, False])
def test_one_signal_ends_what_runs_after_an_error(tmp_path: Path, number: int, repeatable: bool) -> None:
    """The wait was deaf: it went on for as long as the evaluation took."""
    began = tmp_path / "log"

    def wait_for_the_child() -> None:
        deadline = time.monotonic() + 120
        while began.read_text().count("\n") < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    noticing = Noticing(then=wait_for_the_child)
    driver = Sleeping(log=began, repeatable=repeatable)
    made = lambda: study(strategy=Failing(), driver=driver, budget=Budget(trials=2))  # noqa: E731
    with pytest.raises(MatloopError, match="ZeroDivisionError"), Local(slots=2) as executor:
        run(tmp_path, made, executor=executor, observer=noticing)
    history = read(tmp_path / "ledger.db")
    states = sorted(t.state for t in history.trials)
    assert states == (["answered", "running"] if repeatable else ["answered", "failed"])
    assert history.sessions[-1].ended == "stopped by MatloopError" and not history.lost


class Sleeping(Bowl):
    """The second one takes ten minutes."""

    def __call__(self, trial: Trial):
        measured = super().__call__(trial)
        time.sleep(600 if trial.number else 0)
        return measured


def test_what_was_proposed_and_not_submitted_had_not_begun(tmp_path: Path) -> None:
    class Full(Serial):
        slots = 3

        def submit(self, fn, /, *args, **kwargs):
            if fn.trial.id == 1:
                raise MatloopError("no worker is left")
            return super().submit(fn, *args, **kwargs)

    made = lambda: study(driver=Bowl(repeatable=False))  # noqa: E731
    with pytest.raises(MatloopError, match="no worker is left"):
        run(tmp_path, made, executor=Full())
    history = read(tmp_path / "ledger.db")
    assert [t.state for t in history.trials] == ["answered", "running", "running"]
    assert run(tmp_path, made, executor=Serial()) == "finished"
    assert {t.state for t in read(tmp_path / "ledger.db").trials} == {"answered"}


def test_the_first_signal_says_what_is_waited_for(tmp_path: Path) -> None:
    gate = threading.Event()
    noticing = Noticing(then=gate.set)

    def stop(trial: Trial) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        return float(gate.wait(300))

    made = lambda: study(driver=Scripted((stop,)), budget=Budget(trials=5))  # noqa: E731
    with ThreadPoolExecutor(1) as pool:
        assert run(tmp_path, made, executor=pool, slots=1, observer=noticing) == "interrupted"
    assert noticing.notices == ["stopping: 1 evaluation runs and is waited for; Ctrl-C or SIGTERM ends it"]


@pytest.mark.parametrize("method", ["study_started", "proposed", "finished", "running", "study_ended"])
def test_a_display_that_fails_costs_nothing_but_itself(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object) -> None:
        raise BrokenPipeError("nobody reads")

    broken = Silent()
    monkeypatch.setattr(broken, method, fail)
    assert run(tmp_path, study, executor=Serial(), observer=broken) == "finished"
    assert capsys.readouterr().err.count("the display of progress failed, the run goes on: BrokenPipeError") == 1
    assert len(read(tmp_path / "ledger.db").finished) == 10


def test_notices_get_through_where_the_display_does_not() -> None:
    class Broken(Silent):
        def running(self, busy: int, slots: int) -> None:
            raise ValueError("no terminal")

    said: list[str] = []
    guarded = Guarded(Broken(), said.append)
    for _ in range(3):
        guarded.running(1, 1)
    guarded.notice("the disk is full")
    assert said == ["the display of progress failed, the run goes on: ValueError: no terminal", "the disk is full"]


HELD = """
import sys, time
from pathlib import Path
from matloop.hpc.serial import Serial
from matloop.orchestrator.loop.study import Silent
from matloop.orchestrator.trial import Trial
from tests.orchestrator.harness import run
from tests.orchestrator.toys import Descent, Scripted, study

def held(seconds=600.0):
    print("held", flush=True)
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        try:
            time.sleep(0.05)
        except BaseException:  # as some libraries do
            pass

class Watching(Silent):
    def proposed(self, trial):
        if "observer" in sys.argv:
            held()

class Asked(Descent):
    def ask(self, n, pending, rng):
        if "ask" in sys.argv:
            held()
        return super().ask(n, pending, rng)

driver = Scripted((lambda trial: held() if "driver" in sys.argv else 1.0,))
print(run(Path(sys.argv[1]), lambda: study(strategy=Asked(), driver=driver), executor=Serial(), observer=Watching()))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("place", ["driver", "ask", "observer"])
def test_a_second_signal_ends_the_process_whatever_holds_it(tmp_path: Path, place: str, number: int) -> None:
    """Where the exception is swallowed, or none may strike; a third one hurries."""
    command = [sys.executable, "-c", HELD, str(tmp_path), place]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    began = time.monotonic()
    for _ in range(3):
        process.send_signal(number)
        time.sleep(0.3)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "ended at once" in complaint
    assert time.monotonic() - began < 60
    assert [t.state for t in read(tmp_path / "ledger.db").trials] == ([] if place == "ask" else ["running"])


GRACE = """
import signal, time
from matloop.orchestrator.loop import watchdog
from matloop.orchestrator.loop.stop import Stop

watchdog.LAST_S = 1.0
stop = Stop()
with stop.taking_signals():
    print("held", flush=True)
    while stop.count < 2:
        time.sleep(0.05)
    stop.grace_s = 600.0
    print("grace", flush=True)
    while True:
        time.sleep(0.05)
"""


def test_what_has_a_grace_period_is_given_it_until_a_third_signal() -> None:
    process = subprocess.Popen([sys.executable, "-c", GRACE], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert process.stdout.readline() == "grace\n"
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(4.0)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
