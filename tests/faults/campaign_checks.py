"""What must hold of a campaign that a machine measures, beside the diary of what its driver really did."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.trial import Trial
from tests.faults.campaigns import FAILURES
from tests.faults.course import STUDY, Course
from tests.faults.diary import entries
from tests.faults.driver import ODD

DIED = {"crash", "lost", "uncertain"}
"""Causes of failures that say how an evaluation ended, and nothing about the point."""


def acknowledged(course: Course, history: History) -> Iterator[str]:
    """Nothing that was acknowledged is lost, or acknowledged again."""
    seen: set[int] = set()
    for entry in entries(course.diary, "acknowledged"):
        number = entry["trial"]
        if number in seen:
            yield f"trial {number} was acknowledged twice"
        seen.add(number)
        if number >= len(history.trials):
            yield f"trial {number} was acknowledged and is not on record"
            continue
        trial = history.trials[number]
        values = dict(trial.values) if trial.values else None
        told, known = (entry["state"], entry["values"], entry["cost"]), (trial.state, values, trial.cost)
        if told != known:
            yield f"trial {number} was acknowledged as {told}, on record is {known}"


def breaches(course: Course, history: History) -> Iterator[str]:
    """What is wrong with a campaign that has come to its end."""
    yield from acknowledged(course, history)
    yield from _honest(course, history)
    yield from _counted_once(course, history)
    yield from _true(course, history)
    yield from _not_repeated(course)
    yield from _artifacts(course, history)


def undecided(course: Course) -> list[int]:
    """Trials that may have happened."""
    return [trial.id for trial in read(course.ledger).of(STUDY) if trial.failure and trial.failure.cause == "uncertain"]


def _honest(course: Course, history: History) -> Iterator[str]:
    """The exit codes say what came of it."""
    first, last, plan = course.first[0].code, course.last[0].code, course.plan
    if (last == 0) != any(trial.values for trial in history.of(STUDY)):
        yield f"it ended with {last}, and {sum(bool(trial.values) for trial in history.of(STUDY))} were answered"
    if plan.kind.useless and (first == 4) != (plan.trials >= FAILURES):
        yield f"it ended with {first} after {plan.trials} trials that all failed"


def _counted_once(course: Course, history: History) -> Iterator[str]:
    plan, trials = course.plan, history.of(STUDY)
    repeated = sum(word == "repeat" for word in course.decisions.values())
    uncharged = sum(trial.failure is not None for trial in trials) if plan.kind.useless else 0
    if [trial.number for trial in trials] != list(range(plan.trials + repeated + uncharged)):
        yield f"expected {plan.trials} + {repeated} + {uncharged} trials, got {[trial.number for trial in trials]}"
    for number, word in course.decisions.items():
        again = [trial for trial in trials if number in trial.parents]
        if len(again) != (word == "repeat"):
            yield f"trial {number} was decided {word!r}: {len(again)} trials came of it"
        elif again and again[0].point != history.trials[number].point:
            yield f"trial {number} was repeated at another point"
    if open_trials := [trial.id for trial in trials if trial.state == "running"]:
        yield f"trials {open_trials} have no result at the end"
    if len(set(history.finished)) != len(history.finished):
        yield f"results are counted twice: {history.finished}"
    recorded = [trial.values["loss"] for trial in trials if trial.values and not _odd(course, trial)]
    if twice := [value for value, times in Counter(recorded).items() if times > 1]:
        yield f"{twice} are each on record twice"
    if (ends := [session.ended for session in history.sessions][-1:]) != ["finished"]:
        yield f"the last session's end is on record as {ends}"


def _true(course: Course, history: History) -> Iterator[str]:
    """What is on record is what was measured, and failures are those of the evaluations."""
    returned: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries(course.diary, "returned"):
        returned[entry["trial"]].append(entry)
    for trial in history.of(STUDY):
        if odd := _odd(course, trial):
            expected = ODD[odd].ends
            if expected and trial.state != expected:
                yield f"trial {trial.id} returned {odd!r}: expected it {expected}, got {trial.state} ({trial.failure})"
        elif trial.values is not None:
            if (trial.values["loss"], trial.cost) not in [(e["loss"], e["cost"]) for e in returned[trial.id]]:
                yield f"trial {trial.id} has {dict(trial.values)} on record, which was never measured"
        elif trial.failure is not None:
            yield from _failed(course, trial)


def _failed(course: Course, trial: Trial) -> Iterator[str]:
    plan, kind = course.plan, course.plan.kind
    assert trial.failure is not None
    if kind.useless:
        if "lamp" not in trial.failure.message:
            yield f"trial {trial.id} failed for another reason: {trial.failure}"
    elif trial.failure.cause not in DIED:
        yield f"trial {trial.id} failed although its driver returned: {trial.failure}"
    elif _spared(course):
        yield f"trial {trial.id} was lost to a fault that is not its own: {trial.failure}"
    elif plan.repeatable:
        yield f"trial {trial.id} failed although it may be repeated: {trial.failure}"


def _not_repeated(course: Course) -> Iterator[str]:
    begun = Counter(entry["trial"] for entry in entries(course.diary, "begun"))
    restarts, finished = _restarts(course), set[int]()
    for entry in entries(course.diary):
        if entry["what"] == "acknowledged":
            finished.add(entry["trial"])
        elif entry["what"] == "begun" and entry["trial"] in finished:
            yield f"trial {entry['trial']} was begun again after its result was acknowledged"
    for number, times in begun.items():
        if not course.plan.repeatable and times > 1:
            yield f"trial {number} was exposed {times} times, and it may not be repeated"
        attempts = 1 + restarts[number]
        if times > (2 * attempts if course.plan.repeatable and course.plan.scene == "local" else attempts):
            yield f"trial {number} was begun {times} times, on record are {attempts}"  # a fresh child may try once more
        if _spared(course) and times > 1:
            yield f"trial {number} was measured {times} times over a fault that is not its own"


def _spared(course: Course) -> bool:
    """Whether the fault may have cost no evaluation.

    What a program has left in its folder cannot be read while the disk is out of reach; then it is run again.
    """
    plan = course.plan
    return plan.kind.spares and not any(ended.code for ended in course.ends) and not (plan.program and plan.kind.calls)


def _restarts(course: Course) -> Counter[int]:
    with closing(sqlite3.connect(course.ledger)) as db:
        return Counter(number for (number,) in db.execute("SELECT trial FROM events WHERE kind = 'started'"))


def _artifacts(course: Course, history: History) -> Iterator[str]:
    known = {entry["sha256"] for entry in entries(course.diary, "returned")}
    for trial in history.of(STUDY):
        for name, sha256 in trial.artifacts.items():
            path = course.results / "artifacts" / sha256
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                yield f"trial {trial.id}: artifact {name!r} is not there as it was stored"
            if sha256 not in known and not _odd(course, trial):
                yield f"trial {trial.id}: artifact {name!r} was never returned"
        if trial.values and not trial.artifacts and course.plan.artifacts and not _odd(course, trial):
            yield f"trial {trial.id} has lost its artifact"


def _odd(course: Course, trial: Trial) -> str:
    return course.plan.odd.get(trial.number, "")
