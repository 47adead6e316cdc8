"""What a driver returned, as a measurement that may be recorded: checked on the worker, once, in full.

The objectives decide: if one of them, or anything else that `orchestrator.measurement` has rules for, is not sound, the
trial fails, and the record keeps what was returned beside the failure. But nothing is lost over its wrapping: numbers
are taken out of arrays, lists and tensors that hold one, several are taken in the objectives' order, tables and records
by their names. Values besides the objectives are kept where they are sound numbers; what is no number goes to `info`;
what can be kept as neither is left out, and `info["not_recorded"]` says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import numpy.typing as npt

from matloop.orchestrator.details import Unstorable, plain_copy, reason
from matloop.orchestrator.errors import InvalidResult, Problem
from matloop.orchestrator.loop.contents import Unkeepable, content
from matloop.orchestrator.loop.wrappings import MOST_NAMES, entries, has_names, in_order, named
from matloop.orchestrator.measurement import (
    LARGEST,
    LARGEST_INFO,
    check_cost,
    check_names,
    check_noise,
    check_value,
    check_values,
    has_one_entry,
    is_machines,
    missing,
    number,
    shown,
    single,
)
from matloop.orchestrator.plain import to_json, writable
from matloop.orchestrator.trial import Measurement, Objective

NOT_RECORDED: Final = "not_recorded"
"""Key in `info`: name to reason, of what is not sound besides the objectives."""

MOST_REASONS: Final = 100
"""Entries of `info["not_recorded"]`."""

LONGEST_NOTE: Final = 2_000
"""Characters of what was returned, in the traceback of a trial that failed for it."""

_FIELDS: Final = ("values", "noise", "info", "artifacts", "cost")

_REMEDY: Final = "return a number, raise an error where there is none, or correct `objectives` in the campaign file"

_FOR_INFO: Final = "return arrays and bytes as `artifacts`, and large results too"


def as_measurement(result: object, objectives: Sequence[Objective]) -> Measurement:
    """Accept what drivers may return and check it.

    Args:
        result: a `Measurement`; values by name, as a mapping, named tuple, record, or a table of one row; values in the
            objectives' order, as a list, tuple or array; or a number where there is one objective.
        objectives: of the study.

    Returns:
        The measurement, made of plain floats, text, lists, mappings, arrays and bytes.

    Raises:
        InvalidResult: with every problem, one a line; what was returned is attached as a note.
    """
    names = [objective.name for objective in objectives]
    if type(result) is float and len(names) == 1 and -LARGEST <= result <= LARGEST:
        return Measurement(values={names[0]: result})
    try:
        given = result if isinstance(result, Measurement) else Measurement(values=named(result, names))
        return _checked(given, names)
    except InvalidResult as error:
        refused, cause = error, error.__cause__
    except Exception as error:  # of objects that are not ours
        if is_machines(error):
            raise
        refused = InvalidResult(f"expected a number, a mapping or a Measurement, got {reason(error)}")
        cause = error
    refused.add_note(f"what the driver returned: {_described(result)}")
    raise refused from cause


def kept_of(details: object) -> dict[str, Any]:
    """What can be stored of details that come with a failure; nothing is raised for the rest."""
    kept: dict[str, Any] = {}
    with _ignoring():
        for name, value in entries({} if details is None else details, "info").items():
            if not check_names("info", {(key := _name(name)): value}):
                with _ignoring():
                    kept[key] = plain_copy(value)
    return kept if _size(kept) <= LARGEST_INFO else {}


def _checked(given: Measurement, names: Sequence[str]) -> Measurement:
    fields = {field: _field(given, field) for field in _FIELDS}
    values, noise = (_numbers(fields[field], field, names) for field in ("values", "noise"))
    cost = _sound(fields["cost"], "cost")
    problems = [*check_names("values", values), *check_names("noise", noise)]
    reasons: dict[str, str] = {}
    details: dict[str, Any] = {}
    if not problems:
        problems = [missing(name, values) for name in names if name not in values]
        if any(name not in names for name in values):
            values, noise, details = _apart(values, noise, names, reasons)
        problems += check_values(values, noise, list(values))
    info, faults = _info(fields["info"])
    artifacts, more = _artifacts(fields["artifacts"])
    if problems := [*problems, *faults, *more, *check_cost(cost)]:
        raise InvalidResult(problems=[_for_drivers(problem, names, given) for problem in problems])
    if details:
        info = _joined(info, details, reasons)
    if reasons:
        info[NOT_RECORDED] = reasons
    return Measurement(values=values, noise=noise, info=info, artifacts=artifacts, cost=cost)


def _field(given: Measurement, field: str) -> Any:
    try:
        return getattr(given, field)
    except Exception as error:  # of a class derived from ours
        raise InvalidResult(f"{field}: expected a field of a measurement, got {reason(error)}", at=field) from error


def _numbers(given: Any, field: str, names: Sequence[str]) -> Any:
    """Values or noise by name, as floats where they are sound numbers; as it is if it has no names."""
    if given is None and field == "noise":
        return {}
    if not has_names(given):
        found = in_order(given, names)
        if found is None:
            return given
        given = found
    taken: dict[Any, Any] = {}
    for name, value in entries(given, field).items():
        key = name if type(name) is str and name.isascii() else _name(name)
        wanted = key in names or field == "noise" or has_one_entry(value)
        taken[key] = _sound(value, field) if type(value) is not float and wanted else value
    return taken


def _sound(value: Any, field: str) -> Any:
    """The number in a value, where it is sound; else the value."""
    found = single(value)
    return found if found is not None and (-LARGEST if field == "values" else 0.0) <= found <= LARGEST else value


def _apart(
    values: Mapping[str, Any], noise: Mapping[str, Any], names: Sequence[str], reasons: dict[str, str]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Values and noise without what is not sound besides the objectives, and what of it is no number.

    Why something is left out is added to the reasons, by name.
    """
    sound: dict[str, Any] = {}
    details: dict[str, Any] = {}
    badly_known: list[str] = []
    for name, value in values.items():
        if name in names:
            sound[name] = value
        elif (found := number(value)) is None:
            details[name] = value
        elif fault := check_value(found, name):
            _because(reasons, name, fault[0].message)
        elif len(sound) >= MOST_NAMES:
            _because(reasons, name, f"expected at most {MOST_NAMES:,} values, got {len(values):,}")
        else:
            sound[name] = found
            if name in noise and (fault := check_noise(noise[name], name)):
                _because(reasons, f"{name} ±", fault[0].message)
                badly_known.append(name)
    known = {n: v for n, v in noise.items() if n not in badly_known and (n in sound or n not in values)}
    return sound, known, details


