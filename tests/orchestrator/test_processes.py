"""Families of processes, with process groups and, as on Windows, without."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pytest

from matloop.orchestrator import processes
from matloop.orchestrator.processes import apart, cause_of_death, family, kill_family, resident

NESTED = """
import subprocess, sys, time
program = [sys.executable, "-c", "import time; time.sleep(120)"]
{before}
inner = subprocess.Popen(program)
print(inner.pid, flush=True)
{after}
"""


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start(after: str, before: str = "") -> tuple[subprocess.Popen[bytes], int]:
    """A program, and the number of a program that it has started."""
    code = NESTED.format(before=before, after=after)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, **apart())
    assert process.stdout is not None
    inner = int(process.stdout.readline())
    process.stdout.close()
    return process, inner


@pytest.fixture(params=[True, False], ids=["groups", "no groups"])
def posix(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(processes, "POSIX", request.param)
    return request.param


def test_a_program_dies_with_what_it_started(posix: bool) -> None:
    process, inner = start("time.sleep(120)")
    assert [member.pid for member in family(process.pid)] == [process.pid, inner]
    assert eventually(lambda: resident(process.pid) > resident(inner) > 2**20)  # once both have started
    kill_family(process, group=True)
    assert process.wait(60) == -signal.SIGKILL
    assert eventually(lambda: not lives(inner))
    kill_family(process, group=True)  # harmless


def test_with_groups_what_was_left_behind_dies_too(posix: bool) -> None:
    process, inner = start("sys.exit(3)")
    assert process.wait(60) == 3
    kill_family(process, group=True)
    if posix:
        assert eventually(lambda: not lives(inner))
    else:
        assert lives(inner)
        psutil.Process(inner).kill()


def test_a_program_in_our_own_group_takes_nobody_along(posix: bool) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    kill_family(process, group=False)
    assert process.wait(60) == -signal.SIGKILL


def test_what_left_the_group_dies_while_its_parent_lives(posix: bool) -> None:
    process, inner = start("time.sleep(120)", before="import functools; Popen = subprocess.Popen\n"
                           "subprocess.Popen = functools.partial(Popen, start_new_session=True)")  # fmt: skip
    assert os.getpgid(inner) != os.getpgid(process.pid)
    kill_family(process, group=True)
    process.wait(60)
    assert eventually(lambda: not lives(inner))


@pytest.mark.parametrize("groups", ["", "processes.POSIX = False"])
def test_a_leader_ends_its_own_family(groups: str) -> None:
    after = f"from matloop.orchestrator import processes\n{groups}\nprocesses.kill_own_family()"
    process, inner = start(after)
    assert process.wait(60) == (1 if groups else -signal.SIGKILL)
    assert eventually(lambda: not lives(inner))


def test_nobody_has_no_family() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(60)
    assert family(process.pid) == [] and resident(process.pid) == 0


@pytest.mark.parametrize(
    ("code", "said"),
    [(0, "exit code 0"), (3, "exit code 3"), (-11, "SIGSEGV"), (-9, "SIGKILL"), (-250, "signal 250"),
     (3221225477, "exit code 0xc0000005")],
)  # fmt: skip
def test_an_end_has_a_cause(code: int, said: str) -> None:
    assert cause_of_death(code) == said
