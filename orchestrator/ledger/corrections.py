"""Corrections of what is on record, whoever measured it: another result in the place of a wrong one, or none.

Sessions, labs, the command line and the server all correct in this way. What is not sound is refused and nothing is
appended; what is appended becomes durable at the writer's next commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from matloop.orchestrator.errors import MatloopError, Problem, Refused
from matloop.orchestrator.ledger.writer import Writer
from matloop.orchestrator.measurement import (
    LONGEST_NAME,
    check_cost,
    check_names,
    check_text,
    check_values,
    floats,
)
from matloop.orchestrator.plain import writable
from matloop.orchestrator.trial import Answer, Failure, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What is different from what is on record; the rest of the result stays.

    Attributes:
        values: right values by name: objectives, and others that the trial has already.
        noise: right standard deviations by name.
        cost: the right one, in the study's own unit; None for as it was.
        failure: why there are no values after all, in a person's words.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    noise: Mapping[str, float] = field(default_factory=dict)
    cost: float | None = None
    failure: str = ""


def amend(writer: Writer, number: int, correction: Correction, *, reason: str, by: str = "") -> Trial:
    """Record the right result of a trial; the record keeps the wrong one too.

    A trial that failed, or was set aside or cancelled, has the result from here on.

    Args:
        writer: holds the lock of the ledger.
        number: id of the trial.
        correction: what is different.
        reason: why, for people.
        by: who says so.

    Returns:
        The trial as it is now.

    Raises:
        Refused: what is given is not sound, with every problem, or changes nothing.
        MatloopError: there is no such trial, or it has no result yet.
    """
    trial = _found(writer, number)
    reason, by = _signed(reason, by)
    answer = _corrected(trial, _last_result(writer, trial), correction, _names(writer, trial))
    point = trial.point if trial.planned is not None or trial.ask < 0 else None
    return writer.amend(trial, answer, point=point, by=by, reason=reason)


def void(writer: Writer, number: int, *, reason: str, at: float, by: str = "") -> Trial:
    """Set the result of a trial aside: it teaches nothing any more, and its cost stays; the record keeps it.

    Args:
        writer: holds the lock of the ledger.
        number: id of the trial.
        reason: why, for people.
        at: Unix time, s.
        by: who says so.

    Returns:
        The trial, which is cancelled now.

    Raises:
        Refused: there is no reason, or it is no text.
        MatloopError: there is no such trial, it has no result yet, or none any more.
    """
    trial = _found(writer, number)
    reason, by = _signed(reason, by)
    if trial.state == "cancelled":
        note = trial.info.get("note", "")
        what = "was set aside already" if trial.was_done else "was cancelled, so that it has no result"
        raise MatloopError(f"trial {number} {what}{f' ({note})' if note else ''}; nothing was recorded")
    return writer.void(trial, at=at, worker=by, reason=reason)


def _found(writer: Writer, number: int) -> Trial:
    trials = writer.history.trials
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(trials):
        has = f"it has trials 0 to {len(trials) - 1}" if len(trials) else "it has none"
        raise MatloopError(f"there is no trial {number!r} in {writer.path}; {has}")
    if number in writer.history.missing:
        raise MatloopError(f"trial {number} was lost with a damaged file; nobody knows what was to be measured")
    if trials[number].state == "running":
        raise MatloopError(
            f"trial {number} has no result yet; wait for it, or `matloop cancel` it where people measure"
        )
    return trials[number]


def _last_result(writer: Writer, trial: Trial) -> Trial:
    """The trial as it was when it last had a result, before it was set aside."""
    if trial.state != "cancelled":
        return trial
    return next((a.before for a in reversed(writer.history.amendments) if a.trial == trial.id), trial)


def _signed(reason: str, by: str) -> tuple[str, str]:
    """Reason and name as they are recorded."""
    problems = [Problem("expected a reason, got none", ("reason",))] if not str(reason).strip() else []
    reason, by = (writable(text) for text in (reason, by))
    problems += [*check_text(reason, "reason"), *check_text(by, "by", longest=LONGEST_NAME)]
    if problems:
        raise _refused(problems)
    return reason.strip(), by.strip()


def _names(writer: Writer, trial: Trial) -> list[str]:
    """What a trial is to have values of: the objectives or, where they are not on record, what others of its study
    have."""
    objectives = [objective.name for objective in writer.history.objectives(trial.study)]
    if objectives:
        return objectives
    told = (t.values for t in [trial, *writer.history.of(trial.study)] if t.values)
    return list(next(told, {}))


def _corrected(trial: Trial, last: Trial, correction: Correction, objectives: Sequence[str]) -> Answer:
    """The whole of the right result.

    Args:
        trial: as it is.
        last: as it was when it last had a result.
        correction: of that.
        objectives: names.

    Raises:
        Refused: it is not sound, or says the same as is on record.
    """
    problems = [*check_names("values", correction.values), *check_names("noise", correction.noise)]
    problems += [*check_cost(correction.cost), *check_text(correction.failure, "failure")]
    failed = bool(not problems and correction.failure.strip())
    if failed and (correction.values or correction.noise):
        problems.append(Problem("expected either values or a failure, got both", ("failure",)))
    if trial.state == "cancelled" and not (failed or correction.values or correction.noise):
        problems.append(Problem(f"expected the values of trial {trial.id}, which has no result, got none", ("values",)))
    if problems:
        raise _refused(problems)
    failure, values, noise = last.failure, last.values, last.noise
    if failed:
        failure = Failure(cause="experiment", message=" ".join(correction.failure.split()))
        values, noise = None, {}
    elif correction.values or correction.noise:
        failure, values, noise = None, {**(values or {}), **correction.values}, {**noise, **correction.noise}
        known = list(dict.fromkeys([*objectives, *(last.values or {})])) or list(values)
        if problems := check_values(values, noise, known, partial=last.values is not None):
            raise _refused(problems)
    censored = {name: side for name, side in last.censored.items() if values and name not in correction.values}
    answer = Answer(
        values=None if values is None else floats(values),
        failure=failure,
        noise=floats(noise),
        censored=censored,
        info=last.info,
        artifacts=last.artifacts,
        cost=last.cost if correction.cost is None else float(correction.cost),
        started_at=last.started_at if last.started_at is not None else last.proposed_at,
        finished_at=last.finished_at if last.finished_at is not None else last.proposed_at,
        worker=last.worker,
    )
    if all(
        getattr(answer, name) == getattr(trial, name) for name in ("values", "failure", "noise", "censored", "cost")
    ):
        raise _refused([Problem(f"expected something else than is on record of trial {trial.id}, got the same")])
    return answer


def _refused(problems: Sequence[Problem]) -> Refused:
    """The error for a correction that is not sound."""
    return Refused(
        problems=[replace(p, message=_placed(p), remedy=p.remedy or "nothing was recorded") for p in problems]
    )


def _placed(problem: Problem) -> str:
    """A problem with what it is about."""
    place = " ".join(map(str, problem.place))
    return f"{place}: {problem.message}" if place else problem.message
