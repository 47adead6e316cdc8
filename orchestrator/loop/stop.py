"""When a run stops: a first Ctrl-C ends it cleanly, a second one at once, and the end of the time does either.

An allocation's end is known beforehand, or announced by a signal. The last `warning_s` seconds before it have three
parts. In the first half nothing new is begun, and what comes back is recorded. Half-way, what still runs is withdrawn
and the ledger closed; should anything hold that up, every process ends by itself at three quarters. The last quarter is
left to the job script, for starting the job again.
"""

from __future__ import annotations

import _thread
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.job import ANNOUNCEMENTS, MORE_TO_DO, WARNING_S
from matloop.orchestrator.loop.watchdog import watching

EARLY_S: Final = 60.0
"""How much too early a scheduler may send its warning (Slurm: a minute); so close to a known end the clock decides."""


class StopNow(KeyboardInterrupt):
    """It is time to stop at once; told apart from a KeyboardInterrupt that a driver raises itself."""


class Stop:
    """Whether and how this process is to stop.

    While entered in the main thread, SIGUSR1 and SIGUSR2 are taken for the scheduler's warning that `warning_s` are
    left, and the end of the time is kept. Enter it before anything slow, on every rank of a job: the default action of
    these signals is death. While a campaign runs (`taking_signals`), SIGINT and SIGTERM are counted; where the end is
    known there is a scheduler, and its SIGTERM means that little of the time is left.

    An exception may not strike in the middle of a record, so stopping at once raises `StopNow` only inside `breakable`
    regions (a measurement or a model fit on the main thread); elsewhere the loop looks at `stopping` and `at_once`.
    Where a second signal is of no avail, the process is ended (`watchdog`).

    Args:
        end: Unix time, s; None if it is not known (yet).
        warning_s: length of the last part of the time, s; by default 120, or a quarter of what is left if that is less.
        quiet: end without a word, as the worker ranks of a job.
        clock: Unix time, s.

    Attributes:
        known: whether the end was given.
        end: as above; infinite while unknown.
        count: SIGINT and SIGTERM received.
        first: number of the first of these; 0 before.
        grace_s: what ending all that runs may take beyond some seconds, s.
        wake: called in the main thread when any of the answers may have changed; must be safe in a signal handler.

    Raises:
        ConfigError: the end is in the past.
    """

    def __init__(
        self,
        end: float | None = None,
        *,
        warning_s: float | None = None,
        quiet: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.known = end is not None
        self.end = math.inf if end is None else end
        left_s = self.end - clock()
        if left_s <= 0:
            raise ConfigError(f"the time for this run ended {-left_s:.0f} s ago; give a later --until")
        self.warning_s = min(WARNING_S, left_s / 4) if warning_s is None else warning_s
        self.count = self.first = 0
        self.grace_s = 0.0
        self.wake: Callable[[], None] = _nobody
        self._quiet, self._clock = quiet, clock
        self._breakable = False
        self._before: dict[int, Any] = {}
        self._changed = threading.Event()
        self._left = False

    @property
    def closing(self) -> bool:
        """Whether the time for beginning anything new is over."""
        return self._clock() >= self.end - self.warning_s

    @property
    def over(self) -> bool:
        """Whether the time for waiting is over."""
        return self._clock() >= self.end - self.warning_s / 2

    @property
    def stopping(self) -> bool:
        """Whether nothing new may be begun."""
        return self.count > 0 or self.closing

    @property
    def at_once(self) -> bool:
        """Whether what still runs is to be withdrawn."""
        return self.count > 1 or self.over

    @property
    def left_s(self) -> float:
        """How long it is until every process ends by itself, s, >= 0; infinite if no end is known."""
        return max(0.0, self.end - self.warning_s / 4 - self._clock())

    def announce(self, left_s: float) -> None:
        """Take note that so many seconds are left, at most."""
        self.end = min(self.end, self._clock() + left_s)
        self._changed.set()

    def terminate(self) -> None:
        """Take note that the scheduler is about to kill this process."""
        self.announce(self.warning_s / 2)

    @contextmanager
    def taking_signals(self) -> Iterator[None]:
        """Count SIGINT and SIGTERM, from 0 (in the main thread; elsewhere there are none)."""
        self.count = self.first = 0
        numbers = [signal.SIGINT] if self.known else [signal.SIGINT, signal.SIGTERM]
        with watching(numbers, lambda: self.grace_s):
            before = _handle((signal.SIGINT, signal.SIGTERM), self._interrupted)
            try:
                yield
            finally:
                self.wake = _nobody
                for number, handler in before.items():
                    signal.signal(number, handler)

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Region in which StopNow is raised when it is time to stop at once."""
        self._breakable = True
        try:
            if self.at_once:
                raise StopNow
            yield
        finally:
            self._breakable = False

    def __enter__(self) -> Self:
        self._before = _handle(ANNOUNCEMENTS, self._announced)
        if threading.current_thread() is threading.main_thread():
            threading.Thread(target=self._keep_time, args=(threading.get_ident(),), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._left = True
        self._changed.set()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM and self.known:
            self.terminate()
        else:
            self.count += 1
            self.first = self.first or number
        self._act()

    def _announced(self, number: int, frame: FrameType | None) -> None:
        if self.end - self._clock() > self.warning_s + EARLY_S:
            self.announce(self.warning_s)
        self._act()

    def _act(self) -> None:
        if self._breakable and self.at_once:
            raise StopNow
        self.wake()

    def _keep_time(self, main: int) -> None:
        """Wake the main thread when `over` becomes true; end the process if that does not help."""
        while not self._left:
            self._changed.clear()
            withdraw_at, leave_at = (self.end - self.warning_s / part for part in (2, 4))
            now = self._clock()
            if now >= leave_at:
                if not self._quiet:
                    print("the time is up although something still runs; all that came back is recorded", flush=True)
                os._exit(MORE_TO_DO)
            if now >= withdraw_at:
                _rouse(main)
            until = leave_at if now >= withdraw_at else withdraw_at
            self._changed.wait(None if math.isinf(until) else until - now)


def outlive_announcements() -> None:
    """Ignore warnings outside of a `Stop`: one may come while a finished job still takes its leave."""
    for number in ANNOUNCEMENTS:
        signal.signal(number, signal.SIG_IGN)


def _handle(numbers: Sequence[int], handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Set the handler of signals, in the main thread; return those that they had."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in numbers}


def _rouse(main: int) -> None:
    """Have the main thread run a signal handler now, by a signal that changes nothing once the time is over."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, ANNOUNCEMENTS[0])
    else:  # it breaks off what Python computes, and not what the system waits for
        _thread.interrupt_main(signal.SIGTERM)


def _nobody() -> None:
    """What is called where nobody waits."""
