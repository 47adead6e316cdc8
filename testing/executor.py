"""What every executor must do: subclass with an `executor` fixture; `IsolatingContract` for those with child processes.

Everything submitted is a top-level function or a frozen record, because children import it from here.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from matloop.orchestrator.errors import MemoryExceeded, WorkerCrashed
from matloop.orchestrator.job import ANNOUNCEMENTS
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation, Limits
from matloop.orchestrator.processes import POSIX
from matloop.orchestrator.trial import Objective, Trial

PATIENCE_S = 60.0


def add(a: int, b: int = 0) -> int:
    return a + b


def fail(text: str) -> None:
    raise KeyError(text)


def leave_a_trace(file: Path) -> None:
    file.touch()
    time.sleep(PATIENCE_S)


def nap(seconds: float) -> tuple[float, float]:
    began = time.time()
    time.sleep(seconds)
    return began, time.time()


class UnpicklableError(Exception):
    """Cannot be rebuilt from its args."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


def fail_unpicklably() -> None:
    raise UnpicklableError(1, 2)


def give_unpicklable() -> Any:
    return lambda: None


def segfault() -> None:
    ctypes.string_at(0)


def die_of(number: int) -> None:
    os.kill(os.getpid(), number)


def interrupt_self() -> str:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    return "still here"


def warn_self() -> str:
    for number in ANNOUNCEMENTS:
        os.kill(os.getpid(), number)
    time.sleep(0.05)
    return "still here"


