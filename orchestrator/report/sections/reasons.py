"""Why each was proposed, in the words and numbers recorded before it was measured, beside what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.orchestrator.report import text
from matloop.orchestrator.report.content import Account, Bar, Block, Prose, Section
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective, Trial

SHOWN = 40
"""Accounts on the page: the latest ones, and the best trial's."""


def section(study: Study) -> Section | None:
    """An account that opens for each explained trial, the latest first; None if none was explained."""
    explained = [t for t in (*study.finished, *study.running, *study.cancelled) if explanation(t)]
    if not explained:
        return None
    explained.sort(key=lambda t: -t.id)
    best = study.best()
    shown = explained[:SHOWN]
    if best in explained and best not in shown:
        shown = [*shown[:-1], best]
    lead = (
        "Recorded when the point was proposed, before it was measured. An interval is expected to hold 90\u202f% of "
        "measurements; bars show how much each parameter moved the prediction away from the mean over the points "
        "measured till then."
    )
    if len(explained) > len(shown):
        lead += f" The latest {len(shown)} of {len(explained):,}{' and the best' if best in shown[-1:] else ''}."
    blocks: list[Block] = [Prose(lead), *(account(study, t, starred=t is best) for t in shown)]
    return Section("Why each was proposed", tuple(blocks))


def explanation(trial: Trial) -> Mapping[str, Any]:
    """What was recorded; empty if nothing was, or by something else of that name."""
    found = trial.extra.get("explanation")
    return found if isinstance(found, Mapping) else {}


def account(study: Study, trial: Trial, *, starred: bool = False) -> Account:
    """One trial's."""
    found = explanation(trial)
    where = text.compact(trial.planned if trial.planned is not None else trial.point, 150)
    facts = [
        ("Expected", "; ".join(_expected(o, trial, found) for o in study.objectives if _predicted(o, trial))),
        ("Reason", _sentence(trial.reason)),
        ("Novelty", _sentence((found.get("novelty") or {}).get("text", ""))),
        ("Nearest", _nearest(study, found)),
        ("Choice", _choice(found)),
        ("Feasible", f"{text.percent(found['feasible'])} chance to work" if _number(found.get("feasible")) else ""),
        ("Done instead", text.compact(trial.point, 150) if trial.planned is not None else ""),
    ]
    return Account(
        title=f"Trial {trial.id}{', the best' if starred else ''}",
        where=where,
        outcome=_outcome(study, trial, found),
        facts=tuple((label, words) for label, words in facts if words),
        bars=_bars(study, found),
    )


def _predicted(objective: Objective, trial: Trial) -> bool:
    return trial.prediction is not None and objective.name in trial.prediction.mean


def _expected(objective: Objective, trial: Trial, found: Mapping[str, Any]) -> str:
    assert trial.prediction is not None
    mean = trial.prediction.mean[objective.name]
    bounds = (found.get("interval") or {}).get(objective.name)
    between = f", 90\u202f% between {text.number(bounds[0])} and {text.number(bounds[1])}" if bounds else ""
    return f"{text.name(objective)} {text.value(objective, mean)}{between}"


def _outcome(study: Study, trial: Trial, found: Mapping[str, Any]) -> str:
    """What came of it, and whether the interval held."""
    if trial.state == "running":
        return "waiting for its result"
    if trial.state == "cancelled":
        return text.outcome(trial)
    if trial.values is None:
        return f"failed: {text.clip(trial.failure.message, 60)}" if trial.failure else "failed"
    parts = []
    for o in study.objectives:
        bounds = (found.get("interval") or {}).get(o.name)
        measured = trial.values.get(o.name)
        if measured is None:
            parts.append(f"{text.name(o)} still to come")
            continue
        held = ""
        if bounds and trial.planned is None and o.name not in trial.censored:
            held = " (as expected)" if bounds[0] <= measured <= bounds[1] else " (outside its interval)"
        broken = f" (not {o.limits})" if o.kept(measured, trial.censored.get(o.name)) is False else ""
        parts.append(f"{text.measured(o, trial)}{held}{broken}")
    return "measured " + ", ".join(parts) + (", done differently" if trial.planned is not None else "")


def _nearest(study: Study, found: Mapping[str, Any]) -> str:
    usual = (found.get("novelty") or {}).get("typical") or 0.0
    parts = []
    for one in found.get("nearest") or ():
        values = ", ".join(
            text.value(o, one["values"][o.name]) for o in study.objectives if o.name in one.get("values", {})
        )
        apart = f", {text.number(one['distance'] / usual)} usual distances away" if usual > 0 else ""
        parts.append(f"trial {one['trial']}{f' ({values}{apart})' if values else ''}")
    return "; ".join(parts)


def _choice(found: Mapping[str, Any]) -> str:
    chosen = found.get("acquisition") or {}
    words = _sentence(chosen.get("text", ""))
    if second := chosen.get("runner_up"):
        words += f" The next best was {text.compact(second['point'], 120)}."
    return words


def _bars(study: Study, found: Mapping[str, Any]) -> tuple[Bar, ...]:
    """Effects, each as a share of the largest of the same objective."""
    known = {o.name: o for o in study.objectives}
    drivers = [d for d in found.get("drivers") or () if d.get("objective") in known]
    largest: dict[str, float] = {}
    for d in drivers:
        largest[d["objective"]] = max(largest.get(d["objective"], 0.0), abs(d["effect"]))
    return tuple(
        Bar(
            label=d["parameter"] + (f" → {text.name(known[d['objective']])}" if len(known) > 1 else ""),
            value=f"{'+' if d['effect'] > 0 else ''}{text.value(known[d['objective']], d['effect'])}",
            share=d["effect"] / (largest[d["objective"]] or 1.0),
        )
        for d in drivers
    )


def _sentence(words: str) -> str:
    words = words.strip()
    return words[:1].upper() + words[1:] + ("" if not words or words.endswith(".") else ".")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
