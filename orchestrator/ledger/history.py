"""What happened, as a replay of the ledger's events: the campaign's whole state and nothing besides.

Events, in the order in which they were made durable:
    opened     a session began: config, environment
    proposed   a point was chosen and is about to be measured (attempt 1)
    started    it is about to be measured again (attempt 2, 3, ...)
    reported   a person measured a point that nobody proposed; its result follows at once
    answered   it was measured; with a point if that differs from the proposed one
    failed     it will not be measured: the failure is its result
    cancelled  it will not be done; that says nothing about the point
    amended    its result was wrong, this is the right one; the last one counts
    voided     its result was set aside: from here on it says nothing about the point, and its cost stays
    lost       this attempt died with its worker or manager
    withdrawn  this attempt was stopped on purpose; it does not count
    noted      anything else worth keeping, e.g. the start and end of a study
    closed     the session ended in order
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from matloop.orchestrator.errors import LedgerCorrupt
from matloop.orchestrator.ledger.trials import Trials, decode
from matloop.orchestrator.trial import Objective, State, Trial


class Event(NamedTuple):
    """One row of the ledger; `time` is Unix time in s, `body` a JSON object as text."""

    seq: int
    time: float
    kind: str
    study: str
    trial: int | None
    body: str


@dataclass(slots=True)
class Session:
    """One run of the manager; `ended` is None if it was killed (or is still running)."""

    opened_at: float
    last_at: float
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    ended: str | None = None


class Note(NamedTuple):
    """A remark about a study."""

    time: float
    study: str
    kind: str
    data: Mapping[str, Any]


class Loss(NamedTuple):
    """An attempt that died with its worker or manager."""

    trial: int
    attempt: int
    time: float
    message: str


class Amendment(NamedTuple):
    """A result that was corrected or set aside, when, by whom and why; `before` is the trial as it was, `trials` has it
    as it is."""

    trial: int
    time: float
    before: Trial
    by: str = ""
    reason: str = ""


@dataclass(slots=True)
class History:
    """State after the events applied so far.

    Attributes:
        trials: by id.
        finished: ids in the order in which their results were recorded, which is the order of `tell`; cancelled trials
            are among them, amended ones keep their place.
        asks: number of asks that led to proposals, by study.
        elapsed_s: time for which each study has run, over all sessions, s.
        last_seq: number of the last event.
    """

    trials: Sequence[Trial] = field(default_factory=Trials)
    finished: list[int] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    lost: list[Loss] = field(default_factory=list)
    amendments: list[Amendment] = field(default_factory=list)
    asks: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    elapsed_s: dict[str, float] = field(default_factory=dict)
    last_seq: int = 0
    _resumed_at: dict[str, tuple[float, float]] = field(default_factory=dict)
    _withdrawn: set[int] = field(default_factory=set)

    def of(self, study: str) -> list[Trial]:
        """Trials of one study, in order of proposal."""
        return [t for t in self.trials if t.study == study]

    def told(self, study: str) -> Iterator[Trial]:
        """Finished trials of one study, in the order in which their results were recorded."""
        return (t for i in self.finished if (t := self.trials[i]).study == study)

    def running(self, study: str) -> list[Trial]:
        """Trials of one study that have no result yet, in order of proposal."""
        return self._trials.running(study)

    def ended(self, study: str) -> Mapping[str, Any] | None:
        """What was noted when the study last ended; None if it has not, or has gone on since."""
        for note in reversed(self.notes):
            if note.study == study and note.kind in ("study_started", "study_ended"):
                return note.data if note.kind == "study_ended" else None
        return None

    def objectives(self, study: str) -> tuple[Objective, ...]:
        """Objectives of a study, as recorded when the campaign was last started; empty if they were not."""
        config = self.sessions[-1].config if self.sessions else {}
        recorded = config.get("studies", {}).get(study, {}).get("objectives") or {}
        return tuple(Objective(name, o["direction"], o.get("unit") or "") for name, o in recorded.items())

    def corrected(self) -> list[tuple[Amendment, Trial]]:
        """Every correction with the trial as it left it, in order."""
        after = {amendment.trial: self.trials[amendment.trial] for amendment in self.amendments}
        found = []
        for amendment in reversed(self.amendments):
            found.append((amendment, after[amendment.trial]))
            after[amendment.trial] = amendment.before
        return found[::-1]

    def withdrawn(self, trial: Trial) -> bool:
        """Whether the trial's last attempt was stopped on purpose and not begun again."""
        return trial.id in self._withdrawn

    def apply(self, event: Event) -> None:
        """Move on by one event.

        Raises:
            LedgerCorrupt: the event does not fit what came before.
        """
        if event.seq != self.last_seq + 1:
            raise LedgerCorrupt(f"expected event {self.last_seq + 1} of the ledger, got {event.seq}: rows are missing")
        self.last_seq = event.seq
        if event.trial is None:
            self._campaign_event(event, decode(event.body))
        elif event.kind in ("proposed", "reported"):
            self._propose(event)
        elif event.kind in ("amended", "voided"):
            self._amend(event)
            return  # which takes up no time of the study's, and none of the last session's
        else:
            self._trial_event(event)
        if self.sessions:
            self.sessions[-1].last_at = event.time
        if event.study in self._resumed_at:
            before, resumed_at = self._resumed_at[event.study]
            self.elapsed_s[event.study] = before + max(0.0, event.time - resumed_at)

    def _campaign_event(self, event: Event, body: dict[str, Any]) -> None:
        if event.kind == "opened":
            self.sessions.append(Session(event.time, event.time, body["config"], body["environment"]))
            self._resumed_at.clear()
        elif event.kind == "closed":
            self.sessions[-1].ended = body["reason"]
        elif event.kind == "noted":
            self.notes.append(Note(event.time, event.study, body["kind"], body["data"]))
            if body["kind"] == "study_started":
                self._resumed_at[event.study] = (self.elapsed_s.get(event.study, 0.0), event.time)
        else:
            raise LedgerCorrupt(f"unknown kind of event {event.kind!r}; was the ledger written by a newer matloop?")

    @property
    def _trials(self) -> Trials:
        assert isinstance(self.trials, Trials)
        return self.trials

    def _propose(self, event: Event) -> None:
        if event.trial != len(self.trials):
            raise LedgerCorrupt(f"expected trial {len(self.trials)} to be {event.kind} next, got {event.trial}")
        ask = self._trials.propose(event.study, event.time, event.body)
        self.asks[event.study] = max(self.asks.get(event.study, 0), ask + 1)
        self.counts[event.study] = self.counts.get(event.study, 0) + 1

    def _amend(self, event: Event) -> None:
        number, trials = event.trial, self._trials
        assert number is not None
        if number >= len(trials) or trials.is_running(number):
            raise LedgerCorrupt(f"event {event.seq} amends trial {number}, which has no result")
        before, body = trials[number], decode(event.body)
        state: State = "cancelled" if event.kind == "voided" else "failed" if "failure" in body else "answered"
        trials.amend(number, state, event.body)
        said = body.get("amendment") or {"by": body["worker"]}
        at, reason = said.get("at", event.time), said.get("reason", "")
        self.amendments.append(Amendment(number, at, before, said["by"], reason))

    def _trial_event(self, event: Event) -> None:
        assert event.trial is not None
        number, trials = event.trial, self._trials
        if not trials.is_running(number):
            raise LedgerCorrupt(f"event {event.seq} ({event.kind}) is about trial {number}, which is not running")
        self._withdrawn.discard(number)
        if event.kind == "started":
            trials.restart(number, decode(event.body)["attempt"])
        elif event.kind == "lost":
            self.lost.append(Loss(number, trials.attempt(number), event.time, decode(event.body)["message"]))
        elif event.kind in ("answered", "failed", "cancelled"):
            trials.finish(number, event.kind, event.body)  # type: ignore[arg-type]
            self.finished.append(number)
        elif event.kind == "withdrawn":
            self._withdrawn.add(number)
        else:
            raise LedgerCorrupt(f"unknown kind of event {event.kind!r}; was the ledger written by a newer matloop?")


def replay(events: Iterable[Event], *, keep: bool = False) -> History:
    """State after all the events; `keep` is that of `Trials`."""
    history = History(trials=Trials(keep=keep))
    collecting = gc.isenabled()
    gc.disable()  # nothing here is garbage, and looking for it takes a third of the time
    try:
        for event in events:
            history.apply(event)
    finally:
        if collecting:
            gc.enable()
    return history
