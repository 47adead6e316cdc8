"""Arrays in, arrays out: statistics are computed in torch and given back as what was given, NumPy or torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

Array = TypeVar("Array", torch.Tensor, npt.NDArray[Any])


def opened(values: Array, dimensions: int) -> tuple[torch.Tensor, Callable[[torch.Tensor], Array]]:
    """Structures as a tensor of floating-point numbers, and the way back.

    Args:
        values: (..., H, W) or (..., D, H, W), float, int or bool. Floats keep their precision, all else is float64.
        dimensions: of space, 2 or 3.

    Returns:
        The tensor, and a function from a tensor to the kind of array that was given (float64 for NumPy).

    Raises:
        ValueError: there are too few axes, or one without pixels.
    """
    if dimensions not in (2, 3):
        raise ValueError(f"expected 2 or 3 dimensions of space, got {dimensions}")
    if values.ndim < dimensions or 0 in values.shape[-dimensions:]:
        wanted = "(..., H, W)" if dimensions == 2 else "(..., D, H, W)"
        raise ValueError(f"expected structures of shape {wanted}, got {tuple(values.shape)}; set `dimensions`")
    if isinstance(values, torch.Tensor):
        return values if values.is_floating_point() else values.double(), lambda found: found
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64)), lambda found: found.numpy()


def axes(dimensions: int) -> tuple[int, ...]:
    """The axes of space, counted from the last: (-2, -1) or (-3, -2, -1)."""
    return tuple(range(-dimensions, 0))
