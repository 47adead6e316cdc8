"""A log that stays small whatever visitors do: of messages alike, the first few of a minute and the number of the rest.

Messages are alike that come from the same line of code with the same kind of exception from the same place: there are
only so many of those, whatever addresses, names or paths the messages hold.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

FIRST = 3
"""Messages alike that are written in full, of every interval."""

INTERVAL_S = 60.0

LONGEST = 8000
"""Characters of a message, traceback included."""


@dataclass(slots=True)
class _Alike:
    """Messages alike: when the interval began, how many came in it, and the last that was not written."""

    began: float
    count: int
    last: logging.LogRecord | None = None


class QuietHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to the standard error, and of what repeats only the number.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(_Short("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        self._clock = clock
        self._alike: dict[Hashable, _Alike] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, or count it."""
        now, kind = self._clock(), _kind(record)
        known = self._alike.get(kind)
        if known is None or now - known.began >= INTERVAL_S:
            if known is not None:
                self._tell(known)
            known = self._alike[kind] = _Alike(now, 0)
        known.count += 1
        if known.count <= FIRST:
            super().emit(record)
        else:
            known.last = record

    def report(self) -> None:
        """Write the numbers of what was not written, where an interval is over."""
        self._tell_all(self._clock() - INTERVAL_S)

    def close(self) -> None:
        """Write all numbers."""
        self._tell_all(math.inf)
        super().close()

    def _tell_all(self, until: float) -> None:
        self.acquire()
        try:
            for kind in [kind for kind, known in self._alike.items() if known.began <= until]:
                self._tell(self._alike.pop(kind))
        finally:
            self.release()

    def _tell(self, known: _Alike) -> None:
        if known.last is None:
            return
        said = " ".join(known.last.getMessage().split())[:200]
        more = logging.LogRecord(
            known.last.name, known.last.levelno, known.last.pathname, known.last.lineno, "%d more like: %s",
            (known.count - FIRST, said), None,
        )  # fmt: skip
        known.last = None
        super().emit(more)


class _Short(logging.Formatter):
    """Cuts what is long, and shows control characters rather than write them."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        shown = "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text[:LONGEST])
        return shown + (" …" if len(text) > LONGEST else "")


def _kind(record: logging.LogRecord) -> Hashable:
    error, place = None, None
    if record.exc_info and record.exc_info[1] is not None:
        error, trace = type(record.exc_info[1]), record.exc_info[2]
        while trace is not None:
            place, trace = (trace.tb_frame.f_code.co_filename, trace.tb_lineno), trace.tb_next
    return record.name, record.pathname, record.lineno, error, place
