"""What happened to one experiment, event by event: who asked, who reported what, and what it had said before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from matloop.orchestrator.lab.fields import shown
from matloop.orchestrator.ledger.history import Amendment
from matloop.orchestrator.trial import Trial
from matloop.orchestrator.web.cards import Cards, moment


@dataclass(frozen=True, slots=True)
class Happened:
    """One event."""

    when: datetime
    what: str
    who: str = ""
    detail: str = ""


def timeline(trial: Trial, amendments: Sequence[Amendment], cards: Cards) -> list[Happened]:
    """Events in order.

    Args:
        trial: as it is.
        amendments: of this trial, in order.
        cards: for the inputs in words.
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
        found.append(Happened(moment(first.finished_at), _outcome(first, cards), first.worker, _detail(first, cards)))
    for amendment, after in zip(amendments, others, strict=True):
        what = _outcome(after, cards)
        if after.state != "cancelled":
            what = f"corrected: {what}"
        found.append(Happened(moment(amendment.time), what, amendment.by, _detail(after, cards, amendment.reason)))
    return found


def _outcome(trial: Trial, cards: Cards) -> str:
    if trial.values is not None:
        return ", ".join(f"{shown(trial.values[o.name])} {o.unit}".rstrip() for o in cards.objectives)
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
