"""A call that is to end is asked to, has time to save what it has, and is killed only then."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from matloop.hpc.channel import SocketChannel
from matloop.hpc.isolate import Child, pack, unpack
from matloop.hpc.local import Local
from matloop.orchestrator.errors import MemoryExceeded, WorkerCrashed
from matloop.orchestrator.interruption import Interrupted
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation, Limits
from matloop.orchestrator.trial import Objective, Trial
from matloop.testing.executor import PATIENCE_S, hold_the_lock

Y = (Objective("y"),)
UNLIMITED = Limits()


@dataclass(frozen=True)
class Asked:
    """A call that can be ended, with the grace period and limits of an evaluation."""

    call: Callable[[Path], Any]
    folder: Path
    grace_s: float = PATIENCE_S
    repeatable: bool = True
    limits: Limits = UNLIMITED

    def __call__(self) -> Any:
        return self.call(self.folder)


def begun(folder: Path) -> None:
    (folder / "begun").touch()


def lets_it_pass(folder: Path) -> None:
    try:
        begun(folder)
        time.sleep(2 * PATIENCE_S)
    finally:
        (folder / "saved").touch()


def returns_nevertheless(folder: Path) -> str:
    try:
        begun(folder)
        time.sleep(2 * PATIENCE_S)
    except Interrupted:
        return "what it had"
    return "all"


def has_a_handler(folder: Path) -> str:
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    begun(folder)
    while not told:
        time.sleep(0.01)
    return "what it had"


def fails_because_of_it(folder: Path) -> None:
    try:
        begun(folder)
        time.sleep(2 * PATIENCE_S)
    except Interrupted:
        raise RuntimeError("preempted") from None


def goes_on(folder: Path) -> None:
    while True:
        try:
            begun(folder)
            time.sleep(PATIENCE_S)
        except Interrupted:
            (folder / "asked").touch()


def is_deaf(folder: Path) -> None:
    begun(folder)
    hold_the_lock()


def eventually(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def withdrawn(executor: Local, call: Asked) -> Future[Any]:
    future = executor.submit(call)
    assert eventually((call.folder / "begun").exists)
    executor.shutdown(wait=True, cancel_futures=True)
    return future


def test_a_withdrawn_call_can_save_what_it_has(tmp_path: Path) -> None:
    future = withdrawn(Local(slots=1), Asked(lets_it_pass, tmp_path))
    with pytest.raises(CancelledError):
        future.result(0)
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize("call", [returns_nevertheless, has_a_handler])
def test_what_it_returns_then_counts(tmp_path: Path, call: Callable[[Path], Any]) -> None:
    assert withdrawn(Local(slots=1), Asked(call, tmp_path)).result(0) == "what it had"


def test_an_error_then_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(CancelledError):
        withdrawn(Local(slots=1), Asked(fails_because_of_it, tmp_path)).result(0)


@pytest.mark.parametrize("call", [goes_on, is_deaf])
def test_who_goes_on_is_killed_after_the_grace_period(tmp_path: Path, call: Callable[[Path], Any]) -> None:
    began = time.monotonic()
    with pytest.raises(CancelledError):
        withdrawn(Local(slots=1), Asked(call, tmp_path, grace_s=0.5)).result(0)
    assert time.monotonic() - began < PATIENCE_S / 2
    assert (tmp_path / "asked").exists() == (call is goes_on)


def test_the_executor_s_patience_bounds_every_grace_period(tmp_path: Path) -> None:
    began, executor = time.monotonic(), Local(slots=1)
    executor.patience_s = 0.5
    with pytest.raises(CancelledError):
        withdrawn(executor, Asked(goes_on, tmp_path, grace_s=1e6)).result(0)
    assert time.monotonic() - began < PATIENCE_S / 2


def test_without_a_grace_period_it_is_killed_at_once(tmp_path: Path) -> None:
    with pytest.raises(CancelledError):
        withdrawn(Local(slots=1), Asked(lets_it_pass, tmp_path, grace_s=0.0)).result(0)
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(("call", "result"), [(lets_it_pass, None), (returns_nevertheless, "what it had")])
def test_a_time_limit_asks_too(tmp_path: Path, call: Callable[[Path], Any], result: str | None) -> None:
    with Local(slots=1) as executor:
        future = executor.submit(Asked(call, tmp_path, limits=Limits(timeout_s=0.5)))
        if result is None:
            with pytest.raises(TimeoutError, match=r"time limit of 0\.5 s"):
                future.result(PATIENCE_S)
            assert (tmp_path / "saved").exists()
        else:
            assert future.result(PATIENCE_S) == result
        assert executor.submit(os.getpid).result(PATIENCE_S)


def test_another_s_sigterm_is_no_withdrawal(tmp_path: Path) -> None:
    with Local(slots=1) as executor:
        pid = executor.submit(os.getpid).result(PATIENCE_S)
        future = executor.submit(Asked(lets_it_pass, tmp_path))
        assert eventually((tmp_path / "begun").exists)
        os.kill(pid, signal.SIGTERM)
        with pytest.raises(WorkerCrashed, match="SIGTERM"):
            future.result(PATIENCE_S)
    assert (tmp_path / "saved").exists()


def save_twice(folder: Path) -> None:
    try:
        begun(folder)
        time.sleep(2 * PATIENCE_S)
    finally:
        (folder / "saving").touch()
        assert eventually((folder / "again").exists)
        (folder / "saved").touch()


def test_saving_is_not_broken_off_by_a_second_signal(tmp_path: Path) -> None:
    """A scheduler sends SIGTERM to every process of a job, and so does the manager."""
    with Local(slots=1) as executor:
        pid = executor.submit(os.getpid).result(PATIENCE_S)
        future = executor.submit(Asked(save_twice, tmp_path))
        assert eventually((tmp_path / "begun").exists)
        os.kill(pid, signal.SIGTERM)
        assert eventually((tmp_path / "saving").exists)
        os.kill(pid, signal.SIGTERM)
        (tmp_path / "again").touch()
        with pytest.raises(WorkerCrashed):
            future.result(PATIENCE_S)
    assert (tmp_path / "saved").exists()


# --- a child that does not read -----------------------------------------------------------------------------------


def test_a_limit_holds_while_a_large_call_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending used to wait for a child that was busy importing, whatever the time limit and the heartbeats."""
    monkeypatch.setattr("matloop.hpc.exchange.LOADING_S", 0.5)
    asked: list[float] = []
    child = Child(cancelled=lambda: bool(asked.append(time.monotonic())))
    try:
        pid = unpack(child.run(pack(os.getpid)))
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            child.run(pack(len, b"x" * 2**23), timeout_s=0.5)
        assert len(asked) > 3 and max(b - a for a, b in pairwise(asked)) < PATIENCE_S / 10
        assert unpack(child.run(pack(len, b"x" * 2**23))) == 2**23
    finally:
        child.close()