def _joined(info: dict[str, Any], details: Mapping[str, Any], reasons: dict[str, str]) -> dict[str, Any]:
    """Details with what was returned beside the values, as far as there is room for it."""
    room = LARGEST_INFO - _size(info)
    for name, value in details.items():
        try:
            plain = plain_copy(value)
        except Unstorable as error:
            _because(reasons, name, str(error))
            continue
        size = _size({name: plain})
        if name in info:
            _because(reasons, name, "expected one value of that name, got another one in `info`")
        elif size > room:
            _because(reasons, name, f"expected at most {LARGEST_INFO:,} bytes as JSON in all, got more")
        else:
            info[name] = plain
            room -= size
    return info


def _because(reasons: dict[str, str], name: str, why: str) -> None:
    if len(reasons) < MOST_REASONS:
        reasons[name] = why
    else:
        reasons["and more"] = f"expected at most {MOST_REASONS} entries that cannot be recorded, got more"


def _info(given: Any) -> tuple[dict[str, Any], list[Problem]]:
    """Details as plain values, and what is wrong with them."""
    if given is None or (type(given) is dict and not given):
        return {}, []
    by_name = _named_entries(given, "info")
    if problems := check_names("info", by_name):
        return {}, problems
    plain: dict[str, Any] = {}
    for name, value in by_name.items():
        try:
            plain[name] = plain_copy(value)
        except Unstorable as error:
            problems.append(Problem(str(error), ("info", name), remedy=_FOR_INFO))
    if not problems and (size := _size(plain)) > LARGEST_INFO:
        text = f"expected at most {LARGEST_INFO:,} bytes as JSON, got {size:,}"
        problems.append(Problem(text, ("info",), remedy=_FOR_INFO))
    return plain, problems


def _artifacts(given: Any) -> tuple[dict[str, npt.NDArray[Any] | bytes], list[Problem]]:
    """Large results as arrays and bytes, and what is wrong with them."""
    if given is None or (type(given) is dict and not given):
        return {}, []
    by_name = _named_entries(given, "artifacts")
    if problems := check_names("artifacts", by_name):
        return {}, problems
    kept = {}
    for name, value in by_name.items():
        try:
            kept[name] = content(value)
        except Unkeepable as error:
            problems.append(
                Problem(str(error), ("artifacts", name), remedy="return bytes, text or an array of numbers")
            )
    return kept, problems


def _named_entries(given: Any, field: str) -> Any:
    """A mapping by name as a dict; as it is if it is none."""
    if not has_names(given):
        return given
    return {_name(name): value for name, value in entries(given, field).items()}


def _name(name: Any) -> Any:
    """A name as plain text that can be stored; as it is if it is none."""
    return str(writable(str.__str__(name))) if isinstance(name, str) else name


def _size(plain: object) -> int:
    """Bytes as JSON."""
    return len(to_json(plain).encode()) if plain else 2


@contextmanager
def _ignoring() -> Iterator[None]:
    """Pass over what cannot be read or stored."""
    with suppress(InvalidResult, Unstorable):
        yield


def _described(result: object) -> str:
    """What was returned, for people who want to correct the record by it."""
    if not issubclass(type(result), Measurement):
        return shown(result, longest=LONGEST_NOTE)
    fields = {}
    for name in _FIELDS:
        try:
            fields[name] = getattr(result, name)
        except Exception as error:  # of a class derived from ours
            fields[name] = reason(error)
    return ", ".join(f"{name} {shown(value, longest=LONGEST_NOTE // 4)}" for name, value in fields.items() if value)


def _for_drivers(problem: Problem, names: Sequence[str], given: Measurement) -> Problem:
    """A problem in the words of those who write drivers."""
    field, *inner = problem.place
    label = "objective" if field == "values" and inner and inner[0] in names else str(field)
    where = " ".join([label, *map(repr, inner)])
    remedy = _REMEDY if field == "values" else problem.remedy
    if field == "values" and isinstance(given.values, Mapping) and not {"values", "noise"}.isdisjoint(given.values):
        remedy = "return matloop.Measurement(values=…, noise=…, cost=…) where there is more to say than numbers by name"
    return Problem(f"{where}: {problem.message}", problem.place, remedy, problem.command, problem.position)
