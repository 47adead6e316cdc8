"""What follows the end of an attempt: it is begun again, its answer is the result, or it is uncertain.

Everything that can end an attempt asks the one function here: an answer, a limit, the death of the worker or of the
manager, a stop. What a worker certainly never began may always be begun again. What may have begun and gave no answer
may have happened; a driver that is not `repeatable` never repeats it, so a person decides (`matloop decide`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from matloop.orchestrator.ledger.history import REPEATS
from matloop.orchestrator.loop.transfer import Incomplete, Spoiled, Unbegun
from matloop.orchestrator.trial import Answer, Proposal, Trial

Ending = Literal["answer", "death", "stop"]
"""How an attempt ended. `answer`: its measurement or error, or a limit of time or memory that it passed. `death`: of
the worker, the manager or the machine, before there was an answer. `stop`: on purpose, by a person or a wall time."""

Next = Literal["again", "result", "uncertain"]
"""What follows: another attempt; what there is, as the result; the cause `uncertain`, as the result."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the driver and the study allow.

    Attributes:
        repeatable: whether measuring the same point again is harmless.
        attempts: how often an evaluation is begun before its death counts as the result, >= 1.
    """

    repeatable: bool
    attempts: int


def follows(ending: Ending, *, begun: bool, attempt: int, rules: Rules) -> Next:
    """What follows the end of an attempt.

    Args:
        ending: how it ended.
        begun: whether a worker may have begun it; True where that is not known.
        attempt: its number, from 1.
        rules: those that hold for it.
    """
    if ending == "answer":
        return "result"
    if not begun:
        return "again"
    if not rules.repeatable:
        return "uncertain"
    return "again" if ending == "stop" or attempt < rules.attempts else "result"


def ending_of(answer: Answer) -> Ending:
    """How the attempt ended that came to this answer."""
    if isinstance(answer, Unbegun | Spoiled):
        return "stop"
    if isinstance(answer, Incomplete):  # for good: to begin it again would not help
        return "answer"
    return "death" if answer.failure is not None and answer.failure.retriable else "answer"


def uncertain(answer: Answer) -> Answer:
    """The result of an attempt that may have happened; its cost is booked.

    Args:
        answer: what there is of it: a failure.
    """
    assert answer.failure is not None
    message = f"it may have happened: {answer.failure.message}"
    return replace(answer, failure=replace(answer.failure, cause="uncertain", message=message))


def again(trial: Trial) -> Proposal:
    """The new proposal at the point of a trial that may have happened, for a person who wants it repeated."""
    return Proposal(
        point=trial.point,
        prediction=trial.prediction,
        reason=f"repeats trial {trial.id}, which may not have happened",
        parents=(trial.id,),
        fidelity=trial.fidelity,
        extra={**trial.extra, REPEATS: trial.id},
        inputs=trial.inputs,
    )
