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
    completed  values that were still to come were measured, too; with the whole result as it is now
    voided     its result was set aside: from here on it says nothing about the point, and its cost stays
    missing    it was proposed, but that cannot be read any more (see `repair`)
    decided    a person says what follows its failure with the cause `uncertain`: counted or repeat
    lost       this attempt died with its worker or manager
    withdrawn  this attempt was stopped on purpose; it does not count; with `begun: false` if no worker had begun it
    noted      anything else worth keeping, e.g. the start and end of a study
    closed     the session ended in order
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from matloop.orchestrator.errors import LedgerCorrupt
from matloop.orchestrator.ledger.trials import Trials, decode
from matloop.orchestrator.trial import Objective, State, Trial

_UNKNOWN = '{"number":-1,"point":{},"seed":0,"ask":-1}'
_LOST = '{"info":{"note":"what was to be measured cannot be read any more"}}'


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


class Completion(NamedTuple):
    """Values that came after a trial's first ones.

    Attributes:
        names: of the objectives that were told now.
        request: that it was told with; see `matloop.orchestrator.lab.results.Result`.
    """

    trial: int
    time: float
    by: str
    names: tuple[str, ...]
    request: str = ""


Verdict = Literal["counted", "repeat"]
"""What follows a trial that may have happened: it did, without a result; it is done again as a new trial."""

REPEATS = "repeats"
"""Key in `extra` of a trial that a person had repeated: the trial that it repeats."""


class Decision(NamedTuple):
    """A person's word on a trial that may have happened."""

    trial: int
    time: float
    verdict: Verdict
    by: str
    reason: str