def test_messages_in_pieces_arrive_whole() -> None:
    here, there = socket.socketpair()
    channel, other = SocketChannel(here), Connection(there.detach())
    with other:
        other.send_bytes(b"b")
        other.send_bytes(b"y" * 5000)
        assert [channel.receive(1.0), channel.receive(1.0)] == [b"b", b"y" * 5000]
        assert channel.receive(0.01) is None
        channel.send(b"z" * 10)
        assert other.recv_bytes() == b"z" * 10
        other._send(b"\xff\xff\xff\xff" + (7).to_bytes(8, "big") + b"abc")  # type: ignore[attr-defined]
        assert channel.receive(0.01) is None
        other._send(b"defg")  # type: ignore[attr-defined]
        assert channel.receive(1.0) == b"abcdefg"
        assert not channel.readable
    assert channel.readable
    with pytest.raises(EOFError):
        channel.receive(1.0)
    channel.close()


# --- nothing outlives a child -------------------------------------------------------------------------------------

linux = pytest.mark.skipif(sys.platform != "linux", reason="nobody adopts orphans here")

ORPHANS = {
    "background": "sleep 600 & echo $! > orphan",
    "session": "setsid sleep 600 & echo $! > orphan",
    "twice": "setsid sh -c 'sleep 600 & echo $! > orphan; exit 0' ; sleep 0.2",
}


