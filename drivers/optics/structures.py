"""What a point of the driver stands for: the pixels of one period of the film."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import InvalidPoint
from matloop.search_spaces.latent import Latent

Kind = Literal["microstructure", "density"]


def structure_of(point: Mapping[str, Any], generator: str | Path | dict[str, Any]) -> tuple[Kind, npt.NDArray[Any]]:
    """A microstructure, (H, W) uint8 of 0 and 1, or a density, (H, W) float64 in [0, 1]; rows are y.

    Args:
        point: with one of the keys "z", "microstructure" and "density".
        generator: that renders z.

    Raises:
        InvalidPoint: it is none of these.
    """
    if set(point) == {"z"}:
        return "microstructure", Latent(generator).microstructure(point)
    if set(point) == {"microstructure"}:
        values = _pixels("microstructure", point["microstructure"], "of 0 and 1")
        if not np.isin(values, (0, 1)).all():
            raise InvalidPoint(
                f"expected 'microstructure' to be (H, W) of 0 and 1, got the values {np.unique(values)[:5].tolist()}; "
                "give shares between them as 'density'"
            )
        return "microstructure", values.astype(np.uint8)
    if set(point) == {"density"}:
        values = _pixels("density", point["density"], "from 0 to 1")
        if not ((values >= 0) & (values <= 1)).all():
            raise InvalidPoint(f"expected 'density' from 0 to 1, got {values.min():g} to {values.max():g}")
        return "density", values
    raise InvalidPoint(f"expected the one key 'z', 'microstructure' or 'density', got {sorted(point)}")


def _pixels(key: str, given: Any, wanted: str) -> npt.NDArray[np.float64]:
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidPoint(f"expected '{key}' to be rows of equal length {wanted}: {error}") from error
    if values.ndim != 2 or not values.size:
        raise InvalidPoint(f"expected '{key}' to be (H, W) {wanted}, got the shape {values.shape}")
    return values