@dataclass(slots=True)
class History:
    """State after the events applied so far.

    Attributes:
        trials: by id.
        finished: ids in the order in which their results were recorded, which is the order of `tell`; cancelled trials
            are among them, amended ones keep their place.
        asks: number of asks that led to proposals, by study.
        counts: number of proposals and reports, by study.
        elapsed_s: time for which each study has run, over all sessions, up to its last event, s.
        completions: values that came later than others of their trial, in order.
        decisions: by trial.
        uncharged: by study, the failures that ended it. Whatever caused them is put right: they are not charged to the
            budget, the strategy is not told of them again, and their points may be proposed again.
        last_seq: number of the last event.
        missing: ids of trials of which nothing can be read any more; they keep their number, and are no study's.
        damage: why the file cannot be read further than this; empty if all of it was.
    """

    trials: Sequence[Trial] = field(default_factory=Trials)
    finished: list[int] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    lost: list[Loss] = field(default_factory=list)
    amendments: list[Amendment] = field(default_factory=list)
    completions: list[Completion] = field(default_factory=list)
    missing: set[int] = field(default_factory=set)
    asks: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    elapsed_s: dict[str, float] = field(default_factory=dict)
    decisions: dict[int, Decision] = field(default_factory=dict)
    uncharged: dict[str, set[int]] = field(default_factory=dict)
    last_seq: int = 0
    damage: str = ""
    _resumed_at: dict[str, tuple[float, float]] = field(default_factory=dict)
    _withdrawn: dict[int, bool] = field(default_factory=dict)  # whether a worker may have begun it
    _uncertain: list[int] = field(default_factory=list)
    _repeated: set[int] = field(default_factory=set)

    def of(self, study: str) -> list[Trial]:
        """Trials of one study, in order of proposal."""
        return [t for t in self.trials if t.study == study]

    def told(self, study: str) -> Iterator[Trial]:
        """Finished trials of one study, in the order in which their results were recorded; without the `uncharged`."""
        free = self.uncharged.get(study, ())
        return (t for i in self.finished if (t := self.trials[i]).study == study and i not in free)

    def running(self, study: str) -> list[Trial]:
        """Trials of one study that have no result yet, in order of proposal."""
        return self._trials.running(study)

    def state(self, number: int) -> State:
        """What became of a trial; to be asked of many, where only some are looked at."""
        return self._trials.state(number)

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
        return tuple(objective(name, o) for name, o in recorded.items())

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

    def elapsed(self, study: str, now: float) -> float:
        """Time for which a study has run, over all sessions, s, also while nothing is recorded.

        Args:
            study: its name.
            now: Unix time by the clock of the events, s.
        """
        if study not in self._resumed_at:
            return self.elapsed_s.get(study, 0.0)
        before, resumed_at = self._resumed_at[study]
        return before + max(0.0, now - resumed_at)

    def may_have_begun(self, trial: Trial) -> bool:
        """Whether a worker may have begun the trial's last attempt; False only where that is certain."""
        return self._withdrawn.get(trial.id, True)

    def undecided(self) -> list[Trial]:
        """Trials that may have happened, on which a person has yet to decide."""
        waiting = (self.trials[number] for number in self._uncertain if number not in self.decisions)
        return [trial for trial in waiting if trial.failure is not None and trial.failure.cause == "uncertain"]

    def uncounted(self, study: str) -> set[int]:
        """Ids of a study's trials that do not count against its number of trials: the failures that ended it, and what
        a person wants repeated, which the repetition stands for."""
        wanted = {d.trial for d in self.decisions.values() if d.verdict == "repeat"}
        return self.uncharged.get(study, set()) | {number for number in wanted if self.trials[number].study == study}

    def to_repeat(self, study: str) -> list[Trial]:
        """Trials of one study that a person wants repeated and that were not yet."""
        wanted = (d.trial for d in self.decisions.values() if d.verdict == "repeat" and d.trial not in self._repeated)
        return [trial for number in wanted if (trial := self.trials[number]).study == study]

    def apply(self, event: Event) -> None:
        """Move on by one event; where it does not fit, nothing has changed.

        Raises:
            LedgerCorrupt: the event does not fit what came before.
        """
        seq, at, kind, study, trial, body = event
        if seq != self.last_seq + 1:
            raise LedgerCorrupt(f"expected event {self.last_seq + 1} of the ledger, got {seq}: rows are missing")
        try:
            if trial is None:
                self._campaign_event(event, decode(body))
            else:
                _DEEDS.get(kind, History._trial_event)(self, event)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise LedgerCorrupt(
                f"event {seq} ({kind}) does not have the form of one: {type(error).__name__}: {error}"
            ) from error
        if kind not in _TIMELESS:
            self._pass_time(study, at, kind)
        self.last_seq = seq

    def _pass_time(self, study: str, at: float, kind: str) -> None:
        if self.sessions:
            self.sessions[-1].last_at = at
        if study in self._resumed_at:
            before, resumed_at = self._resumed_at[study]
            self.elapsed_s[study] = before + (at - resumed_at if at > resumed_at else 0.0)
            if kind == "noted" and self.notes[-1].kind == "study_ended":
                del self._resumed_at[study]

    def _campaign_event(self, event: Event, body: dict[str, Any]) -> None:
        if event.kind == "opened":
            self.sessions.append(Session(event.time, event.time, body["config"], body["environment"]))
            self._resumed_at.clear()
        elif event.kind == "closed":
            if not self.sessions:
                raise LedgerCorrupt("a session ends of which no beginning is known")
            self.sessions[-1].ended = body["reason"]
        elif event.kind == "noted":
            note = Note(event.time, event.study, body["kind"], body["data"])
            if note.kind == "study_started":
                self._resumed_at[event.study] = (self.elapsed_s.get(event.study, 0.0), event.time)
            elif note.kind == "study_ended":
                uncharged = set(note.data.get("uncharged", ()))
                self.uncharged.setdefault(event.study, set()).update(uncharged)
            self.notes.append(note)
        else:
            raise _unknown(event)

    @property
    def _trials(self) -> Trials:
        assert isinstance(self.trials, Trials)
        return self.trials

    def _propose(self, event: Event) -> None:
        _, at, kind, study, trial, body = event
        if trial != len(self.trials):
            raise LedgerCorrupt(f"expected trial {len(self.trials)} to be {kind} next, got {trial}")
        repeated = -1
        if _REPEATS in body and (whole := decode(body))["ask"] < 0 and kind == "proposed":
            repeated = int(whole.get("extra", {}).get(REPEATS, -1))
        ask, number = self._trials.propose(study, at, body)
        self.asks[study] = max(self.asks.get(study, 0), ask + 1)
        self.counts[study] = number + 1
        if repeated >= 0:
            self._repeated.add(repeated)

    def _miss(self, event: Event) -> None:
        if event.trial != len(self.trials):
            raise LedgerCorrupt(f"expected trial {len(self.trials)} to be missing next, got {event.trial}")
        self._trials.propose("", event.time, _UNKNOWN)
        self._trials.finish(event.trial, "cancelled", _LOST)
        self.missing.add(event.trial)

    def _amend(self, event: Event) -> None:
        number, trials = event.trial, self._trials
        assert number is not None
        if not 0 <= number < len(trials) or trials.is_running(number):
            raise LedgerCorrupt(f"event {event.seq} amends trial {number}, which has no result")
        if number in self.missing:
            raise LedgerCorrupt(f"event {event.seq} amends trial {number}, of which nothing can be read any more")
        before, body, state = trials[number], decode(event.body), corrected_state(event)
        said = body.get("amendment") or {"by": body["worker"]}
        amendment = Amendment(number, said.get("at", event.time), before, said["by"], said.get("reason", ""))
        trials.amend(number, state, event.body)
        self.amendments.append(amendment)
        if state != "cancelled":  # it has its place in the budget, even if its failure had none
            self.uncharged.get(event.study, set()).discard(number)

    def _complete(self, event: Event) -> None:
        number, trials = event.trial, self._trials
        assert number is not None
        if not 0 <= number < len(trials) or trials.state(number) != "answered":
            raise LedgerCorrupt(f"event {event.seq} completes trial {number}, which has no values")
        said = decode(event.body)["completion"]
        told = Completion(number, event.time, said["by"], tuple(said["names"]), said.get("request", ""))
        trials.amend(number, "answered", event.body)
        self.completions.append(told)

    def _note_uncertain(self, number: int) -> None:
        failure = self.trials[number].failure
        if failure is not None and failure.cause == "uncertain":
            self._uncertain.append(number)

    def _decide(self, event: Event) -> None:
        number, body = event.trial, decode(event.body)
        assert number is not None
        if number not in self._uncertain or number in self.decisions:
            raise LedgerCorrupt(f"event {event.seq} decides on trial {number}, on which there is nothing to decide")
        self.decisions[number] = Decision(number, event.time, body["verdict"], body["by"], body["reason"])

    def _trial_event(self, event: Event) -> None:
        seq, at, kind, _, number, body = event
        assert number is not None
        trials = self._trials
        if not trials.is_running(number):
            raise LedgerCorrupt(f"event {seq} ({kind}) is about trial {number}, which is not running")
        if kind in ("answered", "failed", "cancelled"):
            trials.finish(number, kind, body)  # type: ignore[arg-type]
            self.finished.append(number)
            if kind == "failed" and '"uncertain"' in body:
                self._note_uncertain(number)
        elif kind == "started":
            trials.restart(number, decode(body)["attempt"])
        elif kind == "lost":
            self.lost.append(Loss(number, trials.attempt(number), at, decode(body)["message"]))
        elif kind == "withdrawn":
            self._withdrawn[number] = bool(decode(body).get("begun", True))
            return
        else:
            raise _unknown(event)
        self._withdrawn.pop(number, None)


