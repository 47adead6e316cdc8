"""The writer's lock, held by real processes that end in every way."""

from __future__ import annotations

import errno
import gc
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from matloop.orchestrator.errors import LedgerLocked, LedgerUnwritable
from matloop.orchestrator.ledger import lock
from matloop.orchestrator.ledger.lock import Holder, WriterLock, holder_path, lock_path, read_holder

HOLD = """
import sys, time
from pathlib import Path
from matloop.orchestrator.ledger.lock import WriterLock
held = WriterLock(Path(sys.argv[1]), wait_s=60)
print("held", flush=True)
sys.stdin.read()
{end}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def holding(path: Path, end: str = "held.release()") -> subprocess.Popen[str]:
    """Another process that has the lock until its input ends or it is killed."""
    command = [sys.executable, "-c", HOLD.format(end=end), str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=60)
    return process.returncode


def test_a_second_process_is_refused_and_told_who_it_is(path: Path) -> None:
    other = holding(path)
    with pytest.raises(LedgerLocked, match=f"process {other.pid} on {socket.gethostname()} since 20.*stop it, or use"):
        WriterLock(path)
    assert read_holder(path) is not None and not read_holder(path).gone
    assert end(other) == 0
    assert read_holder(path) is None
    WriterLock(path).release()


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_the_lock_ends_with_a_process_that_is_killed(path: Path, how: str) -> None:
    other = holding(path)
    getattr(other, how)()
    end(other)
    assert read_holder(path) == (socket.gethostname(), other.pid, pytest.approx(time.time(), abs=300))
    assert read_holder(path).gone
    with WriterLock(path):
        assert read_holder(path).pid == os.getpid()


@pytest.mark.parametrize("last", ["pass", "import os; os._exit(3)", "del held; sys.exit(3)", "raise RuntimeError"])
def test_the_lock_ends_with_a_process_that_does_not_release_it(path: Path, last: str) -> None:
    end(holding(path, last))
    WriterLock(path).release()


def test_a_holder_is_waited_for(path: Path) -> None:
    other = holding(path, "time.sleep(0.5); held.release()")
    assert other.stdin is not None
    other.stdin.close()
    began = time.monotonic()
    with WriterLock(path, wait_s=60):
        assert read_holder(path).pid == os.getpid()
    assert time.monotonic() - began < 60
    other.stdin = None
    end(other)


def test_waiting_has_a_limit(path: Path) -> None:
    with WriterLock(path):
        began = time.monotonic()
        with pytest.raises(LedgerLocked):
            WriterLock(path, wait_s=0.4)
        assert time.monotonic() - began >= 0.4


def test_one_process_may_not_hold_it_twice(path: Path) -> None:
    first = WriterLock(path)
    with pytest.raises(LedgerLocked, match=f"process {os.getpid()} "):
        WriterLock(path)
    first.release()
    first.release()
    with WriterLock(path):
        first.release()  # the first one's end is not the second one's
        with pytest.raises(LedgerLocked):
            WriterLock(path)


def test_a_lock_that_is_dropped_is_let_go(path: Path) -> None:
    dropped = WriterLock(path)
    dropped.itself = dropped  # type: ignore[attr-defined]
    del dropped
    gc.collect()
    WriterLock(path).release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_copy_of_the_holder_lets_nothing_go_and_holds_nothing(path: Path) -> None:
    code = f"""
import os, subprocess, sys, time
from pathlib import Path
from matloop.orchestrator.errors import LedgerLocked
from matloop.orchestrator.ledger.lock import WriterLock, read_holder
path = Path({str(path)!r})
held = WriterLock(path)
if (copy := os.fork()) == 0:
    held.release()
    os._exit(0)
os.waitpid(copy, 0)
assert read_holder(path).pid == os.getpid()
try:
    WriterLock(path)
except LedgerLocked:
    print("still held")
if (copy := os.fork()) == 0:
    time.sleep(60)
    os._exit(0)
held.release()
WriterLock(path).release()
print("free")
os.kill(copy, 9)
os.waitpid(copy, 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "still held\nfree\n"


def test_many_processes_take_turns_and_none_meets_another(path: Path, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from matloop.orchestrator.ledger.lock import WriterLock
count = Path(sys.argv[2])
for _ in range(30):
    with WriterLock(Path(sys.argv[1]), wait_s=240):
        count.write_text(str(int(count.read_text()) + 1))
"""
    count = tmp_path / "count"
    count.write_text("0")
    command = [sys.executable, "-c", code, str(path), str(count)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(280) for process in processes] == [0, 0, 0]
    assert count.read_text() == "90"


def test_another_machines_holder_is_believed(path: Path) -> None:
    assert not Holder("elsewhere", 1, 0.0).gone
    began_after = Holder(socket.gethostname(), os.getpid(), 1.0)
    assert began_after.gone  # this process has that number now
    assert not began_after._replace(since=time.time()).gone


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"', '{"pid": 1}', '{"host": "h", "pid": "x", "since": 1}'])
def test_a_name_that_cannot_be_read_is_nobodys(path: Path, content: str) -> None:
    holder_path(path).write_text(content)
    assert read_holder(path) is None
    with WriterLock(path):
        assert json.loads(holder_path(path).read_text())["pid"] == os.getpid()
        holder_path(path).write_text(content)
        with pytest.raises(LedgerLocked, match="is being written by another process"):
            WriterLock(path)


@pytest.mark.parametrize(
    ("number", "says"),
    [(number, r"its file system has no locks .*a file system that has locks")
     for number in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)]
    + [(number, "see to the disk") for number in (errno.EIO, errno.ESTALE)],
)  # fmt: skip
def test_a_file_system_without_locks_is_named_as_the_reason(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    def refuse(descriptor: int, *, blocking: bool) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock, "lock_descriptor", refuse)
    with pytest.raises(LedgerUnwritable, match=rf"cannot lock .*ledger\.db\.lock: .*{says}"):
        WriterLock(path, wait_s=10)


def test_a_folder_that_is_not_there(path: Path) -> None:
    with pytest.raises(LedgerUnwritable, match=r"cannot write .*choose a folder that is writable"):
        WriterLock(path.parent / "absent" / "ledger.db")


def test_what_is_locked_stays_empty(path: Path) -> None:
    """Windows lets nobody else read the part of a file that is locked."""
    with WriterLock(path):
        assert lock_path(path).read_bytes() == b""
