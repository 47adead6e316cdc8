"""What a driver returned, as a measurement that may be recorded.

The objectives decide: if one of them, or anything else that `orchestrator.measurement` has rules for, is not sound, the
trial fails. Values besides the objectives are kept where they are sound; a result is never lost over one that is not:
`info` then says what was not recorded, and why. Text in `info` that is not Unicode is written with escapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from matloop.orchestrator.errors import InvalidResult, Problem
from matloop.orchestrator.measurement import check, check_noise, check_value
from matloop.orchestrator.plain import writable
from matloop.orchestrator.trial import Measurement, Objective

NOT_RECORDED = "not_recorded"
"""Key in `info`: name to reason, of values besides the objectives that are not sound."""

_REMEDY = "return a number, raise an error where there is none, or correct `objectives` in the campaign file"


def as_measurement(result: object, objectives: Sequence[Objective]) -> Measurement:
    """Accept what drivers may return and check it.

    Args:
        result: a `Measurement`, a mapping from name to number, or a number where there is one objective.
        objectives: of the study.

    Returns:
        The measurement with plain floats.

    Raises:
        InvalidResult: with every problem, one a line.
    """
    names = [o.name for o in objectives]
    measurement, reasons = _without_unsound_extras(_wrapped(result, names), names)
    if isinstance(measurement.info, Mapping):
        with suppress(RecursionError):  # which `check` objects to
            measurement = replace(measurement, info=writable(measurement.info))
    problems = check(measurement, list(dict.fromkeys([*names, *_keys(measurement.values)])))
    if problems:
        raise InvalidResult(problems=[_for_drivers(problem, names) for problem in problems])
    return Measurement(
        values=_floats(measurement.values),
        noise=_floats(measurement.noise),
        info={**measurement.info, NOT_RECORDED: reasons} if reasons else measurement.info,
        artifacts=measurement.artifacts,
        cost=None if measurement.cost is None else float(measurement.cost),
    )


def _wrapped(result: object, names: Sequence[str]) -> Measurement:
    if isinstance(result, Measurement):
        return result
    if isinstance(result, Mapping):
        return Measurement(values=result)
    if len(names) == 1:
        return Measurement(values={names[0]: result})  # type: ignore[dict-item]
    raise InvalidResult(f"expected a mapping with {names}, got {type(result).__name__}; return a dict of numbers")


def _without_unsound_extras(measurement: Measurement, names: Sequence[str]) -> tuple[Measurement, dict[str, str]]:
    """The measurement without what is not sound besides the objectives, and why that is left out, by name."""
    values, noise = measurement.values, measurement.noise
    bad: dict[str, str] = {}
    badly_known: dict[str, str] = {}
    for name in [name for name in _keys(values) if name not in names]:
        if fault := check_value(values[name], name):
            bad[name] = fault[0].message
        elif name in _keys(noise) and (fault := check_noise(noise[name], name)):
            badly_known[name] = fault[0].message
    if not bad and not badly_known:
        return measurement, {}
    values = {name: value for name, value in values.items() if name not in bad}
    if isinstance(noise, Mapping):
        noise = {name: value for name, value in noise.items() if name not in bad and name not in badly_known}
    reasons = bad | {f"{name} ±": reason for name, reason in badly_known.items()}
    return replace(measurement, values=values, noise=noise), reasons


def _keys(given: object) -> list[str]:
    """Names of a mapping; none if it is not one or they are not text, which `check` objects to."""
    return [name for name in given if isinstance(name, str)] if isinstance(given, Mapping) else []


def _for_drivers(problem: Problem, names: Sequence[str]) -> Problem:
    """A problem in the words of those who write drivers."""
    field, *inner = problem.place
    label = "objective" if field == "values" and inner and inner[0] in names else str(field)
    where = " ".join([label, *map(repr, inner)])
    remedy = _REMEDY if field == "values" else problem.remedy
    return replace(problem, message=f"{where}: {problem.message}", remedy=remedy)


def _floats(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}