_DEEDS: dict[str, Callable[[History, Event], None]] = {
    "proposed": History._propose,
    "reported": History._propose,
    "missing": History._miss,
    "amended": History._amend,
    "completed": History._complete,
    "voided": History._amend,
    "decided": History._decide,
}
_REPEATS = f'"{REPEATS}"'
_TIMELESS = frozenset({"amended", "completed", "voided"})
"""Kinds of events that take no time of the study's, and none of the session's."""


def objective(name: str, recorded: Mapping[str, Any]) -> Objective:
    """An objective as the resolved campaign has it."""
    least, most, direction = recorded.get("at_least"), recorded.get("at_most"), recorded.get("direction")
    return Objective(
        name,
        direction or ("maximise" if most is None and least is not None else "minimise"),
        recorded.get("unit") or "",
        recorded.get("scale") or "auto",
        at_least=least,
        at_most=most,
        sought=direction is not None or (least is None and most is None),
    )


def corrected_state(event: Event) -> State:
    """State of a trial once a person has corrected it (`amended`) or set it aside (`voided`)."""
    if event.kind == "voided":
        return "cancelled"
    return "failed" if "failure" in decode(event.body) else "answered"


def _unknown(event: Event) -> LedgerCorrupt:
    return LedgerCorrupt(f"unknown kind of event {event.kind!r}; was the ledger written by a newer matloop?")


def replay(events: Iterable[Event], *, keep: bool = False) -> History:
    """State after all the events; `keep` is that of `Trials`.

    Raises:
        LedgerCorrupt: an event does not fit what came before it.
    """
    history = History(trials=Trials(keep=keep))
    advance(history, events)
    return history


def advance(history: History, events: Iterable[Event]) -> None:
    """Apply events; where one does not fit, those before it have been applied.

    Raises:
        LedgerCorrupt: an event does not fit what came before it.
    """
    collecting = gc.isenabled()
    gc.disable()  # nothing here is garbage, and looking for it takes a third of the time
    try:
        for event in events:
            history.apply(event)
    finally:
        if collecting:
            gc.enable()
