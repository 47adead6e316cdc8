"""What `shim.c` does, done in Python, where there is no compiler: fewer calls, of this process alone.

Struck are `os.fsync`, renames, deletions, files opened for writing and what SQLite is asked to do in a transaction.
"""

from __future__ import annotations

import builtins
import io
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.faults.shim import ACTIONS, CALLS, ROLES, Page

STRUCK: Final = {"write", "fsync", "rename", "open", "unlink"}
"""Kinds of calls that it knows."""

DONE: Final = {"fail", "kill", "stop"}
"""What it can do to them."""


class StandIn:
    """Obeys a page, once it is installed in a process.

    Args:
        page: says what is to happen, and to files below which folder.
    """

    def __init__(self, page: Page) -> None:
        self._page = page

    def install(self) -> None:
        """Take the place of functions of this process, for good."""
        os.fsync = self._over(os.fsync, "fsync", lambda *_: True)  # type: ignore[assignment]
        for name in ("replace", "rename"):
            setattr(os, name, self._over(getattr(os, name), "rename", lambda _, to, **__: self._below(to)))
        os.unlink = self._over(os.unlink, "unlink", lambda path, **_: self._below(path))  # type: ignore[assignment]
        opened = self._over(
            builtins.open, "open", lambda path, mode="r", *_, **__: mode[0] != "r" and self._below(path)
        )
        builtins.open = io.open = opened  # type: ignore[assignment]
        sqlite3.connect = self._connecting(sqlite3.connect)  # type: ignore[assignment]

    def _over(self, real: Callable[..., Any], call: str, concerned: Callable[..., bool]) -> Callable[..., Any]:
        def struck(*args: Any, **options: Any) -> Any:
            if self._page.armed and concerned(*args, **options):
                self._strike(call)
            return real(*args, **options)

        return struck

    def _writes(self, path: object, mode: str = "r", *_: Any, **__: Any) -> bool:
        return not mode.startswith("r") and self._below(path)

    def _below(self, path: object) -> bool:
        return isinstance(path, str | Path) and str(path).startswith(os.fsdecode(self._page.folder) + os.sep)

    def _strike(self, call: str) -> None:
        page, kind = self._page, CALLS.index(call)
        page.seen[kind] += 1
        role = ROLES[page.role]
        if not page.kinds >> kind & 1 or (role != "any" and (role == "manager") != (os.getpid() == page.manager)):
            return
        number, page.calls = page.calls, page.calls + 1
        if not page.first <= number < page.first + page.count:
            return
        page.struck += 1
        match ACTIONS[page.action]:
            case "fail":
                raise OSError(page.error, os.strerror(page.error))
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                page.stopped = os.getpid()
                os.kill(os.getpid(), signal.SIGSTOP)

    def _connecting(self, real: Callable[..., sqlite3.Connection]) -> Callable[..., sqlite3.Connection]:
        strike, armed = self._strike, lambda: self._page.armed

        class Struck(sqlite3.Connection):
            def executemany(self, *args: Any) -> Any:
                try:
                    if armed():
                        strike("write")
                except OSError as error:
                    raise sqlite3.OperationalError("disk I/O error") from error
                return super().executemany(*args)

        return lambda path, *args, **options: real(path, *args, **({"factory": Struck} | options))
