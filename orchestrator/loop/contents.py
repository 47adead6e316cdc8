"""What may be kept as an artifact: bytes, text, a file by its path, arrays that hold no objects."""

from __future__ import annotations

from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.details import reason
from matloop.orchestrator.measurement import is_machines, shown


class Unkeepable(ValueError):
    """Content of an artifact cannot be stored; the text says what was expected and what came."""


def content(given: Any) -> npt.NDArray[Any] | bytes:
    """Content of an artifact as it is stored.

    Args:
        given: bytes or a `BytesIO`; text, which is stored in UTF-8; a `pathlib.Path`, whose file is read; an array, or
            what becomes one, such as a tensor or a list of numbers; masked entries become NaN.

    Raises:
        Unkeepable: it is none of these.
    """
    if type(given) is bytes:
        return given
    try:
        if isinstance(given, BytesIO | StringIO):
            given = given.getvalue()
        if isinstance(given, bytes | bytearray | memoryview):
            return bytes(given)
        if isinstance(given, str):
            return given.encode("utf-8", "backslashreplace")
        if isinstance(given, Path):
            return given.read_bytes()
        array = _array(given)
    except Exception as error:  # of objects that are not ours
        if is_machines(error):
            raise
        raise Unkeepable(f"expected bytes, text or an array, got {reason(error)}") from error
    if array.dtype.hasobject:
        raise Unkeepable(f"expected bytes, text or an array without objects, got {shown(given)}")
    return array


def _array(given: Any) -> npt.NDArray[Any]:
    if np.ma.is_masked(given):  # or what is masked would pass for measured
        return given.astype(np.result_type(given.dtype, np.float32)).filled(np.nan)
    if not hasattr(given, "detach"):
        return np.asarray(given)
    tensor = given.detach().cpu()
    try:
        return np.asarray(tensor)
    except TypeError:  # of a precision that numpy does not have
        return np.asarray(tensor.float())
