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
        grace_s: what is to be allowed beyond `LAST_S`, s; asked when the second signal has come.
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
    count, first, ends_at = 0, 0, None
    while True:
        left_s = None if ends_at is None else ends_at - time.monotonic()
        if left_s is not None and left_s <= 0:
            _end(first)
        signals.settimeout(left_s)
        try:
            received = signals.recv(64)
        except TimeoutError:
            continue
        if not received:
            return
        for number in received:
            if number in numbers:
                count, first = count + 1, first or number
                if count == 2:
                    ends_at = time.monotonic() + LAST_S + grace_s()
                elif count > 2:
                    ends_at = min(ends_at or 0.0, time.monotonic() + AT_ONCE_S)


def _end(number: int) -> None:
    """Leave, whatever holds up the main thread; programs that were started die with this process."""
    with suppress(OSError, ValueError):
        print("ended at once: something did not stop; all that was recorded is safe", file=sys.stderr, flush=True)
    os._exit(128 + number)
