"""Where evaluations report to that are over: a queue between the executor's threads and the loop."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from matloop.orchestrator.trial import Answer, Trial

Item = tuple[Trial, Future[Answer]] | None
"""An evaluation that is over; None only wakes the loop."""


class Inbox(Protocol):
    """What the loop waits at; in a simulation, waiting lets simulated time pass."""

    def put(self, item: Item, /) -> None:
        """Add an item; from any thread, and from signal handlers."""
        ...

    def get(self, block: bool = True, timeout: float | None = None) -> Item:
        """The next item; raises `queue.Empty` where there is none in time."""
        ...

    def get_nowait(self) -> Item:
        """The next item; raises `queue.Empty` where there is none."""
        ...
