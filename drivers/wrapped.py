"""What drivers that consist of others need to know of these: their answers as measurements, and what a call costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matloop.orchestrator.errors import ConfigError, InvalidResult
from matloop.orchestrator.protocols import accepts_inputs, is_by_people, offers_gradients
from matloop.orchestrator.trial import Measurement, Objective, Trial


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


def answer(driver: Any, trial: Trial, objectives: Sequence[Objective], *, gradient: bool = False) -> Measurement:
    """Measure with a driver.

    Args:
        driver: any that passes `checked`.
        trial: what to measure.
        objectives: that are wanted of it.
        gradient: whether their gradients are wanted too, of a driver that offers them.

    Raises:
        InvalidResult: it returned neither a measurement, nor numbers by name, nor one number for one objective.
    """
    result = driver.value_and_gradient(trial) if gradient and offers_gradients(driver) else driver(trial)
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


def passed_on(owner: object, drivers: Iterable[object]) -> None:
    """Give a driver what the first of its drivers that has it says of structures: `generator`, `period_nm`,
    `thickness_nm`; as attributes, since what none has must not be there."""
    for name in ("generator", "period_nm", "thickness_nm"):
        if found := [getattr(driver, name) for driver in drivers if hasattr(driver, name)]:
            setattr(owner, name, found[0])


def cost_of_call(driver: object) -> float:
    """In the driver's own answers; 1 unless it has an attribute `call_cost`."""
    return float(getattr(driver, "call_cost", 1.0))


def cost_of(driver: object, found: Measurement) -> float:
    """Of one answer."""
    return cost_of_call(driver) if found.cost is None else found.cost
