"""Details of a measurement as plain values that can be stored, whatever objects a driver put them in."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Set
from enum import Enum
from typing import Any

import numpy as np

from matloop.orchestrator.measurement import LARGEST_INFO, is_listed, is_machines, number, shown
from matloop.orchestrator.plain import writable

DEEPEST = 50
"""Levels of lists and mappings in one another; what goes deeper could not be sent on by every program that reads it."""

MOST_BITS = 10_000
"""Of a whole number: what has more cannot be written in decimal digits by every reader."""


class Unstorable(ValueError):
    """A value cannot be stored; the text says what was expected and what came."""


def plain_copy(value: object) -> Any:
    """A copy made of numbers, text, true, false, None, lists and mappings with text as keys.

    Numbers, arrays and tables of other packages, paths, moments, bytes and enumerations become what is nearest to them;
    text that is not Unicode is written with escapes.

    Raises:
        Unstorable: something in it is none of these, it is too deep (as one that contains itself is), too large, or
            cannot be read.
    """
    try:
        return _Copier().copy(value, 0)
    except Unstorable:
        raise
    except Exception as error:  # of objects that are not ours
        if is_machines(error):
            raise
        raise Unstorable(f"expected a value that can be read, got {reason(error)}") from error


def reason(error: Exception) -> str:
    """An exception that reading a value led to, in one line."""
    return f"{type(error).__name__} from reading it ({shown(str(error))})"


class _Copier:
    """Copies one value, and gives up where the copy would be larger than may be stored."""

    def __init__(self) -> None:
        self._room = LARGEST_INFO

    def copy(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is float or kind is bool or value is None:
            self._take(2)
            return value
        if kind is str:
            self._take(len(value))
            return value if value.isascii() else writable(value)
        if kind is int:
            return self._whole(value)
        if depth > DEEPEST:
            raise Unstorable("expected less nesting, got too much to be stored")
        if isinstance(value, Mapping):
            return {self._key(key): self.copy(inner, depth + 1) for key, inner in value.items()}
        if is_listed(value) or isinstance(value, Set):
            return [self.copy(inner, depth + 1) for inner in value]
        return self._other(value, depth)

    def _whole(self, value: int) -> int:
        if value.bit_length() > MOST_BITS:
            raise Unstorable(f"expected a number of at most {MOST_BITS:,} bits, got one of {value.bit_length():,}")
        self._take(2 + value.bit_length() // 4)
        return value

    def _key(self, key: Any) -> str:
        if isinstance(key, str):
            self._take(len(key) + 4)
            return str(writable(str.__str__(key)))
        if isinstance(key, Enum):
            return self._key(key.value)
        if key is None or isinstance(key, bool | np.bool_):
            return {None: "null", True: "true", False: "false"}[None if key is None else bool(key)]
        found = number(key)
        if found is None:
            raise Unstorable(f"expected names that are texts, got {shown(key)}")
        self._take(8)
        return str(int(key)) if found.is_integer() and not isinstance(key, float) else repr(found)

    def _other(self, value: Any, depth: int) -> Any:
        """A value of a type that JSON does not know."""
        if isinstance(value, Enum):
            return self.copy(value.value, depth + 1)
        if isinstance(value, str):
            return self.copy(str.__str__(value), depth)
        if isinstance(value, bytes | bytearray | memoryview):
            self._take(len(value))
            return bytes(value).decode("utf-8", "backslashreplace")
        if isinstance(value, int):
            return self._whole(int(value))
        if isinstance(value, os.PathLike):
            return self.copy(os.fsdecode(value), depth)
        if isinstance(value, np.datetime64):
            return str(value)
        if (shape := getattr(value, "shape", None)) is not None:
            if 2 * math.prod(shape) > self._room:  # before it is made a list
                self._take(2 * math.prod(shape))
            return self.copy(_unpacked(value), depth + 1)
        if callable(moment := getattr(value, "isoformat", None)):
            return self.copy(str(moment()), depth)
        if (found := number(value)) is not None:
            return found
        raise Unstorable(f"expected numbers, text, lists and mappings, got a {type(value).__name__}")

    def _take(self, characters: int) -> None:
        self._room -= characters
        if self._room < 0:
            raise Unstorable(f"expected at most {LARGEST_INFO:,} bytes as JSON, got more")


def _unpacked(array: Any) -> object:
    """An array as lists; a table or series of pandas by its names."""
    if hasattr(array, "to_dict"):
        return array.to_dict("list") if array.ndim == 2 else array.to_dict()
    return array.tolist()
