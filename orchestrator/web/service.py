"""The lab as the server uses it: what takes seconds waits in a queue of its own, so that results never wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.lab import Lab
from matloop.orchestrator.lab.best import Best
from matloop.orchestrator.lab.fields import fields_of
from matloop.orchestrator.lab.wishes import Wishes
from matloop.orchestrator.ledger.history import Amendment, Completion
from matloop.orchestrator.trial import Trial
from matloop.orchestrator.web.latest import Latest

T = TypeVar("T")

MOST_REQUESTS = 20
"""Requests for recommendations that may wait at once."""

MOST_OUTLOOKS = 4
"""Requests for outlooks of somebody's own choice that may wait at once; recommendations come first."""

MOST_PREDICTIONS = 8
"""Requests for predictions and drawings of them that may wait at once."""


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
        self._waiting = {"recommendations": 0, "outlooks": 0, "predictions": 0}
        self._outlook: Latest[Mapping[str, Any]] = Latest(self._worker, self._told, lab.outlook, {})
        self._best: Latest[Best | None] = Latest(self._worker, self._told, lab.best, None)

    @property
    def version(self) -> str:
        """Text that changes whenever the page would look different."""
        self.lab.refresh()
        return f"{self.lab.history.last_seq}.{self._outlook.told}.{self._best.told}"

    def amendments(self, id: int) -> list[Amendment]:
        """Corrections of an experiment, in order."""
        self.lab.refresh()
        return [amendment for amendment in list(self.lab.history.amendments) if amendment.trial == id]

    def completions(self, id: int) -> list[Completion]:
        """Values of an experiment that came later than its first, in order."""
        return [told for told in list(self.lab.history.completions) if told.trial == id]

    async def recommend(self, n: int, by: str, wishes: Wishes) -> list[Trial]:
        """As `Lab.recommend`, without keeping the server waiting.

        Raises:
            Busy: too many wait already.
        """
        return await self._queued("recommendations", MOST_REQUESTS, self.lab.recommend_as, wishes, n, by)

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
        return self._outlook.known()

    async def outlook_now(self) -> Mapping[str, Any]:
        """The outlook on all results so far; may take seconds."""
        return await self._outlook.now()

    def best(self) -> Best | None:
        """Where the best is, as `outlook`; None while nobody knows."""
        return self._best.known()

    async def best_now(self, n: int) -> Best:
        """As `Lab.best`, without keeping the server waiting.

        Raises:
            Busy: too many wait already.
        """
        return await self._queued("predictions", MOST_PREDICTIONS, self.lab.best, n)

    async def foresee(self, work: Callable[..., T], *args: Any) -> T:
        """What asks the model for predictions, likewise.

        Raises:
            Busy: too many wait already.
        """
        return await self._queued("predictions", MOST_PREDICTIONS, work, *args)

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