def leave_behind(folder: Path, script: str, then: str) -> None:
    subprocess.run(["sh", "-c", script], cwd=folder, check=True)
    begun(folder)
    if then == "sleep":
        time.sleep(2 * PATIENCE_S)
    if then == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if then == "swell":
        ballast = bytearray(400 * 2**20)
        ballast[::4096] = b"x" * len(ballast[::4096])
        time.sleep(2 * PATIENCE_S)


def orphan(folder: Path) -> int:
    assert eventually(lambda: (folder / "begun").exists() and (folder / "orphan").read_text().strip())
    return int((folder / "orphan").read_text())


@linux
@pytest.mark.parametrize("script", ORPHANS.values(), ids=ORPHANS)
@pytest.mark.parametrize("end", ["returns", "timeout", "memory", "killed", "withdrawn", "guardian killed"])
def test_what_a_call_put_in_the_background_ends_with_it(tmp_path: Path, script: str, end: str) -> None:
    then = {"returns": "", "memory": "swell", "killed": "die"}.get(end, "sleep")
    limits = Limits(timeout_s=0.5 if end == "timeout" else None, memory_gb=0.25 if end == "memory" else None)
    with Local(slots=1) as executor:
        first = executor.submit(os.getpid).result(PATIENCE_S)
        future = executor.submit(Bounded(leave_behind, (tmp_path, script, then), limits))
        left = orphan(tmp_path)
        if end == "withdrawn":
            executor.shutdown(wait=False, cancel_futures=True)
        if end == "guardian killed":
            os.kill(psutil.Process(first).ppid(), signal.SIGKILL)
        expected = {"timeout": TimeoutError, "memory": MemoryExceeded, "killed": WorkerCrashed,
                    "withdrawn": CancelledError, "guardian killed": WorkerCrashed}.get(end)  # fmt: skip
        assert future.exception(PATIENCE_S) is None if expected is None else True
        if expected is not None:
            with pytest.raises(expected):
                future.result(PATIENCE_S)
        assert eventually(lambda: not lives(left))
        if end == "returns":
            assert executor.submit(os.getpid).result(PATIENCE_S) == first


@dataclass(frozen=True)
class Bounded:
    """A call with limits."""

    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    limits: Limits

    def __call__(self) -> Any:
        return self.call(*self.arguments)


MANAGER = """
import sys
from pathlib import Path
from matloop.hpc.local import Local
from tests.hpc.test_interruption import leave_behind
if __name__ == "__main__":
    Local(slots=1).submit(leave_behind, Path(sys.argv[1]), sys.argv[2], "sleep").result()
"""


@linux
@pytest.mark.parametrize("script", ORPHANS.values(), ids=ORPHANS)
def test_what_a_call_put_in_the_background_ends_with_a_killed_manager(tmp_path: Path, script: str) -> None:
    root = Path(__file__).parents[2]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    manager = subprocess.Popen([sys.executable, "-c", MANAGER, str(tmp_path), script], env=environ, cwd=root)
    try:
        left = orphan(tmp_path)
    finally:
        manager.kill()
        manager.wait()
    assert eventually(lambda: not lives(left))


def start_a_server() -> int:
    return subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL).pid


def test_what_the_child_itself_keeps_lives_on_until_the_child_ends() -> None:
    with Local(slots=1) as executor:
        server = executor.submit(start_a_server).result(PATIENCE_S)
        executor.submit(os.getpid).result(PATIENCE_S)
        assert lives(server)
    assert eventually(lambda: not lives(server))


# --- memory -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaky:
    """A driver that fails the second time that its process runs it, in one of several ways."""

    how: str
    folder: Path
    repeatable: bool = True
    objectives: tuple[Objective, ...] = Y

    def __call__(self, trial: Trial) -> dict[str, float]:
        with (self.folder / "calls").open("a") as file:
            file.write(f"{os.getpid()}\n")
        calls.append(1)
        if len(calls) > 1 or self.how == "point":
            fail_of_memory(self.how)
        return {"y": 1.0}


