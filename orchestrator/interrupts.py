"""Ctrl-C with manners: the first signal asks for a clean stop, the second stops at once.

An exception may not strike in the middle of a record, so the second signal raises only inside `breakable` regions
(a measurement or a model fit on this thread); elsewhere the loop looks at `count`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupts:
    """Counts SIGINT and SIGTERM while entered (in the main thread; elsewhere it does nothing).

    Attributes:
        count: signals received.
        wake: called at each one; must be safe in a signal handler.
    """

    def __init__(self) -> None:
        self.count = 0
        self.wake: Callable[[], None] = lambda: None
        self._before: dict[int, Any] = {}
        self._breakable = False

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Region in which a second signal raises KeyboardInterrupt."""
        self._breakable = True
        try:
            if self.count > 1:
                raise KeyboardInterrupt
            yield
        finally:
            self._breakable = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1 and self._breakable:
            raise KeyboardInterrupt
        self.wake()
