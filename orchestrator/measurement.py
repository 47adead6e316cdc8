"""What counts as a measurement, whoever reports it: a driver, a person, a table or an instrument over REST.

One set of rules, so that the record means the same wherever a result came from. What a rule objects to is a `Problem`
whose place begins with the field of `Measurement`, such as ("noise", "yield").
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from matloop.orchestrator.errors import Problem
from matloop.orchestrator.plain import to_json
from matloop.orchestrator.trial import Measurement

LARGEST = 1e100
"""Of a measured number: what is larger is a slip in any unit, and its square would break models and drawings."""

LONGEST_TEXT = 10_000
"""Characters of a note, or of the reason of a failure."""

LONGEST_NAME = 200
"""Characters of the name of a person, a quantity or a request."""

LARGEST_INFO = 2**20
"""Bytes of all of `info` as JSON; what is larger belongs into artifacts."""

_NOT_TEXT = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
"""Control characters, which come from a wrong encoding, and halves of surrogate pairs, which UTF-8 does not have."""


def number(value: Any) -> float | None:
    """The number that a value is, also NaN or infinite; None if it is none.

    Python's, numpy's and torch's numbers count, and arrays without dimensions; true, false, text, complex numbers and
    arrays do not.
    """
    if type(value) is float:
        return value
    if isinstance(value, bool | str | bytes | bytearray) or getattr(value, "ndim", False):
        return None
    dtype = getattr(value, "dtype", None)
    if dtype is not None and not ("int" in str(dtype) or "float" in str(dtype)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        return None


def is_number(value: object) -> bool:
    """Whether it is a finite number, and not true or false."""
    found = number(value)
    return found is not None and math.isfinite(found)


def check(measurement: Measurement, objectives: Sequence[str]) -> list[Problem]:
    """All that is wrong with a measurement of these objectives and nothing else; empty if it may be recorded."""
    return [
        *check_values(measurement.values, measurement.noise, objectives),
        *check_info(measurement.info),
        *check_artifacts(measurement.artifacts),
        *check_cost(measurement.cost),
    ]


def check_values(values: object, noise: object, objectives: Sequence[str]) -> list[Problem]:
    """What is wrong with measured values and their standard deviations."""
    problems = [*_check_names("values", values), *_check_names("noise", noise)]
    if problems:
        return problems
    assert isinstance(values, Mapping) and isinstance(noise, Mapping)
    known = ", ".join(objectives)
    problems = [
        Problem(f"is not measured here; expected {known}", ("values" if name in values else "noise", name))
        for name in dict.fromkeys([*values, *noise])
        if name not in objectives
    ]
    for name in objectives:
        problems += check_value(values[name], name) if name in values else [_missing(name, values)]
        if name in noise:
            problems += check_noise(noise[name], name)
    return problems


def check_value(value: object, name: str) -> list[Problem]:
    """What is wrong with the measured value of that name."""
    if _is_within(value, -LARGEST):
        return []
    text = f"expected a finite number, at most {LARGEST:g}, got {shown(value)}"
    return [Problem(text, ("values", name), remedy="report a failure where nothing was measured")]


def check_noise(value: object, name: str) -> list[Problem]:
    """What is wrong with the standard deviation of that name."""
    if _is_within(value, 0.0):
        return []
    text = f"expected a standard deviation, 0 or more, got {shown(value)}"
    return [Problem(text, ("noise", name), remedy="leave it out if it is not known")]


def check_cost(value: object) -> list[Problem]:
    """What is wrong with a cost; None is one that is not known."""
    if value is None or _is_within(value, 0.0):
        return []
    text = f"expected a number, 0 or more, got {shown(value)}"
    return [Problem(text, ("cost",), remedy="leave it out if it is not known")]


def check_text(text: object, *place: str, longest: int = LONGEST_TEXT) -> list[Problem]:
    """What is wrong with a text that somebody wrote."""
    if not isinstance(text, str):
        return [Problem(f"expected text, got {shown(text)}", place)]
    if len(text) > longest:
        return [Problem(f"expected text of at most {longest} characters, got {len(text)}", place, remedy="shorten it")]
    found = _NOT_TEXT.search(text)
    return [] if found is None else [Problem(f"expected text, got the character {found[0]!r} in it", place)]


def without_control_characters(text: str) -> str:
    """A text without what `check_text` objects to in it."""
    return _NOT_TEXT.sub("", text)


def check_info(info: object) -> list[Problem]:
    """What is wrong with details that a driver adds: numbers, text, lists and mappings by name."""
    remedy = "return arrays and bytes as `artifacts`, and large results too"
    if problems := _check_names("info", info):
        return problems
    assert isinstance(info, Mapping)
    faults: dict[tuple[str, ...], str] = {(name,): why for name, value in info.items() if (why := _unstorable(value))}
    if not faults and (size := len(to_json(info).encode())) > LARGEST_INFO:
        faults = {(): f"expected at most {LARGEST_INFO:,} bytes as JSON, got {size:,}"}
    return [Problem(why, ("info", *place), remedy=remedy) for place, why in faults.items()]


def check_artifacts(artifacts: object) -> list[Problem]:
    """What is wrong with the names of large results; content is for the store to judge."""
    return _check_names("artifacts", artifacts)


def storable(value: object) -> bool:
    """Whether a value can be stored: as JSON, in UTF-8."""
    return not _unstorable(value)


def shown(value: object) -> str:
    """A value in a message, cut where it is long."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # of an integer with thousands of digits
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}…"


def _check_names(field: str, given: object) -> list[Problem]:
    """What is wrong with a mapping as such."""
    if not isinstance(given, Mapping):
        return [Problem(f"expected a mapping by name, got {shown(given)}", (field,))]
    bad = [name for name in given if not isinstance(name, str) or check_text(name, longest=LONGEST_NAME)]
    return [Problem(f"expected names that are short texts, got {shown(name)}", (field,)) for name in bad]


def _missing(name: str, values: Mapping[str, Any]) -> Problem:
    others = f" (but for {', '.join(values)})" if values else ""
    text = f"expected a value, got none{others}"
    return Problem(text, ("values", name), remedy="report the result when all are there")


def _is_within(value: object, least: float) -> bool:
    found = number(value)
    return found is not None and least <= found <= LARGEST  # which NaN is not


def _unstorable(value: object) -> str:
    """Why a value cannot be stored; empty if it can."""
    try:
        to_json(value).encode()
    except RecursionError:
        return "expected less nesting, got too much to be stored"
    except UnicodeEncodeError:
        return "expected whole characters, got text with half of a surrogate pair"
    except (TypeError, ValueError) as error:
        return f"expected numbers, text, lists and mappings: {error}"
    return ""