calls: list[int] = []


class OutOfMemoryError(RuntimeError):
    """As torch has it."""


def fail_of_memory(how: str) -> None:
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "limit":
        ballast = bytearray(400 * 2**20)
        ballast[::4096] = b"x" * len(ballast[::4096])
        time.sleep(2 * PATIENCE_S)
    if how == "gpu":
        raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
    if how == "wrapped":
        raise ValueError("cannot train") from MemoryError()
    raise MemoryError


def evaluation(driver: Leaky, number: int) -> Evaluation:
    limits = Limits(memory_gb=0.25) if driver.how == "limit" else Limits()
    conditions = Conditions(driver=driver, objectives=Y, artifacts=driver.folder / "run" / "artifacts", limits=limits)
    return Evaluation(conditions, Trial(id=number, study="s", number=number, point={}, seed=0))


WAYS = ["limit", "gpu", "wrapped", "here", *(["killed"] if sys.platform == "linux" else [])]


@pytest.mark.parametrize("how", WAYS)
def test_what_a_used_process_has_no_memory_for_is_tried_in_a_fresh_one(tmp_path: Path, how: str) -> None:
    driver = Leaky(how, tmp_path)
    with Local(slots=1) as executor:
        answers = [executor.submit(evaluation(driver, n)).result(PATIENCE_S) for n in range(3)]
    assert [answer.values for answer in answers] == [{"y": 1.0}] * 3
    assert ["in a fresh process" in answer.worker for answer in answers] == [False, True, True]
    made = (tmp_path / "calls").read_text().split()
    assert len(made) == 5 and len(set(made)) == 3  # the second and the third were begun twice


@pytest.mark.parametrize("how", WAYS)
def test_what_is_not_repeatable_is_not_tried_again(tmp_path: Path, how: str) -> None:
    driver = Leaky(how, tmp_path, repeatable=False)
    with Local(slots=1) as executor:
        assert executor.submit(evaluation(driver, 0)).result(PATIENCE_S).values == {"y": 1.0}
        future = executor.submit(evaluation(driver, 1))
        if how in ("limit", "killed"):
            with pytest.raises(MemoryExceeded if how == "limit" else WorkerCrashed):
                future.result(PATIENCE_S)
        else:
            assert future.result(PATIENCE_S).failure.cause == "memory"
    assert len((tmp_path / "calls").read_text().split()) == 2


def test_what_a_fresh_process_has_no_memory_for_is_the_point_s(tmp_path: Path) -> None:
    driver = Leaky("point", tmp_path)
    with Local(slots=1) as executor:
        answers = [executor.submit(evaluation(driver, n)).result(PATIENCE_S) for n in range(2)]
    assert [answer.failure.cause for answer in answers] == ["memory"] * 2
    assert len((tmp_path / "calls").read_text().split()) == 3  # the second was tried in the used one, too


def test_children_are_replaced_after_a_number_of_trials() -> None:
    with Local(slots=1, trials_per_child=2) as executor:
        pids = [executor.submit(os.getpid).result(PATIENCE_S) for _ in range(5)]
        assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
        assert eventually(lambda: not lives(pids[0]) and not lives(pids[2]))


SHARED_MIB = 200


def share(workers: int) -> int:
    """Fork workers that share a large array, as a data loader does."""
    ballast = bytearray(SHARED_MIB * 2**20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    pids = []
    for _ in range(workers):
        if (pid := os.fork()) == 0:
            time.sleep(4)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    return len(ballast)


@linux
def test_pages_that_forks_share_count_once(tmp_path: Path) -> None:
    """Summed over five processes, 200 MiB would be 1 GiB."""
    with Local(slots=1) as executor:
        found = executor.submit(Bounded(share, (4,), Limits(memory_gb=0.6))).result(PATIENCE_S)
        assert found == SHARED_MIB * 2**20
        with pytest.raises(MemoryExceeded):
            executor.submit(Bounded(share, (4,), Limits(memory_gb=0.15))).result(PATIENCE_S)
