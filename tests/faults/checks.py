"""What must hold after every run, whatever struck it; each breach is a sentence."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import read
from tests.faults.course import Course
from tests.faults.diary import entries
from tests.faults.plan import CAMPAIGNS

FILES = {"ledger.db", "ledger.db.lock", "ledger.db.writer", "ledger.db-wal", "ledger.db-shm", "ledger.db-journal"}
FILES |= {"artifacts", "trials", "report.html", "trials.log", "serve.token"}
TRACEBACK = re.compile(r"(?:^|\n)(?!Exception ignored)[^\n]*\nTraceback|^Traceback")
"""But for one that Python prints by itself of an interruption in a library that cannot pass it on."""

SIGNALLED = {-signal.SIGTERM: 143, -signal.SIGINT: 130}
"""Before it can take them, these signals end a process by themselves; a shell shows the same codes."""


def history_of(course: Course, breaches: list[str]) -> History | None:
    """The record, if it can be read; a breach if it cannot although something was begun."""
    if not course.ledger.exists() and not entries(course.diary, "acknowledged"):
        return None
    try:
        return read(course.ledger)
    except MatloopError as error:
        if entries(course.diary):
            breaches.append(f"the ledger cannot be read: {error}")
        return None


def endings(course: Course) -> Iterator[str]:
    """How the processes ended, and what they left."""
    first = len(course.first)
    for number, ended in enumerate(course.ends):
        allowed = course.plan.kind.codes if number < first else frozenset({0})
        if course.plan.odd or (course.plan.scene in CAMPAIGNS and not course.plan.repeatable):
            allowed |= {3}  # all that was measured may have been lost
        if course.plan.scene == "rest":
            allowed |= {130}  # the suite ends the server, which may not have served yet
        name = f"process {number + 1}"
        if ended.hung:
            yield f"{name} hung"
        elif SIGNALLED.get(ended.code, ended.code) not in allowed:
            yield f"{name} ended with {ended.code}, expected {sorted(allowed)}"
        if TRACEBACK.search(ended.text):
            yield f"{name} printed a traceback"
        if ended.code > 0 and ended.code not in SIGNALLED.values() and not ended.text.strip():
            yield f"{name} ended with {ended.code} without a word"
    yield from course.readers
    if course.strays:
        yield f"processes were left behind: {course.strays}"


def tidy(course: Course) -> Iterator[str]:
    """What lies about, but for what a process that was killed could not put away."""
    kind = course.plan.kind
    killed = any(ended.code < 0 for ended in course.ends) or kind.action in ("kill", "torn") or kind.role == "worker"
    if not killed and (left := sorted(path.name for path in course.temporary.rglob("*"))):
        yield f"temporary files were left behind: {left}"
    parts = {path.name for path in course.results.glob("*.tmp")} if killed or "unlink" in kind.calls else set()
    if unknown := {path.name for path in course.results.iterdir()} - FILES - parts:
        yield f"the results hold {sorted(unknown)}, which is not theirs"
    artifacts = course.results / "artifacts"
    partial = sorted(path.name for path in artifacts.iterdir() if len(path.name) != 64) if artifacts.exists() else []
    if partial and not killed and "unlink" not in kind.calls:
        yield f"parts of artifacts were left behind: {partial}"
    trials = course.results / "trials"
    if trials.exists() and (folders := sorted(path.name for path in trials.iterdir())):
        yield f"folders of trials were left behind: {folders}"


def described(course: Course) -> str:
    """The run in words, for the report of a breach."""
    plan = course.plan
    names = ("network", "repeatable", "artifacts", "trials", "sleep_s", "span", "gap_s")
    names += ("program", "again", "reader")
    details = {name: getattr(plan, name) for name in names}
    details |= {"moment": round(plan.moment, 3), "odd": dict(plan.odd), "struck": course.struck}
    details |= {"decisions": course.decisions}
    details |= {"ends": [(ended.code, round(ended.seconds, 1)) for ended in course.ends]}
    return f"{plan.scene}, {plan.kind.name}, {json.dumps(details)}"
