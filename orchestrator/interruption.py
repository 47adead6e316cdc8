"""How a driver in a process of its own learns that its evaluation is to end: SIGTERM becomes an exception in it, once.

The exception is raised on the main thread and only while the driver is at work, so that what it has returned is never
lost. A driver that sets a handler of its own for SIGTERM gets the signal instead.
"""

from __future__ import annotations

import _signal
import signal
from types import FrameType
from typing import Final

GRACE_S: Final = 10.0
"""How long after SIGTERM an evaluation may go on, s, where its driver does not say (`grace_s`)."""


class Interrupted(BaseException):
    """The evaluation is to end: the time is up, or it is withdrawn.

    Save what is worth keeping to `trial.folder` and let it pass; or return a result, which counts. It is no
    `Exception`, so what catches those lets it pass.
    """


_at_work = False  # in a driver
_told = False  # since the last `expect`


def take_signal() -> None:
    """Have SIGTERM handled as above, from now on, in a process of evaluations; in the main thread."""
    if _signal.getsignal(signal.SIGTERM) is not _handle:  # also after a driver that set its own; `signal` is slow here
        signal.signal(signal.SIGTERM, _handle)


def expect() -> None:
    """A call has come, and is being loaded: SIGTERM is meant for it from now on."""
    global _told
    _told = False


def begin() -> None:
    """The driver begins.

    Raises:
        Interrupted: SIGTERM has come already.
    """
    global _at_work
    if _told:
        raise Interrupted
    _at_work = True


def end() -> None:
    """The driver has returned; from now on SIGTERM changes nothing. May be repeated."""
    global _at_work
    _at_work = False


def _handle(number: int, frame: FrameType | None) -> None:
    global _told
    if _told:  # once only: what is being saved is not to be broken off
        return
    _told = True
    if _at_work:
        raise Interrupted
