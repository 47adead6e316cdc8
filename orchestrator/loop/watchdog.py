"""Ends the process where a second signal to stop does not: what holds the main thread may not look at signals.

Python runs the handlers of signals between its own instructions on the main thread, so a long computation in C, a pipe
that nobody reads or a swallowed exception holds them up for ever. The system's part of a handler writes the number of
every signal into a socket at once, and a thread reads them there.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

LAST_S: Final = 10.0
"""How long after a second signal the process may take to end what runs, s."""

AT_ONCE_S: Final = 2.0
"""The same after a third one, s."""


@contextmanager
def watching(numbers: Sequence[int], grace_s: Callable[[], float] = lambda: 0.0) -> Iterator[None]:
    """End the process if it is still in the block some time after the second signal (in the main thread, else not).

    Everything acknowledged is durable at any time, so that this loses no more than a power failure would.

    Args:
        numbers: of the signals that count.
        grace_s: what is to be allowed beyond `LAST_S` after a second signal, s; asked again when that is over.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours, theirs:
        before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        thread = threading.Thread(target=_watch, args=(ours, numbers, grace_s), name="watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            with suppress(OSError):
                theirs.shutdown(socket.SHUT_WR)
            thread.join(AT_ONCE_S)


def _watch(signals: socket.socket, numbers: Sequence[int], grace_s: Callable[[], float]) -> None:
    came: list[tuple[int, float]] = []  # signals that count, and when
    while True:
        left_s = _left_s([at for _, at in came], grace_s)
        if left_s is not None and left_s <= 0:
            _end(came[0][0])
        signals.settimeout(left_s)
        try:
            received = signals.recv(64)
        except TimeoutError:
            continue
        if not received:
            return
        came += [(number, time.monotonic()) for number in received if number in numbers]


def _left_s(came_at: Sequence[float], grace_s: Callable[[], float]) -> float | None:
    """How long until the process is to be ended, s; None if it is not."""
    if len(came_at) < 2:
        return None
    second_s = came_at[1] + LAST_S + grace_s() - time.monotonic()
    return second_s if len(came_at) == 2 else min(second_s, came_at[2] + AT_ONCE_S - time.monotonic())


def _end(number: int) -> None:
    """Leave, whatever holds up the main thread; programs that were started die with this process."""
    with suppress(OSError, ValueError):
        print("ended at once: something did not stop; all that was recorded is safe", file=sys.stderr, flush=True)
    os._exit(128 + number)
