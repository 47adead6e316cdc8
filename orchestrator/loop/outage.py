"""Something of the machine's that is out of reach, such as a full disk: tried again at growing intervals, for a while.

It is neither the point's fault nor the driver's, and most of it passes: a file server that fails over, a disk that
somebody frees. So the run waits rather than ends, and says so once.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Final, TypeVar

from matloop.orchestrator.errors import LedgerUnwritable, OutOfReach
from matloop.orchestrator.loop.patience import intervals
from matloop.orchestrator.loop.stop import Stop
from matloop.orchestrator.loop.study import Observer

LOOK_S: Final = 0.25  # how often it is looked at, while nothing else can be done, whether the run is to stop

T = TypeVar("T")


class Outage:
    """Whether one thing is out of reach, when it is to be tried again, and when no more.

    Args:
        patience_s: how long it is tried again, s; 0 for not at all.
        observer: told when it begins and when it is over.
        stop: a request to stop during an outage ends it after one more try, a stop at once as well.
        clock: s, of any origin.
        sleep: as `time.sleep`.

    Attributes:
        hopeless: whether it was given up; what is tried later is tried once.
    """

    def __init__(
        self,
        *,
        patience_s: float,
        observer: Observer,
        stop: Stop,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._patience_s, self._observer, self._stop = patience_s, observer, stop
        self._clock, self._sleep = clock, sleep
        self._began: float | None = None
        self._intervals = intervals()
        self._try_at = 0.0
        self._stops = 0
        self.hopeless = False

    @property
    def lasted_s(self) -> float:
        """Since the first try that failed, s."""
        return 0.0 if self._began is None else self._clock() - self._began

    @property
    def due(self) -> bool:
        """Whether it is time for a try."""
        return self._began is None or self.hopeless or self.asked_to_stop or self._clock() >= self._try_at

    @property
    def asked_to_stop(self) -> bool:
        """Whether it was, since it began."""
        return self._stop.at_once or self._stop.count > self._stops

    def failed(self, reason: str) -> None:
        """A try failed; `hopeless` says whether it was the last one."""
        now = self._clock()
        if self._began is None:
            self._began, self._stops, self._intervals = now, self._stop.count, intervals()
            if self._patience_s > 0 and not self.hopeless and not self._stop.at_once:
                self._observer.notice(
                    f"waiting: {reason}. Nothing new is begun, what comes back is held, and it is tried again for "
                    f"{_spoken(self._patience_s)} (`outage_s`); Ctrl-C ends the run"
                )
        end = self._began + self._patience_s
        self._try_at = min(now + next(self._intervals), end)
        self.hopeless = self.hopeless or now >= end or self.asked_to_stop

    def over(self) -> None:
        """A try succeeded."""
        if self._began is not None:
            lasted_s, self._began, self.hopeless = self.lasted_s, None, False
            self._observer.notice(f"going on after {_spoken(lasted_s)}")

    def endure(self, action: Callable[[], T]) -> T:
        """Do something, again and again if need be.

        Raises:
            LedgerUnwritable, OutOfReach: what the last try raised.
        """
        while True:
            try:
                result = action()
            except (LedgerUnwritable, OutOfReach) as error:
                by_sqlite = isinstance(error.__cause__, sqlite3.Error)
                self.failed(f"cannot write the record ({error.__cause__})" if by_sqlite else str(error))
                if self.hopeless:
                    error.add_note(f"tried again for {_spoken(self.lasted_s)}, in vain")
                    raise
            else:
                self.over()
                return result
            while not self.due:
                self._sleep(LOOK_S)


def _spoken(seconds: float) -> str:
    """A duration, for people."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