def warn_program() -> str:
    command = ["sh", "-c", "kill -USR1 $$; kill -USR2 $$; printf 'still here'"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def hold_the_lock() -> None:
    """Backtrack for centuries in C, without ever giving up the interpreter's lock."""
    re.match(r"(a+)+$", "a" * 60 + "b")


def swell(gib: float) -> int:
    ballast = bytearray(int(gib * 2**30))
    ballast[::4096] = b"x" * len(ballast[::4096])
    time.sleep(PATIENCE_S)
    return len(ballast)


@dataclass(frozen=True)
class Limited:
    """A call with limits of its own, as `Evaluation` has."""

    call: Callable[..., Any]
    argument: Any
    limits: Limits

    def __call__(self) -> Any:
        return self.call(self.argument)


@dataclass(frozen=True)
class Square:
    """A driver."""

    repeatable: bool = True
    objectives: tuple[Objective, ...] = (Objective("y"),)

    def __call__(self, trial: Trial) -> dict[str, float]:
        return {"y": (1 / trial.point["x"]) ** -2}


def evaluation(x: float, folder: Path) -> Evaluation:
    trial = Trial(id=0, study="s", number=0, point={"x": x}, seed=0)
    return Evaluation(Conditions(driver=Square(), objectives=Square().objectives, artifacts=folder), trial)


class ExecutorContract:
    """Holds for any executor."""

    def test_returns_results(self, executor: Executor) -> None:
        assert executor.submit(add, 1, b=2).result(PATIENCE_S) == 3

    def test_exceptions_arrive(self, executor: Executor) -> None:
        future = executor.submit(fail, "the reason")
        with pytest.raises(KeyError, match="the reason"):
            future.result(PATIENCE_S)
        assert executor.submit(add, 1).result(PATIENCE_S) == 1

    def test_sys_exit_is_a_crash_of_the_trial(self, executor: Executor) -> None:
        with pytest.raises(WorkerCrashed, match=r"sys\.exit\(3\)"):
            executor.submit(sys.exit, 3).result(PATIENCE_S)
        assert executor.submit(add, 1).result(PATIENCE_S) == 1

    def test_many_submissions(self, executor: Executor) -> None:
        futures = {executor.submit(add, i, 100): i for i in range(200)}
        assert {futures[f]: f.result() for f in as_completed(futures, PATIENCE_S)} == {i: i + 100 for i in range(200)}

    def test_uses_its_slots_and_no_more(self, executor: Any) -> None:
        assert executor.slots >= 1
        for future in [executor.submit(nap, 0.2) for _ in range(executor.slots)]:
            future.result(PATIENCE_S)  # children are up
        spans = [f.result(PATIENCE_S) for f in [executor.submit(nap, 0.3) for _ in range(2 * executor.slots + 1)]]
        at_once = [sum(began <= moment < ended for began, ended in spans) for moment, _ in spans]
        assert max(at_once) == executor.slots

    def test_evaluations_go_through(self, executor: Executor, tmp_path: Path) -> None:
        good, bad = (executor.submit(evaluation(x, tmp_path)).result(PATIENCE_S) for x in (3.0, 0.0))
        assert good.values is not None and good.values["y"] == pytest.approx(9.0) and good.failure is None
        assert bad.values is None and bad.failure is not None and bad.failure.cause == "exception"
        assert "ZeroDivisionError" in bad.failure.message and "in __call__" in bad.failure.traceback

    def test_shutdown_is_idempotent_and_final(self, executor: Executor) -> None:
        future = executor.submit(add, 2)
        executor.shutdown(wait=True)
        executor.shutdown(wait=True)
        assert future.result(0) == 2
        with pytest.raises(RuntimeError, match="shutdown"):
            executor.submit(add, 1)


class IsolatingContract(ExecutorContract):
    """Holds for executors that evaluate in child processes."""

    @pytest.mark.parametrize(
        ("deadly", "said"),
        [
            ((segfault,), "SIGSEGV" if POSIX else "exit code 0xc0000005"),
            ((os._exit, 3), "exit code 3"),
            ((os._exit, 0), "exit code 0"),
            *([((die_of, signal.SIGKILL), "SIGKILL"), ((die_of, signal.SIGTERM), "SIGTERM")] if POSIX else []),
        ],
    )
    def test_a_death_costs_one_trial(self, executor: Any, deadly: tuple[Any, ...], said: str) -> None:
        neighbours = [executor.submit(nap, 0.4) for _ in range(executor.slots - 1)]
        with pytest.raises(WorkerCrashed, match=said):
            executor.submit(*deadly).result(PATIENCE_S)
        assert executor.submit(add, 1).result(PATIENCE_S) == 1
        assert all(neighbour.result(PATIENCE_S) for neighbour in neighbours)

    def test_a_segfault_says_where(self, executor: Executor) -> None:
        error = executor.submit(segfault).exception(PATIENCE_S)
        assert "in segfault" in "".join(getattr(error, "__notes__", []))

    def test_an_exception_brings_its_traceback(self, executor: Executor) -> None:
        error = executor.submit(fail, "x").exception(PATIENCE_S)
        assert "in fail" in "".join(getattr(error, "__notes__", []))

    def test_time_limit(self, executor: Executor) -> None:
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"time limit of 0\.4 s"):
            executor.submit(Limited(time.sleep, PATIENCE_S, Limits(timeout_s=0.4))).result(PATIENCE_S)
        assert time.monotonic() - began < PATIENCE_S / 4
        assert executor.submit(add, 1).result(PATIENCE_S) == 1

    def test_time_limit_while_c_code_holds_the_lock(self, executor: Executor) -> None:
        with pytest.raises(TimeoutError):
            executor.submit(Limited(_ignore_argument, hold_the_lock, Limits(timeout_s=0.4))).result(PATIENCE_S)
        assert executor.submit(add, 1).result(PATIENCE_S) == 1

    def test_memory_limit(self, executor: Executor) -> None:
        with pytest.raises(MemoryExceeded, match=r"its limit is 0\.25 GiB"):
            executor.submit(Limited(swell, 0.4, Limits(memory_gb=0.25))).result(PATIENCE_S)
        assert executor.submit(Limited(add, 1, Limits(memory_gb=0.25))).result(PATIENCE_S) == 1

    def test_what_cannot_be_pickled_is_an_error_of_the_trial(self, executor: Executor) -> None:
        assert executor.submit(lambda: None).exception(PATIENCE_S) is not None
        assert "give_unpicklable" in str(executor.submit(give_unpicklable).exception(PATIENCE_S))
        error = executor.submit(fail_unpicklably).exception(PATIENCE_S)
        assert isinstance(error, RuntimeError) and "UnpicklableError: 1 and 2" in str(error)
        assert executor.submit(add, 1).result(PATIENCE_S) == 1

    def test_children_ignore_sigint(self, executor: Executor) -> None:
        assert executor.submit(interrupt_self).result(PATIENCE_S) == "still here"

    @pytest.mark.skipif(not ANNOUNCEMENTS, reason="schedulers have no signals here")
    def test_children_and_their_programs_outlive_a_schedulers_warning(self, executor: Executor) -> None:
        for call in (warn_self, warn_program):
            assert executor.submit(call).result(PATIENCE_S) == "still here"

    def test_children_know_their_threads_and_no_launcher(self, executor: Executor) -> None:
        environment = executor.submit(_environment).result(PATIENCE_S)
        assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"
        assert "OMPI_COMM_WORLD_RANK" not in environment

    def test_cancelling_shutdown_ends_what_runs(self, executor: Any) -> None:
        running = [executor.submit(nap, PATIENCE_S) for _ in range(executor.slots)]
        waiting = executor.submit(nap, PATIENCE_S)
        time.sleep(0.5)
        began = time.monotonic()
        executor.shutdown(wait=False, cancel_futures=True)
        executor.shutdown(wait=True)
        assert time.monotonic() - began < PATIENCE_S / 4
        assert waiting.cancelled()
        for future in running:
            with pytest.raises(CancelledError):
                future.result(0)

    def test_of_what_is_ended_only_that_is_cancelled_which_never_began(self, executor: Any, tmp_path: Path) -> None:
        files = [tmp_path / str(number) for number in range(3 * executor.slots)]
        futures = [executor.submit(leave_a_trace, file) for file in files]
        deadline = time.monotonic() + PATIENCE_S
        while sum(file.exists() for file in files) < executor.slots and time.monotonic() < deadline:
            time.sleep(0.02)
        executor.shutdown(wait=False, cancel_futures=True)
        executor.shutdown(wait=True)
        began = {file.exists() for file, future in zip(files, futures, strict=True) if future.cancelled()}
        assert began == {False}
        assert sum(not future.cancelled() for future in futures) >= executor.slots


def _ignore_argument(call: Callable[[], Any]) -> Any:
    return call()


def _environment() -> dict[str, str]:
    return dict(os.environ)
