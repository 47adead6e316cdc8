"""A process and all that it has started: begun apart from others, and killed together, on every operating system.

POSIX systems have process groups: a signal reaches every member, also one whose parent has ended. Elsewhere, as on
Windows, a family is found by asking each process for its parent, so what lost its parent before is not found.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

import psutil

_ROUNDS: Final = 100  # of looking for processes that start others faster than they are killed

POSIX: Final = hasattr(os, "killpg")
"""Whether there are process groups, and descriptors that a child can inherit one by one."""


def apart(*, session: bool = False) -> dict[str, Any]:
    """Options of `subprocess.Popen` for the leader of a group of its own, which a Ctrl-C in the terminal passes by.

    Args:
        session: let go of the terminal altogether, where there are sessions.
    """
    if not POSIX:
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    return {"start_new_session": True} if session else {"process_group": 0}


def family(pid: int) -> list[psutil.Process]:
    """A process and its descendants; empty if there is none of that number."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def resident(pid: int, *, enough: float = 0.0) -> int:
    """Memory of a process and its descendants, bytes; on Linux every page that several share counts once.

    Args:
        pid: of the process.
        enough: a sum up to so many bytes may count shared pages several times: it is quick, and never too small. The
            exact one takes a walk through the page tables.
    """
    members = family(pid)
    total = _sum(members, _resident)
    return total if total <= enough else _sum(members, _proportional)


def _sum(members: Iterable[psutil.Process], of: Callable[[psutil.Process], int]) -> int:
    total = 0
    for process in members:
        with suppress(psutil.Error):
            total += of(process)
    return total


def _resident(process: psutil.Process) -> int:
    return process.memory_info().rss


def _proportional(process: psutil.Process) -> int:
    """Its own pages, and its share of those that others have too (PSS)."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):  # another system, or not to be read
        return _resident(process)


def kill_family(process: subprocess.Popen[bytes], *, group: bool) -> None:
    """Kill a process, if it still runs, and its descendants.

    Args:
        process: started by this one. Once it has ended and its group as well, its number may be another's.
        group: it was started `apart`; kill also those of its group that have lost their parents.
    """
    members = family(process.pid) if process.returncode is None else []
    if group and POSIX:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    for member in members:
        with suppress(psutil.Error):
            member.kill()


def end_family(process: subprocess.Popen[bytes], *, within_s: float) -> None:
    """Ask a process that was started `apart` and its group to end (SIGTERM), and wait until all of them have.

    Elsewhere than on POSIX nothing can be asked.

    Args:
        process: started by this one.
        within_s: longest to wait, s; who is there then is left alone.
    """
    if not POSIX:
        return
    deadline = time.monotonic() + within_s
    number: int = signal.SIGTERM
    with suppress(ProcessLookupError, PermissionError):
        while True:
            os.killpg(process.pid, number)
            process.poll()
            if time.monotonic() >= deadline:
                return
            time.sleep(0.01)
            number = 0  # asks only whether anybody is there


def kill_bearers(name: str, value: str) -> None:
    """Kill every process that has a variable in its environment, as far as the system shows that (Linux)."""
    sought = f"{name}={value}".encode()
    for _ in range(_ROUNDS):
        bearers = [pid for pid in _numbers() if pid != os.getpid() and sought in _environment(pid)]
        if not bearers:
            return
        for pid in bearers:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _numbers() -> list[int]:
    folder = Path("/proc")
    return [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()] if folder.is_dir() else []


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def kill_own_family() -> NoReturn:
    """Kill this process, which was started `apart`, and its descendants."""
    members = family(os.getpid())[1:]
    if POSIX and os.getpgrp() == os.getpid():  # a parent that knows no groups gave it none
        os.killpg(os.getpid(), signal.SIGKILL)
    for member in members:
        with suppress(psutil.Error):
            member.kill()
    os._exit(1)


def cause_of_death(code: int) -> str:
    """What `subprocess.Popen.returncode` says of an end, for people."""
    if code >= 0:
        return f"exit code {code}" if code < 2**16 else f"exit code {code:#x}"  # as Windows lists its exceptions
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
