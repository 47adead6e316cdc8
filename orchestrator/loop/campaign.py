"""An ordered set of studies in one ledger, where a later one may build on what an earlier one found."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from matloop.orchestrator.ledger import corrections
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.corrections import Correction
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.loop.inbox import Inbox
from matloop.orchestrator.loop.loop import INTERRUPTED, Loop
from matloop.orchestrator.loop.outage import Outage
from matloop.orchestrator.loop.patience import PATIENCE_S
from matloop.orchestrator.loop.stop import Stop
from matloop.orchestrator.loop.study import Guarded, Observer, Plan, Silent, Study
from matloop.orchestrator.trial import Trial

FRUITLESS = ("nothing answered", "failures in a row")
"""How a study ends that found nothing, although nobody stopped it."""


class Campaign:
    """An ordered set of studies in one ledger.

    Args:
        plans: in order; one study runs at a time, over all slots.
        ledger: open for writing.
        executor: any `concurrent.futures.Executor`.
        slots: evaluations in flight at once; by default the executor's own `slots`, which may vary with time, and
            what it wants to have ready `ahead` of them.
        seed: with the ledger's history, determines every proposal (with one slot).
        artifacts: folder for large results.
        observer: see `Observer`.
        stop: when it is to end; by default when it is interrupted.
        inbox: what the loop waits at; for simulations.
        patience_s: how long a disk that is out of reach is waited for, s.

    Attributes:
        outcome: how the last `run` ended, one of `orchestrator.job.OUTCOMES`; empty before.
    """

    def __init__(
        self,
        *,
        plans: Sequence[Plan],
        ledger: Ledger,
        executor: Executor,
        slots: int | None = None,
        seed: int = 0,
        artifacts: Path,
        observer: Observer | None = None,
        stop: Stop | None = None,
        inbox: Inbox | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.plans = list(plans)
        self.ledger = ledger
        self.executor = executor
        self.slots = slots
        self.seed = seed
        self.artifacts = artifacts.absolute()  # a driver may move its process
        self.observer = observer or Silent()
        self.inbox = inbox
        self.patience_s = patience_s
        self.stop = stop or Stop()
        self.outcome = ""

    @property
    def history(self) -> History:
        """What has happened; not to be changed."""
        return self.ledger.history

    def amend(self, trial: int, correction: Correction, *, reason: str, by: str = "") -> Trial:
        """Record the right result of a trial in the place of a wrong one, for the next `run` to go on with.

        Raises:
            MatloopError: see `matloop.orchestrator.ledger.corrections.amend`.
        """
        amended = corrections.amend(self.ledger, trial, correction, reason=reason, by=by)
        self.ledger.commit()
        return amended

    def void(self, trial: int, *, reason: str, by: str = "") -> Trial:
        """Set the result of a trial aside, for the next `run` to go on without it.

        Raises:
            MatloopError: see `matloop.orchestrator.ledger.corrections.void`.
        """
        voided = corrections.void(self.ledger, trial, reason=reason, at=time.time(), by=by)
        self.ledger.commit()
        return voided

    def run(self) -> str:
        """Run, or go on with, every study that is not at its end.

        Returns:
            The outcome: "finished"; "nothing answered" if a study came to its end without a single value; "failures in
            a row"; with work left, "interrupted" after a first SIGINT and "terminated" after a first SIGTERM (what was
            in flight has been recorded; after a second one it is withdrawn, and what is repeatable will be measured
            again on resume), or "out of time", which withdraws it too.

        Raises:
            MatloopError: a strategy or the ledger is in trouble; what was in flight has been recorded, unless it was
                stopped. LedgerUnwritable, OutOfReach: a disk was out of reach for longer than `patience_s`, or a stop
                was asked for meanwhile; what could be recorded is.
        """
        self.outcome = ""
        with self.stop.taking_signals():
            self.outcome = self._run()
        return self.outcome

    def _run(self) -> str:
        history = self.ledger.history
        observer = Guarded(self.observer)
        outage = Outage(patience_s=self.patience_s, observer=observer, stop=self.stop)
        self.ledger.wait_with(outage.endure)
        started_later = set(history.counts)
        for index, plan in enumerate(self.plans):
            later = {p.name for p in self.plans[index + 1 :] if not p.aside}
            if history.ended(plan.name) and later & started_later:
                continue  # later studies were built on its outcome
            if self.stop.stopping and not history.ended(plan.name):
                return self._stopped()
            try:
                study = outage.endure(partial(self._build, plan))
            except KeyboardInterrupt:
                return self._stopped()
            ending = self._loop(study, observer).run()
            if ending != "finished" and not (plan.aside and ending in FRUITLESS):  # later studies might build on it
                return self._stopped() if ending == INTERRUPTED else ending
        return "finished"

    def _build(self, plan: Plan) -> Study:
        with self.stop.breakable():
            return plan.build(self.ledger.history, ArtifactStore(self.artifacts))

    def _stopped(self) -> str:
        if self.stop.closing:
            return "out of time"
        return "terminated" if self.stop.first == signal.SIGTERM else "interrupted"

    def _loop(self, study: Study, observer: Observer) -> Loop:
        return Loop(
            study,
            ledger=self.ledger,
            executor=self.executor,
            slots=self.slots,
            seed=self.seed,
            artifacts=self.artifacts,
            observer=observer,
            stop=self.stop,
            inbox=self.inbox,
            patience_s=self.patience_s,
        )
