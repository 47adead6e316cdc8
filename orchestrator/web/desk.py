"""The lab as the server uses it: what takes seconds waits in a queue of its own, so that results never wait for it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from orchestrator.errors import MatloopError
from orchestrator.lab import Lab
from orchestrator.lab.fields import fields_of
from orchestrator.trial import Trial

MOST_WAITING = 20
"""Requests for recommendations that may wait at once."""


class Busy(MatloopError):
    """Too many recommendations are being asked for."""


class Desk:
    """One lab behind a server.

    Args:
        lab: open; closed by `close`.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.fields = fields_of(lab.study.space)
        self._thinking = ThreadPoolExecutor(1, thread_name_prefix="thinking")
        self._lock = threading.Lock()
        self._waiting = 0
        self._outlook: tuple[int, Mapping[str, Any]] = -1, {}
        self._looking: Future[None] | None = None

    @property
    def version(self) -> str:
        """Text that changes whenever the page would look different."""
        self.lab.refresh()
        return f"{self.lab.history.last_seq}.{self._outlook[0]}"

    async def recommend(self, n: int, by: str) -> list[Trial]:
        """As `Lab.recommend`, without keeping the server waiting.

        Raises:
            Busy: too many wait already.
        """
        with self._lock:
            if self._waiting >= MOST_WAITING:
                raise Busy(f"{MOST_WAITING} requests for recommendations are waiting already; try again in a minute")
            self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thinking, self.lab.recommend, n, by)
        finally:
            with self._lock:
                self._waiting -= 1

    def outlook(self) -> Mapping[str, Any]:
        """The latest that is known; a newer one is worked out meanwhile if results have come since."""
        with self._lock:
            told = self._told()
            if self._outlook[0] != told and (self._looking is None or self._looking.done()):
                self._looking = self._thinking.submit(self._look)
            return self._outlook[1]

    async def outlook_now(self) -> Mapping[str, Any]:
        """The outlook on all results so far; may take seconds."""
        while self._outlook[0] != self._told():
            self.outlook()
            if (looking := self._looking) is not None:
                await asyncio.wrap_future(looking)
        return self._outlook[1]

    def close(self) -> None:
        """Stop thinking and let go of the ledger."""
        self._thinking.shutdown(wait=True, cancel_futures=True)
        self.lab.close()

    def _told(self) -> int:
        """Changes when the outlook may."""
        return len(self.lab.history.finished) + len(self.lab.history.amendments)

    def _look(self) -> None:
        told = self._told()
        try:
            found = self.lab.outlook()
        except Exception as error:  # a page that shows results must not die of an afterthought
            logging.getLogger(__name__).warning("no outlook: %s", error)
            found = {}
        self._outlook = told, found
