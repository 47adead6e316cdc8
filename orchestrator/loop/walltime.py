"""How long a run may go on: an allocation's end is known beforehand, or announced by a signal.

The last `warning_s` seconds have three parts. In the first half nothing new is begun, and what comes back is recorded.
Half-way, what still runs is withdrawn and the ledger closed; should anything hold that up, every process ends by itself
at three quarters. The last quarter is left to the job script, for starting the job again.
"""

from __future__ import annotations

import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from types import FrameType, TracebackType
from typing import Any, Final, Self

from matloop.orchestrator.errors import ConfigError

WARNING_S: Final = 120.0
EARLY_S: Final = 60.0
"""How much too early a scheduler may send its warning (Slurm: a minute); so close to a known end the clock decides."""

MORE_TO_DO: Final = 75
"""Exit code of a run that ended in time and has more to do: EX_TEMPFAIL of sysexits.h, "try again later"."""

_ANNOUNCEMENTS: Final = (signal.SIGUSR1, signal.SIGUSR2)
_UNITS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}


class WallTime:
    """The end of the time that this process has, and what that means now.

    While entered in the main thread, SIGUSR1 and SIGUSR2 are taken for the scheduler's warning that `warning_s` are
    left. Enter it before anything slow, on every rank of a job: the default action of these signals is death.

    Args:
        end: Unix time, s; None if it is not known (yet).
        warning_s: length of the last part of the time, s; by default 120, or a quarter of what is left if that is less.
        quiet: end without a word, as the worker ranks of a job.

    Attributes:
        end: as above; infinite while unknown.
        wake: called in the main thread when `closing` or `over` may have become true.
    """

    def __init__(self, end: float | None = None, *, warning_s: float | None = None, quiet: bool = False) -> None:
        self.known = end is not None
        self.end = math.inf if end is None else end
        left_s = self.end - time.time()
        if left_s <= 0:
            raise ConfigError(f"the time for this run ended {-left_s:.0f} s ago; give a later --until")
        self.warning_s = min(WARNING_S, left_s / 4) if warning_s is None else warning_s
        self.wake: Callable[[], None] = lambda: None
        self._quiet = quiet
        self._before: dict[int, Any] = {}
        self._changed = threading.Event()
        self._left = False

    @property
    def closing(self) -> bool:
        """Whether nothing new may be begun."""
        return time.time() >= self.end - self.warning_s

    @property
    def over(self) -> bool:
        """Whether what still runs is to be withdrawn."""
        return time.time() >= self.end - self.warning_s / 2

    def announce(self, left_s: float) -> None:
        """Take note that so many seconds are left, at most."""
        self.end = min(self.end, time.time() + left_s)
        self._changed.set()

    def terminate(self) -> None:
        """Take note that the scheduler is about to kill this process."""
        self.announce(self.warning_s / 2)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _ANNOUNCEMENTS:
                self._before[number] = signal.signal(number, self._receive)
            threading.Thread(target=self._keep_time, args=(threading.get_ident(),), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._left = True
        self._changed.set()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.end - time.time() > self.warning_s + EARLY_S:
            self.announce(self.warning_s)
        self.wake()

    def _keep_time(self, main: int) -> None:
        """Wake the main thread when `over` becomes true; end the process if that does not help."""
        while not self._left:
            self._changed.clear()
            withdraw_at, leave_at = (self.end - self.warning_s / part for part in (2, 4))
            now = time.time()
            if now >= leave_at:
                if not self._quiet:
                    print("the time is up although something still runs; all that came back is recorded", flush=True)
                os._exit(MORE_TO_DO)
            if now >= withdraw_at:
                signal.pthread_kill(main, signal.SIGUSR1)  # changes nothing by now, but wakes
            until = leave_at if now >= withdraw_at else withdraw_at
            self._changed.wait(None if math.isinf(until) else until - now)


def outlive_announcements() -> None:
    """Ignore warnings outside of a `WallTime`: one may come while a finished job still takes its leave."""
    for number in _ANNOUNCEMENTS:
        signal.signal(number, signal.SIG_IGN)


def end_of_time(until: str | None, time_left: str | None, environment: Mapping[str, str]) -> float | None:
    """When this run has to have ended, as far as is known.

    Args:
        until: from the command line; see `moment`.
        time_left: from the command line; see `seconds`.
        environment: the process's; Slurm tells its jobs their end.

    Returns:
        Unix time, s, the earliest of those that are given; None if none is.

    Raises:
        ConfigError: not a time.
    """
    ends = [moment(until)] if until else []
    if time_left:
        ends.append(time.time() + seconds(time_left))
    if environment.get("SLURM_JOB_END_TIME", "").isdecimal():
        ends.append(float(environment["SLURM_JOB_END_TIME"]))
    return min(ends, default=None)


def moment(text: str) -> float:
    """Unix time, s, of `1795340000` or of local time in ISO format such as `2026-11-22T17:30`.

    Raises:
        ConfigError: not a time.
    """
    try:
        return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ConfigError(
            f"expected a time such as 2026-11-22T17:30 or seconds since 1970, got {text!r}; a duration is --time-left"
        ) from None


def seconds(text: str) -> int:
    """Seconds in `1-12:00:00`, `12:00:00`, `90m`, `12h` or `2d`.

    Raises:
        ConfigError: not a duration.
    """
    if match := re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", text):
        parts = [int(part or 0) for part in match.groups()]
        total = sum(part * unit for part, unit in zip(parts, _UNITS.values(), strict=True))
    elif match := re.fullmatch(r"(\d+)([dhms])", text):
        total = int(match.group(1)) * _UNITS[match.group(2)]
    else:
        total = 0
    if not total:
        raise ConfigError(f"expected a duration such as 12:00:00, 1-12:00:00, 90m or 12h, got {text!r}")
    return total
