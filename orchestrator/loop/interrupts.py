"""Ctrl-C with manners: the first signal asks for a clean stop, the second stops at once. So does the end of the time.

An exception may not strike in the middle of a record, so stopping at once raises only inside `breakable` regions
(a measurement or a model fit on this thread); elsewhere the loop looks at `stopping` and `at_once`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from matloop.orchestrator.loop.walltime import WallTime


class Interrupts:
    """Counts SIGINT and SIGTERM while entered (in the main thread; elsewhere it does nothing).

    Where the end of the time is known, there is a scheduler, and its SIGTERM means that little of it is left.

    Args:
        walltime: how long the run may go on; for ever by default.

    Attributes:
        count: signals received.
        wake: called at each one; must be safe in a signal handler.
    """

    def __init__(self, walltime: WallTime | None = None) -> None:
        self.count = 0
        self.walltime = walltime or WallTime()
        self.wake: Callable[[], None] = lambda: None
        self._before: dict[int, Any] = {}
        self._breakable = False

    @property
    def stopping(self) -> bool:
        """Whether nothing new may be begun."""
        return self.count > 0 or self.walltime.closing

    @property
    def at_once(self) -> bool:
        """Whether what still runs is to be given up."""
        return self.count > 1 or self.walltime.over

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Region in which KeyboardInterrupt is raised when it is time to stop at once."""
        self._breakable = True
        try:
            if self.at_once:
                raise KeyboardInterrupt
            yield
        finally:
            self._breakable = False

    def __enter__(self) -> Self:
        self.walltime.wake = self._act
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.walltime.wake = lambda: None
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM and self.walltime.known:
            self.walltime.terminate()
        else:
            self.count += 1
        self._act()

    def _act(self) -> None:
        if self._breakable and self.at_once:
            raise KeyboardInterrupt
        self.wake()
