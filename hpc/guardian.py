"""A process that stands between a child and its manager, and lets nothing outlive either (Linux).

It forks the child off itself before anything else is imported, and adopts every descendant that loses its parent (as a
"subreaper", see prctl(2)): what a shell put in the background, and what formed a session of its own. Once the child or
the manager has ended, it kills all that is left, and ends as the child did. It never runs anybody else's code, so
nothing can keep it from that.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

_SET_PDEATHSIG: Final = 1  # of <linux/prctl.h>
_SET_CHILD_SUBREAPER: Final = 36
_PATIENCE_S: Final = 5.0  # for processes that are stuck in the kernel
_NAP_S: Final = 0.002


class Orphans:
    """Seen from the child: what its calls started and left without a parent.

    What the child itself has started and still runs (a pool, a server of its own) is not among it.
    """

    def __init__(self, guardian: int) -> None:
        self._guardian, self._only = guardian, b"%d " % os.getpid()
        try:
            self._list = os.open(f"/proc/{guardian}/task/{guardian}/children", os.O_RDONLY)
        except OSError:  # a kernel without such lists
            self._list = -1

    def end(self) -> None:
        """Kill them, and those that become orphans by that."""
        if self._list >= 0 and os.pread(self._list, 64, 0) == self._only:
            return
        deadline = time.monotonic() + _PATIENCE_S
        while (left := [pid for pid in children(self._guardian) if pid != os.getpid()]) and time.monotonic() < deadline:
            _kill(left)
            time.sleep(_NAP_S)  # the guardian buries them


def guarded(lifeline: int, *, hidden: tuple[int, ...]) -> int:
    """Split in two: return in the child; the guardian watches over it and ends as it ends.

    Args:
        lifeline: read end of a pipe whose write end the manager holds, and never writes to.
        hidden: descriptors that are the child's alone.

    Returns:
        The guardian's process id.
    """
    guardian = os.getpid()
    prctl = ctypes.CDLL(None).prctl
    prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, _nothing)
    before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    if child := os.fork():
        for descriptor in hidden:
            os.close(descriptor)
        _watch(child, lifeline, woken)
    signal.set_wakeup_fd(before)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.close(woken)
    os.close(wake)
    os.setpgid(0, 0)
    prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != guardian:
        os._exit(1)
    return guardian


def children(pid: int) -> list[int]:
    """Processes whose parent a process is."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _parent(entry) == pid]


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_bytes().rpartition(b") ")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _watch(child: int, lifeline: int, woken: int) -> NoReturn:
    signal.signal(signal.SIGTERM, lambda number, frame: _send(child, number))
    status: int | None = None
    with suppress(BaseException):
        ready = select.poll()
        ready.register(lifeline, select.POLLIN)
        ready.register(woken, select.POLLIN)
        while status is None and lifeline not in dict(ready.poll()):
            os.read(woken, 4096)
            status = _bury(child)
    found = _end_all(child)
    _end_like(status if status is not None else found)


def _end_like(status: int | None) -> NoReturn:
    if status is not None and os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with suppress(ImportError, OSError, ValueError):
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the child has left its own
            signal.signal(number, signal.SIG_DFL)  # not for SIGKILL
        os.kill(os.getpid(), number)
    os._exit(1 if status is None else os.waitstatus_to_exitcode(status) & 0xFF)


def _bury(child: int) -> int | None:
    """Take leave of all that have ended; the child's status if it is among them."""
    status = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                status = ended[1]
    return status


def _end_all(child: int) -> int | None:
    """Kill every descendant: those of a process that was killed are ours next."""
    status = None
    deadline = time.monotonic() + _PATIENCE_S
    while (left := children(os.getpid())) and time.monotonic() < deadline:
        _kill(left)
        time.sleep(_NAP_S)
        found = _bury(child)
        status = found if found is not None else status
    return status


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        _send(pid, signal.SIGKILL)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _nothing(number: int, frame: object) -> None:
    """SIGCHLD only has to wake the guardian."""
