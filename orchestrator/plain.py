"""Values as JSON text, with numpy's numbers and arrays taken for plain ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def to_json(value: object) -> str:
    """Compact JSON.

    Raises:
        TypeError, ValueError: something in it is not a number, text, list or mapping.
    """
    return _encode(value)


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


_encode = json.JSONEncoder(separators=(",", ":"), default=plain, ensure_ascii=False).encode
