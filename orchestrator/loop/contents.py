"""What may be kept as an artifact: bytes, text, a file by its path, arrays that hold no objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.details import reason
from matloop.orchestrator.measurement import shown


class Unkeepable(ValueError):
    """Content of an artifact cannot be stored; the text says what was expected and what came."""


def content(given: Any) -> npt.NDArray[Any] | bytes:
    """Content of an artifact as it is stored.

    Args:
        given: bytes; text, which is stored in UTF-8; a `pathlib.Path`, whose file is read; an array, or what becomes
            one, such as a tensor or a list of numbers.

    Raises:
        Unkeepable: it is none of these.
    """
    if type(given) is bytes:
        return given
    try:
        if isinstance(given, bytes | bytearray | memoryview):
            return bytes(given)
        if isinstance(given, str):
            return given.encode("utf-8", "backslashreplace")
        if isinstance(given, Path):
            return given.read_bytes()
        array = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    except MemoryError:
        raise
    except Exception as error:  # of objects that are not ours
        raise Unkeepable(f"expected bytes, text or an array, got {reason(error)}") from error
    if array.dtype.hasobject:
        raise Unkeepable(f"expected bytes, text or an array without objects, got {shown(given)}")
    return array
