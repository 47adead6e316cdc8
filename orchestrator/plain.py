"""Values as JSON text, with numpy's numbers and arrays taken for plain ones."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

DEEPEST = 200
"""Levels of lists and mappings in one another. What is deeper could be written on a shallow stack, by a program that
then cannot read it on a deeper one."""


def to_json(value: object, *, deepest: int = DEEPEST) -> str:
    """Compact JSON. NaN and infinite numbers stay what they are, in Python's spelling.

    Raises:
        TypeError, ValueError: something in it is not a number, text, list or mapping.
        RecursionError: lists and mappings are nested deeper than `deepest`.
    """
    text = _encode(value)
    if len(text) > 2 * deepest and text.count("[") + text.count("{") > deepest and _depth(text) > deepest:
        raise RecursionError(f"nested deeper than {deepest} levels")
    return text


def plain(value: object) -> object:
    """One step from a value that JSON does not know to one that it may."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence | set | frozenset):
        return list(value)
    raise TypeError(f"got a {type(value).__name__}")


def writable_json(text: str) -> str:
    """JSON whose texts UTF-8 can take: as `writable` makes them, but in JSON, in any type of value and in any key."""
    return _NO_CHARACTER.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text)


def as_recorded(value: object) -> Any:
    """A value as it comes back from the ledger."""
    return json.loads(writable_json(to_json(value)))


def writable(value: Any) -> Any:
    """A value whose texts can be stored: what is no character in them, as in names of files that are not UTF-8, is
    written as its number."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Path):
        return writable(str(value))
    if isinstance(value, Mapping):
        return {writable(key): writable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [writable(inner) for inner in value]
    return value


def _depth(text: str) -> int:
    brackets = _BETWEEN_BRACKETS.sub("", text)
    return max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets), default=0)


_BETWEEN_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^][{}"]+')
_NO_CHARACTER = re.compile("[\ud800-\udfff]")  # stands only within texts of JSON
_encode = json.JSONEncoder(separators=(",", ":"), default=plain, ensure_ascii=False).encode
