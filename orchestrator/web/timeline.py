"""What happened to one experiment, event by event: who asked, who reported what, and what it had said before."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from matloop.orchestrator.lab.fields import shown
from matloop.orchestrator.ledger.history import Amendment, Completion
from matloop.orchestrator.report.text import SIGNS
from matloop.orchestrator.trial import Trial
from matloop.orchestrator.web.cards import Cards, moment


@dataclass(frozen=True, slots=True)
class Happened:
    """One event."""

    when: datetime
    what: str
    who: str = ""
    detail: str = ""


def timeline(
    trial: Trial, amendments: Sequence[Amendment], cards: Cards, completions: Sequence[Completion] = ()
) -> list[Happened]:
    """Events in order.

    Args:
        trial: as it is.
        amendments: of this trial, in order.
        cards: for the inputs in words.
        completions: of this trial, in order.
    """
    found = []
    if trial.extra.get("origin") != "reported":
        planned = trial.planned if trial.planned is not None else trial.point
        found.append(
            Happened(
                moment(trial.proposed_at), "recommended", str(trial.extra.get("asked_by", "")), cards.line(planned)
            )
        )
    first, *others = [*(amendment.before for amendment in amendments), trial]
    if first.finished_at is not None:
        later = {name for told in completions for name in told.names}
        words = _outcome(first, cards, later) or _outcome(first, cards)
        found.append(Happened(moment(first.finished_at), words, first.worker, _detail(first, cards)))
    known = {amendment.time: amendment.before for amendment in amendments}
    for told in completions:
        then = next((before for time, before in known.items() if time > told.time), trial)
        everything = {o.name for o in cards.objectives}
        words = _outcome(then, cards, everything - set(told.names))
        found.append(Happened(moment(told.time), f"measured later: {words}", told.by))
    for amendment, after in zip(amendments, others, strict=True):
        what = _outcome(after, cards)
        if after.state != "cancelled":
            what = f"corrected: {what}"
        found.append(Happened(moment(amendment.time), what, amendment.by, _detail(after, cards, amendment.reason)))
    return sorted(found, key=lambda event: event.when)


def _outcome(trial: Trial, cards: Cards, without: Collection[str] = ()) -> str:
    if trial.values is not None:
        told = [o for o in cards.objectives if o.name in trial.values and o.name not in without]
        parts = []
        for o in told:
            sign = SIGNS.get(trial.censored.get(o.name, ""), "")
            name = f"{o.name} " if len(told) < len(cards.objectives) else ""
            parts.append(f"{name}{sign}{shown(trial.values[o.name])} {o.unit}".rstrip())
        return ", ".join(parts)
    if trial.failure is not None:
        return f"failed: {trial.failure.message}"
    return "set aside" if trial.was_done else "taken off the list"


def _detail(trial: Trial, cards: Cards, reason: str = "") -> str:
    parts = []
    if trial.planned is not None:
        parts.append(f"done with {cards.line(trial.point)}")
    elif trial.extra.get("origin") == "reported":
        parts.append(cards.line(trial.point))
    parts += dict.fromkeys(str(said) for said in (reason, trial.info.get("note")) if said)
    return "; ".join(parts)
