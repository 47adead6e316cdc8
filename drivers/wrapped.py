"""What drivers that consist of others need to know of these: their answers as measurements, and what a call costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from matloop.orchestrator.errors import ConfigError, InvalidResult, Problem, Refused
from matloop.orchestrator.protocols import (
    Checking,
    Driver,
    Space,
    accepts_inputs,
    grace_of,
    is_by_people,
    kept_by,
    offers_gradients,
)
from matloop.orchestrator.trial import Measurement, Objective, Trial
from matloop.orchestrator.workplace import Workplace


def checked(driver: Any, *at: str) -> None:
    """Refuse what cannot be called with a trial alone.

    Raises:
        ConfigError: people measure, or it goes on from what earlier trials left.
    """
    if is_by_people(driver) or accepts_inputs(driver):
        raise ConfigError(
            f"expected a driver that measures a structure by itself, got {type(driver).__name__}; give it a study of "
            "its own",
            at=at,
        )


def found_beforehand(driver: Driver, space: Space, *at: str) -> Sequence[str]:
    """What a driver has to say beforehand (see `Checking`).

    Args:
        driver: any.
        space: of the study.
        at: the options under which it stands in the owner's.

    Raises:
        Refused: what it refuses, at its place among the owner's options.
    """
    if not isinstance(driver, Checking):
        return []
    try:
        return driver.check(space)
    except Refused as error:
        raise ConfigError(problems=[_placed(problem, at) for problem in error.problems]) from error


def _placed(problem: Problem, at: tuple[str, ...]) -> Problem:
    role, *rest = problem.place or ("driver",)
    return replace(problem, place=(role, *at, *rest) if role == "driver" else problem.place)


def answer(
    driver: Any, trial: Trial, objectives: Sequence[Objective], *, folder: str, gradient: bool = False
) -> Measurement:
    """Measure with a driver.

    Args:
        driver: any that passes `checked`.
        trial: what to measure.
        objectives: that are wanted of it.
        folder: name of its own folder within the trial's, so that it finds nothing there of another call.
        gradient: whether their gradients are wanted too, of a driver that offers them.

    Raises:
        InvalidResult: it returned neither a measurement, nor numbers by name, nor one number for one objective.
    """
    with _within(trial, folder) as own:
        result = driver.value_and_gradient(own) if gradient and offers_gradients(driver) else driver(own)
    if isinstance(result, Measurement):
        return result
    if isinstance(result, Mapping):
        return Measurement(values=result)
    if len(objectives) != 1:
        names = ", ".join(o.name for o in objectives) or "none"
        raise InvalidResult(
            f"expected a Measurement or a mapping with values of {names}, got {result!r}; return numbers by name"
        )
    return Measurement(values={objectives[0].name: result})


@contextmanager
def _within(trial: Trial, folder: str) -> Iterator[Trial]:
    """The trial with a folder of its own within its folder; nothing stays of it if it is left empty."""
    if (whole := trial.workplace) is None:
        yield trial
        return
    own = Workplace(f"{whole.path}/{folder}")
    try:
        yield replace(trial, workplace=own)
    finally:
        if own.made:
            own.leave()
            whole.made = True


def passed_on(owner: Any, drivers: Sequence[Driver]) -> None:
    """Give a driver what its drivers say, as attributes, since what none has must not be there: `generator`,
    `period_nm` and `thickness_nm` of the first that has them, the longest `grace_s`, and the most that any wants to
    `keep`."""
    if graces := [grace for driver in drivers if (grace := grace_of(driver)) is not None]:
        owner.grace_s = max(graces)
    owner.keep = min((kept_by(driver) for driver in drivers), key=("all", "failed", "none").index)
    for name in ("generator", "period_nm", "thickness_nm"):
        if found := [getattr(driver, name) for driver in drivers if hasattr(driver, name)]:
            setattr(owner, name, found[0])


def cost_of_call(driver: object) -> float:
    """In the driver's own answers; 1 unless it has an attribute `call_cost`."""
    return float(getattr(driver, "call_cost", 1.0))


def cost_of(driver: object, found: Measurement) -> float:
    """Of one answer."""
    return cost_of_call(driver) if found.cost is None else found.cost
