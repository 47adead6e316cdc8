"""One run from its number to its verdict."""

from __future__ import annotations

import ctypes
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Final

from tests.faults import campaign_checks, campaigns, checks, door_checks, doors
from tests.faults.course import Course
from tests.faults.plan import CAMPAIGNS, NOTHING, Plan
from tests.faults.process import Blow, Watch, left_behind
from tests.faults.shim import Shim

MOST_STARTS: Final = 5
PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36


@dataclass(frozen=True)
class Measure:
    """How much there is to strike in a run without a fault: calls by kind, and time, s."""

    calls: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class Verdict:
    """What a run came to.

    Attributes:
        seed: its number.
        kind: of the fault.
        scene: where it struck.
        breaches: sentences; none if everything held.
        struck: whether the fault hit something.
        described: the run in words.
        seconds: that it took, s.
        outputs: what was printed, for a breach.
    """

    seed: int
    kind: str
    scene: str
    breaches: list[str]
    struck: bool
    described: str
    seconds: float
    outputs: str = ""


def own_orphans() -> None:
    """Become the parent of descendants whose own parent has ended, so that none is overlooked."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """Be killed when the thread ends that has started this process, so that no run outlives the suite."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def measure(plan: Plan, root: Path) -> Measure:
    """What there is to strike in such a run, by doing it without a fault."""
    course = _prepared(replace(plan, kind=NOTHING, span=1, odd={}, trials=8, sleep_s=0.002), root)
    faults = Shim(root / "page", course.results).arm()
    _start(course, faults)
    shutil.rmtree(root, ignore_errors=True)
    if bad := [ended for ended in course.ends if ended.code]:
        raise RuntimeError(f"a run without a fault ended with {bad[0].code}:\n{bad[0].text}")
    return Measure(faults.seen, max(ended.seconds for ended in course.ends))


def verdict(plan: Plan, root: Path, measured: Measure) -> Verdict:
    """Do a run in a folder that is made for it, and removed if everything held."""
    begun, course = time.monotonic(), _prepared(plan, root)
    try:
        found = [*_run(course, measured)]
    except Exception:
        found = [f"the suite itself failed: {traceback.format_exc()}"]
    outputs = "\n".join(f"--- process {i + 1}\n{ended.text}" for i, ended in enumerate(course.ends)) if found else ""
    if not found:
        shutil.rmtree(root, ignore_errors=True)
    return Verdict(
        seed=plan.seed,
        kind=plan.kind.name,
        scene=plan.scene,
        breaches=found,
        struck=course.struck,
        described=checks.described(course),
        seconds=time.monotonic() - begun,
        outputs=outputs,
    )


def _run(course: Course, measured: Measure) -> Iterator[str]:
    plan, room = course.plan, _room(course.plan)
    faults = Shim(course.root / "page", course.results)
    struck = _struck_start(course, faults, measured, f"{plan.seed}", plan.moment)
    breaches: list[str] = []
    if history := checks.history_of(course, breaches):
        breaches += _checks(plan).acknowledged(course, history)
    if plan.again and not room.at_end(course):
        struck |= _struck_start(course, faults, measured, f"{plan.seed} again", plan.moment**2)
    course.struck_starts, course.struck = len(course.starts), struck or bool(plan.odd)
    while not room.at_end(course) and len(course.starts) < MOST_STARTS:
        _start(course, faults)
    if plan.scene in CAMPAIGNS and room.at_end(course) and (undecided := campaign_checks.undecided(course)):
        campaigns.decide(course, faults, undecided)
    yield from breaches
    yield from checks.endings(course)
    if not room.at_end(course):
        yield f"it did not come to its end in {len(course.starts)} starts"
        return
    found: list[str] = []
    if (history := checks.history_of(course, found)) is None:
        yield from found or ["there is no ledger"]
        return
    yield from _checks(plan).breaches(course, history)
    yield from checks.tidy(course)
    yield from _status(course, faults)


def _struck_start(course: Course, faults: Shim, measured: Measure, name: str, moment: float) -> bool:
    """Start with the fault to come; say whether it hit something."""
    plan, kind, draw = course.plan, course.plan.kind, random.Random(f"blows {name}")
    at_s = moment * measured.seconds
    blows = [Blow(at_s + i * plan.gap_s, number, kind.role) for i, number in enumerate(kind.signals)]
    blows += [Blow(at_s, 0, "ledger")] if kind.held else []
    faults.arm(
        kind.calls,
        action=kind.action,
        first=int(moment * sum(measured.calls[call] for call in kind.calls)),
        count=plan.span if kind.calls else 0,
        error=kind.error,
    )
    hit = _start(course, faults, tuple(blows), draw.uniform(0.05, max(0.05, kind.pause_s)))
    return hit or faults.page.struck > 0


def _start(course: Course, faults: Shim, blows: tuple[Blow, ...] = (), pause_s: float = 0.0) -> bool:
    try:
        return bool(_room(course.plan).start(course, faults, blows, pause_s))
    finally:
        faults.page.armed = 0
        course.strays += left_behind()


def _status(course: Course, faults: Shim) -> Iterator[str]:
    """What `matloop status` says of it."""
    watch = Watch(course, faults)
    words = "status", str(course.results)
    number = watch.start(lambda: campaigns.command(course, *words), course.root / "status", campaigns.environ(course))
    watch.wait([number])
    if watch.ended[number].code:
        yield f"`matloop status` ended with {watch.ended[number].code}: {watch.ended[number].text[-500:]}"


def _prepared(plan: Plan, root: Path) -> Course:
    shutil.rmtree(root, ignore_errors=True)
    course = Course(root, plan)
    _room(plan).prepare(course)
    return course


def _room(plan: Plan) -> ModuleType:
    return campaigns if plan.scene in CAMPAIGNS else doors


def _checks(plan: Plan) -> ModuleType:
    return campaign_checks if plan.scene in CAMPAIGNS else door_checks
