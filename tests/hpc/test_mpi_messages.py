"""Messages of an MPI job: long ones arrive, common parts travel once, and a healthy rank never falls silent."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest

from matloop.hpc import mpi_manager, mpi_worker
from matloop.hpc.devices import Share, look
from matloop.hpc.isolate import pack
from matloop.hpc.mpi_manager import Manager
from matloop.hpc.mpi_post import Post
from matloop.hpc.mpi_wire import Kind, Message
from matloop.hpc.mpi_worker import Worker
from matloop.orchestrator.errors import MatloopError, WorkerLost
from matloop.orchestrator.ledger.ledger import read
from matloop.testing.executor import add
from tests.hpc.launchers import MPICH, OPEN_MPI, TOLERANT, Launcher, output_of
from tests.hpc.test_parcel import Blob

EVERYWHERE = pytest.mark.parametrize(
    ("launcher", "options"), [(OPEN_MPI, ()), (OPEN_MPI, TOLERANT), (MPICH, ())], ids=["openmpi", "ulfm", "mpich"]
)
PATIENCE_S = 60.0

PIECES = """\
import hashlib, json, os, sys
from matloop.hpc import mpi_wire
from matloop.hpc.mpi import Mpi
from tests.hpc.test_mpi_messages import double, doubled

mpi_wire.PIECE, mpi_wire.APART = 1000, 100
with Mpi() as executor:
    if executor is not None:
        sizes = [0, 1, 99, 100, 999, 1000, 1001, 2000, 123_456]
        contents = [os.urandom(size) for size in sizes]
        answers = [future.result() for future in [executor.submit(double, content) for content in contents]]
        plain = [future.result() for future in [executor.submit(doubled, list(content)) for content in contents]]
        print("BYTES", [a == 2 * c for a, c in zip(answers, contents)])
        print("LISTS", [a == 2 * list(c) for a, c in zip(plain, contents)])
"""


def double(content: bytes) -> bytes:
    return content + content


def doubled(numbers: list[int]) -> list[int]:
    return numbers + numbers


@pytest.mark.mpi
@EVERYWHERE
def test_long_messages_travel_in_pieces(launcher: Launcher, options: tuple[str, ...]) -> None:
    code, out = output_of(launcher(3, "-c", PIECES, options=options))
    assert code == 0 and all(f"{kind} {[True] * 9}" in out for kind in ("BYTES", "LISTS")), out


HUGE = """\
from matloop.hpc.mpi import Mpi
with Mpi() as executor:
    if executor is not None:
        print("LENGTH", len(executor.submit(bytes, 2**31 + 10**8).result()), flush=True)
        print("NEXT", executor.submit(abs, -1).result(), flush=True)
"""


@pytest.mark.slow
@pytest.mark.mpi
@EVERYWHERE
def test_an_answer_may_be_longer_than_mpi_can_count(launcher: Launcher, options: tuple[str, ...]) -> None:
    """2.1 GiB; takes 9 GiB of memory."""
    code, out = output_of(launcher(2, "-c", HUGE, options=options))
    assert code == 0 and f"LENGTH {2**31 + 10**8}\nNEXT 1\n" in out, out


COUNTING = """\
import json, sys
from pathlib import Path
from matloop.hpc import mpi_wire
from matloop.hpc.mpi import Mpi
from matloop.orchestrator.errors import WorkerCrashed
from tests.hpc.test_parcel import conditions, evaluation

sent, post = 0, mpi_wire.Wire._post

def counting(wire, to, kind, data):
    global sent
    sent += len(data)
    post(wire, to, kind, data)

mpi_wire.Wire._post = counting
with Mpi() as executor:
    if executor is not None:
        one, other = (conditions(first, Path(sys.argv[1])) for first in (1, 2))
        many, deadly = range(1, 21), [-1.0, -2.0, 1.0, 2.0, 3.0, 4.0]
        for shared, xs in ((one, many), (one, deadly), (other, many), (one, [1.0])):
            futures = [executor.submit(evaluation(shared, x)) for x in xs]
            errors = [future.exception() for future in futures]
            found = [f.result().values["y"] if e is None else type(e).__name__ for f, e in zip(futures, errors)]
            print("GOT", json.dumps(found))
        print("SENT", sent, flush=True)
