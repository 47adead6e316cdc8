"""What the pages show that takes seconds to work out: the latest that is known, and a newer one in the background."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """One such thing; safe to use from several threads.

    Args:
        worker: works it out, one after the other.
        version: of the results; when it changes, so may the thing.
        work: works it out.
        nothing: what there is before it was worked out, and where that fails.

    Attributes:
        told: version of the results that the latest is made of.
    """

    def __init__(
        self, worker: ThreadPoolExecutor, version: Callable[[], int], work: Callable[[], T], nothing: T
    ) -> None:
        self.told = -1
        self._worker, self._version, self._work, self._nothing = worker, version, work, nothing
        self._lock = threading.Lock()
        self._value = nothing
        self._coming: Future[None] | None = None

    def known(self) -> T:
        """The latest that is known; a newer one is worked out meanwhile if results have come since."""
        with self._lock:
            if self.told != self._version() and (self._coming is None or self._coming.done()):
                self._coming = self._worker.submit(self._work_out)
            return self._value

    async def now(self) -> T:
        """That of all results so far; may take seconds."""
        while self.told != self._version():
            self.known()
            if (coming := self._coming) is not None:
                await asyncio.wrap_future(coming)
        return self._value

    def _work_out(self) -> None:
        told = self._version()
        try:
            found = self._work()
        except Exception as error:  # a page that shows results must not die of an afterthought
            logging.getLogger(__name__).warning("%s failed: %s", getattr(self._work, "__name__", "it"), error)
            found = self._nothing
        self._value, self.told = found, told
