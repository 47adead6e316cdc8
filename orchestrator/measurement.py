"""What counts as a measurement, whoever reports it: a driver, a person, a table or an instrument over REST.

One set of rules, so that the record means the same wherever a result came from. What a rule objects to is a `Problem`
whose place begins with the field of `Measurement`, such as ("noise", "yield").
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from matloop.orchestrator.errors import Problem
from matloop.orchestrator.plain import to_json
from matloop.orchestrator.trial import Side

LARGEST = 1e100
"""Of a measured number: what is larger is a slip in any unit, and its square would break models and drawings."""

MOST_WRAPPINGS = 8
"""Lists and arrays around a number, in one another."""

MOST_SHOWN = 10
"""Names in a message."""

LONGEST_TEXT = 10_000
"""Characters of a note, or of the reason of a failure."""

LONGEST_NAME = 200
"""Characters of the name of a person, a quantity or a request."""

LARGEST_INFO = 2**20
"""Bytes of all of `info` as JSON; what is larger belongs into artifacts."""

_NOT_TEXT = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
"""Control characters, which come from a wrong encoding, and halves of surrogate pairs, which UTF-8 does not have."""


def number(value: Any) -> float | None:
    """The number that a value is, also NaN or infinite; None if it is none, or cannot be read.

    Python's, numpy's and torch's numbers count, and arrays without dimensions; true, false, text, complex numbers and
    arrays do not.
    """
    if isinstance(value, float):
        return value if type(value) is float else float.__float__(value)
    try:
        if isinstance(value, bool | str | bytes | bytearray) or getattr(value, "ndim", False):
            return None
        if np.ma.is_masked(value):
            return math.nan
        dtype = getattr(value, "dtype", None)
        if dtype is not None and not any(kind in str(dtype).lower() for kind in ("int", "float")):
            return None
        if hasattr(value, "detach"):  # a tensor that remembers what it was computed from
            value = value.detach()
        return float(value)
    except OverflowError:
        return math.inf
    except Exception as error:  # of objects that are not ours
        if is_machines(error):
            raise
        return None


def is_machines(error: BaseException) -> bool:
    """Whether an error is the machine's rather than a value's: out of memory, or a GPU that had a fault earlier."""
    return isinstance(error, MemoryError) or type(error).__name__ in ("OutOfMemoryError", "AcceleratorError")


def is_listed(value: object) -> bool:
    """Whether it is a list, tuple or other sequence, and no text."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)


def single(value: Any) -> float | None:
    """The number that a value is, or that a list, tuple or array has as its only entry; else None."""
    for _ in range(MOST_WRAPPINGS):
        if (found := number(value)) is not None:
            return found
        if is_listed(value) and len(value) == 1:
            value = value[0]
        elif has_one_entry(value):
            try:
                array = value.to_numpy() if hasattr(value, "to_numpy") else value
                value = array.reshape(()) if array.ndim else array.item()
            except Exception:  # of objects that are not ours
                return None
        else:
            return None
    return None


def floats(values: Mapping[str, Any]) -> dict[str, float]:
    """Values that have been checked, as plain floats."""
    return {str(name): float(value) for name, value in values.items()}


def has_one_entry(value: Any) -> bool:
    """Whether it is an array with one entry."""
    try:
        return math.prod(value.shape) == 1
    except Exception:  # it is none, or not ours
        return False


def is_number(value: object) -> bool:
    """Whether it is a finite number, and not true or false."""
    found = number(value)
    return found is not None and math.isfinite(found)


