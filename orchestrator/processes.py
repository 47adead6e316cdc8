"""A process and all that it has started: begun apart from others, and killed together, on every operating system.

POSIX systems have process groups: a signal reaches every member, also one whose parent has ended. Elsewhere, as on
Windows, a family is found by asking each process for its parent, so what lost its parent before is not found.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import Any, Final, NoReturn

import psutil

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


def resident(pid: int) -> int:
    """Resident memory of a process and its descendants, bytes; shared pages count once per process."""
    total = 0
    for process in family(pid):
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total


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
