"""Values by name, out of what a driver wrapped them in: mappings, named tuples, records, tables, lists, arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from matloop.orchestrator.details import reason
from matloop.orchestrator.errors import InvalidResult
from matloop.orchestrator.measurement import is_listed, is_machines

MOST_NAMES: Final = 10_000
"""Entries that are looked at; more belong into an artifact."""


def named(result: Any, names: Sequence[str]) -> Any:
    """The values in a result that is no `Measurement`, by name."""
    if has_names(result):
        return result
    if len(names) == 1:
        return {names[0]: result}
    found = in_order(result, names)
    if found is None:
        text = f"expected a mapping with {names}, got {type(result).__name__}"
        if (length := _length(result)) is not None:
            text = f"expected {len(names)} numbers in the order of {names}, got {length}"
        raise InvalidResult(f"{text}; return a dict of numbers")
    return found


def has_names(given: Any) -> bool:
    """Whether its entries have names: a mapping, a named tuple, a record of numpy, a table or series of pandas."""
    if isinstance(given, Mapping):
        return True
    try:
        if hasattr(given, "_asdict") or getattr(getattr(given, "dtype", None), "names", None):
            return True
        return hasattr(given, "to_dict") and all(isinstance(name, str) for name in islice(given.keys(), MOST_NAMES))
    except Exception:  # of objects that are not ours
        return False


def entries(given: Any, field: str) -> dict[Any, Any]:
    """What has names as a dict."""
    if type(given) is dict:
        return given
    try:
        if hasattr(given, "_asdict"):
            return dict(given._asdict())
        dtype = getattr(given, "dtype", None)
        keys = getattr(dtype, "names", None) or list(islice(given.keys(), MOST_NAMES + 1))
        if len(keys) > MOST_NAMES:
            raise InvalidResult(f"{field}: expected at most {MOST_NAMES:,} entries, got more", at=field)
        return {key: given[key] for key in keys}
    except InvalidResult:
        raise
    except Exception as error:  # of objects that are not ours
        if is_machines(error):
            raise
        raise InvalidResult(
            f"{field}: expected a mapping, got {reason(error)}; return a dict of numbers", at=field
        ) from error


def in_order(given: Any, names: Sequence[str]) -> dict[str, Any] | None:
    """Values in the objectives' order by name; None if they are not as many, or have no order."""
    while is_listed(given) and len(given) == 1 and len(names) > 1:
        given = given[0]
    if not is_listed(given):
        try:
            if isinstance(given, str | bytes | Mapping) or math.prod(given.shape) != len(names):
                return None
            given = (given.to_numpy() if hasattr(given, "to_numpy") else given).reshape(-1)
        except Exception:  # it is no array, or not ours
            return None
    return {name: given[i] for i, name in enumerate(names)} if len(given) == len(names) else None


def _length(given: Any) -> int | None:
    """Of a list, tuple or array; None if it is none."""
    if is_listed(given):
        return len(given)
    try:
        return math.prod(given.shape) if given.shape else None
    except Exception:  # it is no array, or not ours
        return None