def check_values(values: object, noise: object, objectives: Sequence[str], *, partial: bool = False) -> list[Problem]:
    """What is wrong with measured values and their standard deviations.

    Args:
        values: by name.
        noise: by name.
        objectives: names of what is measured.
        partial: whether some values, but not all, may still be to come.
    """
    problems = [*check_names("values", values), *check_names("noise", noise)]
    if problems:
        return problems
    assert isinstance(values, Mapping) and isinstance(noise, Mapping)
    known = set(objectives)
    problems = [
        Problem(f"is not measured here; expected {_list(objectives)}", ("values" if name in values else "noise", name))
        for name in dict.fromkeys([*values, *noise])
        if name not in known
    ]
    for name in objectives:
        if name in values:
            problems += check_value(values[name], name)
        elif not (partial and known.intersection(values)):
            problems.append(missing(name, values))
        elif name in noise:
            problems.append(Problem(f"expected the value of {name} as well, got its noise alone", ("noise", name)))
        if name in noise:
            problems += check_noise(noise[name], name)
    return problems


def check_value(value: object, name: str) -> list[Problem]:
    """What is wrong with the measured value of that name."""
    if _is_within(value, -LARGEST):
        return []
    text = f"expected a finite number, at most {LARGEST:g}, got {shown(value)}"
    return [Problem(text, ("values", name), remedy="report a failure where nothing was measured")]


def check_censored(censored: object, values: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with what is said of values of which only a limit is known."""
    if problems := check_names("censored", censored):
        return problems
    assert isinstance(censored, Mapping)
    return [
        Problem(f"expected below or above, of a value that is told, got {shown(side)}", ("censored", name))
        for name, side in censored.items()
        if side not in ("below", "above") or name not in values
    ]


def limit(written: str) -> tuple[str, Side | None]:
    """A measurement as people write it, without the sign that makes it a limit, and the side of the true value.

    "< 0.1", "≤0.1", "<= 0.1" are below 0.1 (and "< 0.1 %" below "0.1 %"); "> 99", "≥99", ">= 99" above 99. What is left
    is still text.
    """
    bare = written.strip()
    for side, signs in (("below", ("<=", "=<", "≤", "⩽", "＜", "<")), ("above", (">=", "=>", "≥", "⩾", "＞", ">"))):
        for sign in signs:
            if bare.startswith(sign):
                return bare[len(sign) :].strip(), side  # type: ignore[return-value]
    return bare, None


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


def storable(value: object) -> bool:
    """Whether a value can be stored: as JSON, in UTF-8."""
    return not _unstorable(value)


def shown(value: object, *, longest: int = 60) -> str:
    """A value in a message, cut where it is long, without the places in memory that differ every time."""
    try:
        cut = value[: longest + 1] if isinstance(value, str | bytes | bytearray) else value
        text = _glance(cut) if isinstance(cut, list | tuple | dict | set | frozenset) else repr(cut)
        text = " ".join(_PLACE.sub("", text).split())
    except Exception:  # of an integer with thousands of digits, or of objects that are not ours
        return f"a {type(value).__name__}"
    return text if len(text) <= longest else f"{text[: longest - 3]}…"


_PLACE = re.compile(" at 0x[0-9a-fA-F]+")


def _glance(value: object) -> str:
    """The beginning of what may hold very much."""
    short = reprlib.Repr()
    short.maxlevel = 4
    short.maxdict = short.maxlist = short.maxtuple = short.maxset = short.maxfrozenset = 50
    short.maxstring = short.maxother = short.maxlong = 200
    return short.repr(value)


def check_names(field: str, given: object) -> list[Problem]:
    """What is wrong with a mapping as such."""
    if not isinstance(given, Mapping):
        return [Problem(f"expected a mapping by name, got {shown(given)}", (field,))]
    bad = [name for name in given if not isinstance(name, str) or check_text(name, longest=LONGEST_NAME)]
    return [Problem(f"expected names that are short texts, got {shown(name)}", (field,)) for name in bad]


def missing(name: str, values: Mapping[str, Any]) -> Problem:
    """That a value of that name is not there."""
    text = f"expected a value, got none{f' (but for {_list(values)})' if values else ''}"
    return Problem(text, ("values", name), remedy="report the result when all are there")


def _list(names: Collection[str]) -> str:
    """Names in a message."""
    return ", ".join(islice(names, MOST_SHOWN)) + (", …" if len(names) > MOST_SHOWN else "")


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