"""


@pytest.mark.mpi
@EVERYWHERE
def test_the_driver_travels_once_to_each_worker(tmp_path: Path, launcher: Launcher, options: tuple[str, ...]) -> None:
    """Two studies in turn, the first once more, and children that die in between: to the manager that is nothing."""
    code, out = output_of(launcher(3, "-c", COUNTING, tmp_path, options=options))
    got = [json.loads(line[4:]) for line in out.splitlines() if line.startswith("GOT ")]
    mib = 2.0**21
    assert code == 0, out
    assert got == [[mib + 1] * 20, ["WorkerCrashed"] * 2 + [mib + 1] * 4, [mib + 2] * 20, [mib + 1]]
    (sent,) = (int(line.split()[1]) for line in out.splitlines() if line.startswith("SENT"))
    assert 2 * mib < sent < 4.1 * mib  # two drivers, two workers


CAMPAIGN = """\
name: slow
executor: {kind: mpi, lease_s: 2}
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: 0.0, high: 1.0}}}
    driver: {kind: "slow:Slow"}
    strategy: random
    objectives: {y: minimise}
    budget: {trials: 4}
"""
SLOW = """\
import os

class Slow:
    repeatable, objectives = True, ()
    def __init__(self):
        self.ballast = os.urandom(2**21)
    def __call__(self, trial):
        return {"y": trial.point["x"]}
"""
SITE = """\
import os, time
if os.environ.get("MATLOOP_WORKER"):
    time.sleep(6)
"""
RUN = """\
import os, sys, time
from matloop.hpc import isolate
start, delay_s = isolate.start, float(sys.argv[2])
os.environ["PYTHONPATH"] = f"{sys.argv[1]}:{os.environ.get('PYTHONPATH', '')}"  # of the children

def slowly(*arguments):
    time.sleep(delay_s)
    return start(*arguments)

isolate.start = slowly
sys.argv[1:] = ["run", sys.argv[1] + "/campaign.yaml"]
from matloop.orchestrator.cli.main import main
main()
"""


@pytest.mark.mpi
@EVERYWHERE
@pytest.mark.parametrize("start_s", [0.0, 5.0], ids=["imports", "starts"])
def test_a_slow_start_costs_no_rank_its_lease(
    tmp_path: Path, launcher: Launcher, options: tuple[str, ...], start_s: float
) -> None:
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN)
    (tmp_path / "slow.py").write_text(SLOW)
    if not start_s:
        (tmp_path / "sitecustomize.py").write_text(SITE)
    code, out = output_of(launcher(3, "-c", RUN, tmp_path, str(start_s), options=options))
    history = read(tmp_path / "runs/slow/ledger.db")
    assert code == 0, out
    assert not history.lost and [(t.state, t.attempt) for t in history.trials] == [("answered", 1)] * 4, out


class Line:
    """A wire without MPI: what was sent, and what is to be received."""

    def __init__(self, rank: int = 1, size: int = 2) -> None:
        self.rank, self.size, self.tolerant = rank, size, False
        self.sent: list[tuple[int, int, Any]] = []
        self.coming: deque[Message] = deque()
        self.aborted = threading.Event()

    def send(self, to: int, kind: int, content: Any = None) -> None:
        self.sent.append((to, kind, pickle.loads(pickle.dumps(content, pickle.HIGHEST_PROTOCOL))))

    def receive(self) -> list[Message]:
        return [self.coming.popleft() for _ in range(len(self.coming))]

    def failed(self) -> list[int]:
        return []

    def flush(self, within_s: float) -> None:
        pass

    def abort(self) -> None:
        self.aborted.set()

    def of(self, kind: Kind) -> list[Any]:
        return [content for _, found, content in list(self.sent) if found == kind]


class Slot:
    """A child whose calls last for as long as they are held."""

    def __init__(self, held: threading.Event) -> None:
        self._held = held

    def run(self, parcel: Any, **limits: Any) -> bytes:
        assert self._held.wait(PATIENCE_S)
        return pickle.dumps((True, 7))

    def close(self) -> None:
        pass


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def at_work() -> Iterator[tuple[Line, threading.Event]]:
    """The wire of a worker that is in a call, which ends once the event is set; it does not come round meanwhile."""
    line, held = Line(), threading.Event()
    worker = Worker(line, lambda cancelled: Slot(held), 0.05)  # type: ignore[arg-type]
    thread = threading.Thread(target=worker.serve)
    thread.start()
    line.coming.append(Message(0, Kind.RUN, (5, None, None, *pack(add, 1))))
    yield line, held
    held.set()
    line.coming.append(Message(0, Kind.END, True))
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    beats = len(line.of(Kind.BEAT))
    time.sleep(0.1)
    assert len(line.of(Kind.BEAT)) == beats, "it uses MPI after its end"


def test_a_rank_shows_signs_of_life_whatever_it_is_at(at_work: tuple[Line, threading.Event]) -> None:
    line, held = at_work
    until(lambda: len(line.of(Kind.BEAT)) >= 20)
    held.set()
    until(lambda: line.of(Kind.ANSWER))
    assert [(task, pickle.loads(answer)) for task, answer in line.of(Kind.ANSWER)] == [(5, (True, 7))]


def test_a_rank_that_is_stuck_falls_silent(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(mpi_worker, "STUCK_S", 0.2)
    line, _ = request.getfixturevalue("at_work")
    until(lambda: line.of(Kind.BEAT))
    heard = -1
    while heard < (heard := len(line.of(Kind.BEAT))):
        time.sleep(0.5)


@pytest.fixture
def manager() -> Iterator[tuple[Manager, Line]]:
    """With one worker, which is the test's to play."""
    line = Line(rank=0)
    posts = [Post(rank, "here", 0, 0, 0.0, look()) for rank in range(2)]
    found = Manager(line, posts, [Share()] * 2, 1000.0)  # type: ignore[arg-type]
    yield found, line
    if found.broken is None:
        line.coming.append(Message(1, Kind.BYE, None))
        found.stop()


