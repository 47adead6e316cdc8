"""What went wrong: failures with equal cause and message are one row, with a traceback to open."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.report import ending, statistics, text
from matloop.orchestrator.report.content import Block, Details, Prose, Section, Table
from matloop.orchestrator.trial import Trial

GROUPS = 25
MESSAGE = 240
TRACEBACK = 8000


@dataclass(frozen=True, slots=True)
class Group:
    """Failures that share study, cause and message, in order of id."""

    study: str
    cause: str
    message: str
    trials: list[Trial]


def groups(history: History) -> list[Group]:
    """The commonest first."""
    found: dict[tuple[str, str, str], list[Trial]] = {}
    for trial in history.trials:
        if trial.failure is not None:
            found.setdefault((trial.study, trial.failure.cause, trial.failure.message), []).append(trial)
    return sorted(
        (Group(*key, trials) for key, trials in found.items()), key=lambda g: (-len(g.trials), g.trials[0].id)
    )


def section(history: History) -> Section | None:
    """Table, tracebacks and lost work; None if all went well."""
    found = groups(history)
    if not found and not history.lost:
        return None
    blocks: list[Block] = []
    if found:
        to_decide = [f"{line}, where DIR is the folder of this report." for line in ending.undecided(history, "DIR")]
        blocks += [Prose(sentence) for sentence in (_foreseen(history), *to_decide) if sentence]
        blocks.append(_table(found))
        blocks += [_details(group) for group in found[:GROUPS]]
    if history.lost:
        blocks += _lost(history)
    return Section("Failures and lost work", tuple(blocks))


def _foreseen(history: History) -> str:
    """Stated chances to work against what worked; a lost worker says nothing about the point."""
    pairs = []
    for trial in history.trials:
        stated = (trial.extra.get("explanation") or {}).get("feasible")
        told = trial.values is not None or (trial.failure is not None and trial.failure.informative)
        if stated is not None and told and trial.planned is None:
            pairs.append((float(stated), trial.values is not None))
    if len(pairs) < 3:
        return ""
    worked = sum(w for _, w in pairs)
    low, high = statistics.wilson(worked, len(pairs))
    mean = text.percent(sum(p for p, _ in pairs) / len(pairs))
    return (
        f"{len(pairs):,} recommendations came with a stated chance to work, {mean} "
        f"on average; {text.percent(worked / len(pairs))} of them did (95\u202f% interval {text.percent(low)} to "
        f"{text.percent(high)})."
    )


def _table(found: list[Group]) -> Table:
    rows = [
        (
            str(len(g.trials)),
            g.study,
            g.cause.replace("_", " "),
            text.clip(g.message, MESSAGE),
            str(g.trials[0].id),
            str(g.trials[-1].id),
        )
        for g in found[:GROUPS]
    ]
    caption = f"{text.plural(sum(len(g.trials) for g in found), 'trial')} gave no values; equal messages are one row."
    causes = Counter(cause for g in found for cause in [g.cause.replace("_", " ")] * len(g.trials))
    if len(causes) > 1:
        caption += " By cause: " + ", ".join(f"{cause} {n:,}" for cause, n in causes.most_common()) + "."
    if len(found) > GROUPS:
        caption += f" The {GROUPS} commonest of {len(found):,} messages."
    return Table(("trials", "study", "cause", "message", "first", "last"), rows, "rlllrr", caption, wide=True)


def _details(group: Group) -> Details:
    first = group.trials[0]
    failure = first.failure
    assert failure is not None
    trace = failure.traceback or "(no traceback: the process ended without one)"
    if len(trace) > TRACEBACK:
        trace = f"{trace[: TRACEBACK // 4]}\n…\n{trace[-3 * TRACEBACK // 4 :]}"
    body = f"{trace.rstrip()}\n\npoint: {text.compact(first.point, 600)}\nworker: {first.worker or '–'}"
    return Details(f"Trial {first.id}: {text.clip(group.message, 90)}", body)


def _lost(history: History) -> list[Block]:
    trials = [history.trials[i] for i in dict.fromkeys(loss.trial for loss in history.lost)]
    later = sum(t.state == "answered" for t in trials)
    still = sum(t.state == "running" for t in trials)
    sentence = (
        f"{text.plural(len(history.lost), 'attempt').capitalize()} died with a worker or with the manager, of "
        f"{text.plural(len(trials), 'trial')}: {later:,} answered on a later attempt, {still:,} still open, "
        f"{len(trials) - later - still:,} given up."
    )
    found: dict[str, list[int]] = {}
    for loss in history.lost:
        found.setdefault(loss.message, []).append(loss.trial)
    rows = [
        (str(len(ids)), text.clip(message, MESSAGE), str(min(ids)), str(max(ids)))
        for message, ids in sorted(found.items(), key=lambda item: -len(item[1]))[:GROUPS]
    ]
    return [Prose(sentence), Table(("attempts", "lost because", "first trial", "last trial"), rows, "rlrr", wide=True)]
