"""What must hold of a lab, beside the diary of what its clients meant to do and what was acknowledged to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from matloop.orchestrator.ledger.history import History
from tests.faults.course import STUDY, Course
from tests.faults.diary import entries


def acknowledged(course: Course, history: History) -> Iterator[str]:
    """Nothing that was acknowledged is lost."""
    wanted = _wanted(course)
    seen: set[int] = set()
    for entry in entries(course.diary, "acknowledged"):
        call, answer = entry["call"], entry["answer"]
        numbers = answer if isinstance(answer, list) else [answer]
        if missing := [number for number in numbers if number >= len(history.trials)]:
            yield f"{call} was acknowledged as trials {missing}, which are not on record"
            continue
        if call[0] == "recommend":
            if twice := seen & set(answer):
                yield f"trials {sorted(twice)} were recommended twice"
            seen |= set(answer)
        elif call[0] == "cancel":
            if history.trials[answer].state != "cancelled":
                yield f"trial {answer} was cancelled, on record it is {history.trials[answer].state}"
        else:
            yield from _told(answer, call, wanted, history)


def _told(number: int, call: list[Any], wanted: dict[int, list[float]], history: History) -> Iterator[str]:
    trial = history.trials[number]
    losses = set(wanted.get(number, [])) | ({call[3]} if call[0] == "report" else set())
    if trial.values is None:
        yield f"trial {number} was told {call}, on record it is {trial.state}"
    elif trial.values["loss"] not in losses:
        yield f"trial {number} has {trial.values['loss']} on record, told was {sorted(losses)}"


def breaches(course: Course, history: History) -> Iterator[str]:
    """What is wrong with a lab whose clients have done all they meant to."""
    if found := [*acknowledged(course, history)]:
        yield from found
        return
    calls = entries(course.diary, "acknowledged")
    last, told = dict[int, float](), Counter[int]()
    for entry in calls:
        match entry["call"]:
            case ["tell", trial, loss, _, amend]:
                told[trial] += amend
                last[trial] = loss
            case ["report", _, _, loss, _]:
                last[entry["answer"]] = loss
    for number, loss in last.items():
        if (values := history.trials[number].values) is None or values["loss"] != loss:
            yield f"trial {number}: the last that was told is {loss}, on record is {values}"
    amended = Counter(amendment.trial for amendment in history.amendments)
    if +amended != +told:
        yield f"amended were {dict(+told)}, on record is {dict(amended)}"
    requests = Counter(t.extra.get("request") for t in history.of(STUDY) if t.extra.get("origin") == "reported")
    reports = [entry["call"][1] for entry in calls if entry["call"][0] == "report"]
    if requests != Counter(reports):
        yield f"reported were {sorted(reports)}, on record is {dict(requests)}"
    if len(set(history.finished)) != len(history.finished):
        yield f"results are counted twice: {history.finished}"
    yield from _recommended(course, history)


def _recommended(course: Course, history: History) -> Iterator[str]:
    """Recommendations that nobody heard of are no more than answers that were lost on their way."""
    heard = {n for e in entries(course.diary, "acknowledged") if e["call"][0] == "recommend" for n in e["answer"]}
    asked = [trial for trial in history.of(STUDY) if trial.ask >= 0]
    unheard = [trial for trial in asked if trial.id not in heard]
    if unheard and not course.struck:
        yield f"nobody heard of trials {[trial.id for trial in unheard]}"
    if bad := [trial.id for trial in unheard if trial.state != "running"]:
        yield f"trials {bad} have results although nobody heard of them"
    points = Counter(trial.point["x"] for trial in asked)
    if twice := [x for x, times in points.items() if times > 1]:
        yield f"points {twice} were recommended more than once"


def _wanted(course: Course) -> dict[int, list[float]]:
    wanted: dict[int, list[float]] = {}
    for entry in entries(course.diary, "wanted"):
        if entry["call"][0] == "tell":
            wanted.setdefault(entry["call"][1], []).append(entry["call"][2])
    return wanted
