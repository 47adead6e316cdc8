"""Python's side of `shim.c`: compiles it, and says through a shared page what is to happen to which system calls."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, Self

CALLS: Final = ("write", "fsync", "rename", "open", "unlink", "lock", "connect", "send")
"""Kinds of system calls, in the order of `enum kind`: on files below the folder, but for the last two."""

ACTIONS: Final = ("fail", "kill", "stop", "torn", "short", "signal")
ROLES: Final = ("any", "manager", "worker")
FOR_EVER: Final = 2**40
VARIABLE: Final = "MATLOOP_FAULTS"
SOURCE: Final = Path(__file__).with_name("shim.c")


class Page(ctypes.Structure):
    """`struct page`."""

    _fields_ = (
        ("folder", ctypes.c_char * 1024),
        *((name, ctypes.c_long) for name in ("armed", "kinds", "first", "count", "action", "error", "number")),
        *((name, ctypes.c_long) for name in ("manager", "role", "calls", "struck", "stopped")),
        ("seen", ctypes.c_long * len(CALLS)),
    )


def compiled(folder: Path) -> Path | None:
    """The library, made in a folder; None where there is no compiler or no LD_PRELOAD."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    library = folder / "shim.so"
    command = [compiler, "-O1", "-fPIC", "-shared", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"cannot compile {SOURCE}, so no system call fails: {done.stderr}", file=sys.stderr)
        return None
    return library


class Shim:
    """A page in a file, shared with every process that attaches to it.

    Args:
        path: of the page; created.
        folder: calls on files below it are counted and struck.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        path.write_bytes(bytes(ctypes.sizeof(Page)))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self.page = Page.from_buffer(self._memory)
        self.page.folder = os.fsencode(folder)

    def arm(
        self,
        calls: tuple[str, ...] = (),
        *,
        action: str = "fail",
        first: int = 0,
        count: int = 1,
        error: int = 0,
        number: int = 0,
        role: str = "any",
    ) -> Self:
        """From here on count, and do the action to calls of these kinds: `count` of them from number `first` on."""
        page = self.page
        page.kinds = sum(1 << CALLS.index(call) for call in calls)
        page.first, page.count = first, count
        page.action, page.role = ACTIONS.index(action), ROLES.index(role)
        page.error, page.number = error, number
        page.calls = page.struck = page.stopped = 0
        for kind in range(len(CALLS)):
            page.seen[kind] = 0
        page.armed = 1
        return self

    def disarm(self) -> None:
        """Let every call be."""
        self.page.armed = 0

    @property
    def seen(self) -> dict[str, int]:
        """Calls since it was armed, by kind."""
        return dict(zip(CALLS, self.page.seen, strict=True))


def attach(path: Path) -> None:
    """Have this process and those that it starts obey a page, if the library is loaded."""
    os.environ[VARIABLE] = str(path)
    if is_loaded():
        ctypes.CDLL(None).faults_attach(os.fsencode(path))


def is_loaded() -> bool:
    """Whether this process was started with the library."""
    return hasattr(ctypes.CDLL(None), "faults_attach")
