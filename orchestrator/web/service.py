"""The lab as the server uses it: what takes seconds waits in a queue of its own, so that results never wait for it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.lab import Lab
from matloop.orchestrator.lab.fields import fields_of
from matloop.orchestrator.ledger.history import Amendment, Completion
from matloop.orchestrator.trial import Trial

T = TypeVar("T")

MOST_REQUESTS = 20
"""Requests for recommendations that may wait at once."""

MOST_OUTLOOKS = 4
"""Requests for outlooks of somebody's own choice that may wait at once; recommendations come first."""


class Busy(MatloopError):
    """Too much that takes seconds is being asked for."""


class LabService:
    """One lab behind a server.

    Args:
        lab: open; closed by `close`.

    Attributes:
        lab: whose strategy is built when it is first asked: that takes seconds, and pages do without.
        fields: the inputs of an experiment.
        study: name of the study.
        planned: number of trials in the budget, None if there is no limit.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.fields = fields_of(lab.space)
        self.study = lab.parts.study
        self.planned = lab.config.studies[self.study].budget.trials
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="strategy")
        self._lock = threading.Lock()
        self._waiting = {"recommendations": 0, "outlooks": 0}
        self._outlook: tuple[int, Mapping[str, Any]] = -1, {}
        self._coming: Future[None] | None = None

    @property
    def version(self) -> str:
        """Text that changes whenever the page would look different."""
        self.lab.refresh()
        return f"{self.lab.history.last_seq}.{self._outlook[0]}"

    def amendments(self, id: int) -> list[Amendment]:
        """Corrections of an experiment, in order."""
        self.lab.refresh()
        return [amendment for amendment in list(self.lab.history.amendments) if amendment.trial == id]

    def completions(self, id: int) -> list[Completion]:
        """Values of an experiment that came later than its first, in order."""
        return [told for told in list(self.lab.history.completions) if told.trial == id]

    async def recommend(self, n: int, by: str) -> list[Trial]:
        """As `Lab.recommend`, without keeping the server waiting.

        Raises:
            Busy: too many wait already.
        """
        return await self._queued("recommendations", MOST_REQUESTS, self.lab.recommend, n, by)

    async def outlook_for(self, delta: float | None, q: int) -> Mapping[str, Any]:
        """As `Lab.outlook`, for a difference and a number of experiments of somebody's choice, likewise.

        Raises:
            Busy: too many wait already.
        """
        if delta is None and q == 1:
            return await self.outlook_now()
        return await self._queued("outlooks", MOST_OUTLOOKS, self.lab.outlook, delta, q)

    def outlook(self) -> Mapping[str, Any]:
        """The latest that is known; a newer one is worked out meanwhile if results have come since."""
        with self._lock:
            told = self._told()
            if self._outlook[0] != told and (self._coming is None or self._coming.done()):
                self._coming = self._worker.submit(self._work_out)
            return self._outlook[1]

    async def outlook_now(self) -> Mapping[str, Any]:
        """The outlook on all results so far; may take seconds."""
        while self._outlook[0] != self._told():
            self.outlook()
            if (coming := self._coming) is not None:
                await asyncio.wrap_future(coming)
        return self._outlook[1]

    def close(self) -> None:
        """Wait for what is being worked out and let go of the ledger."""
        self._worker.shutdown(wait=True, cancel_futures=True)
        self.lab.close()

    async def _queued(self, what: str, most: int, work: Callable[..., T], *args: Any) -> T:
        with self._lock:
            if self._waiting[what] >= most:
                raise Busy(f"{most} requests for {what} are waiting already; try again in a minute")
            self._waiting[what] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._worker, work, *args)
        finally:
            with self._lock:
                self._waiting[what] -= 1

    def _told(self) -> int:
        """Changes when the outlook may."""
        return len(self.lab.history.finished) + len(self.lab.history.amendments) + len(self.lab.history.completions)

    def _work_out(self) -> None:
        told = self._told()
        try:
            found = self.lab.outlook()
        except Exception as error:  # a page that shows results must not die of an afterthought
            logging.getLogger(__name__).warning("no outlook: %s", error)
            found = {}
        self._outlook = told, found