def test_a_worker_that_was_given_up_gets_the_driver_again(manager: tuple[Manager, Line]) -> None:
    boss, line = manager
    heavy = pack(add, Blob(bytes(10_000)))

    def given(task: int, future: Future[Any]) -> bytes:
        """Have a task answered; returns the common part that it was sent with."""
        until(lambda: len(line.of(Kind.RUN)) == task + 1)
        number, _, _, _, key, common = line.of(Kind.RUN)[task]
        assert key == heavy.key
        line.coming.append(Message(1, Kind.ANSWER, (number, pickle.dumps((True, task)))))
        assert future.result(PATIENCE_S) == task
        return common

    assert [given(task, boss.submit(heavy, None, None)) for task in range(3)] == [heavy.common, b"", b""]

    def fall_silent() -> None:
        boss._given_up[1] = False
        boss._lose(1, "silent")

    boss._inbox.append(fall_silent)
    until(lambda: boss.workers == 0)
    with pytest.raises(WorkerLost):
        boss.submit(heavy, None, None)
    line.coming.append(Message(1, Kind.BEAT, None))
    until(lambda: line.of(Kind.CALL_OFF))
    line.coming.append(Message(1, Kind.READY, None))
    until(lambda: boss.workers == 1)
    assert [given(task, boss.submit(heavy, None, None)) for task in (3, 4)] == [heavy.common, b""]


def test_what_is_too_large_to_be_sent_is_refused(
    manager: tuple[Manager, Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mpi_manager, "LARGEST", 2**20)
    boss, line = manager
    with pytest.raises(MatloopError, match=r"at most 0\.000976562 GiB, got 0\.00 GiB of driver and trial.*from a file"):
        boss.submit(pack(add, Blob(bytes(2**20))), None, None)
    assert not line.sent
    boss.submit(pack(add, Blob(bytes(2**20 - 1000))), None, None)
    until(lambda: line.of(Kind.RUN))


def test_when_its_thread_dies_the_manager_cancels_all_and_takes_nothing_more(
    manager: tuple[Manager, Line], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mpi_manager, "GRACE_S", 0.0)
    boss, line = manager
    before = [boss.submit(pack(add, i), None, None) for i in range(5)]
    until(lambda: len(line.of(Kind.RUN)) == 1)

    def injected() -> None:
        raise ArithmeticError("injected")

    boss._inbox.append(injected)
    until(lambda: boss.broken)
    after = boss.submit(pack(add, 1), None, None)
    for future in (*before, after):
        with pytest.raises(CancelledError):
            future.result(PATIENCE_S)
    assert [future.cancelled() for future in (*before, after)] == [False] + [True] * 5  # the first may have begun
    for use in (lambda: boss.workers, boss.stop):
        with pytest.raises(MatloopError, match="everything recorded is safe, start the job again"):
            use()
    assert line.aborted.wait(PATIENCE_S)
    assert "in injected" in capfd.readouterr().err


def test_an_answer_that_has_come_outlives_the_death_of_the_thread(
    manager: tuple[Manager, Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mpi_manager, "GRACE_S", 0.0)
    boss, line = manager
    future = boss.submit(pack(add, 1), None, None)
    until(lambda: line.of(Kind.RUN))
    (number, *_) = line.of(Kind.RUN)[0]
    hear = boss._hear

    def injected(message: Message) -> None:
        if message.kind == Kind.BEAT:
            boss._unheard.append(Message(1, Kind.ANSWER, (number, pickle.dumps((True, 1)))))
            raise ArithmeticError("injected")
        hear(message)

    monkeypatch.setattr(boss, "_hear", injected)
    line.coming.append(Message(1, Kind.BEAT, None))
    assert future.result(PATIENCE_S) == 1 and line.aborted.wait(PATIENCE_S)
