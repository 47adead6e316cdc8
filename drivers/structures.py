"""What a point of a driver of microstructures stands for: the pixels, or voxels, of one period."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Space
from matloop.search_spaces.latent import Latent

Kind = Literal["microstructure", "density"]

AXES = {2: "(H, W)", 3: "(D, H, W)"}
"""Of an array, by its dimension; rows (H) are y, columns (W) are x, layers (D) are z."""


def structure_of(
    point: Mapping[str, Any],
    generator: str | Path | dict[str, Any],
    *,
    dimensions: Collection[int] = (2,),
    phases: int = 2,
) -> tuple[Kind, npt.NDArray[Any]]:
    """A microstructure, uint8 labels of phases, or a density, float64 in [0, 1] between two phases.

    Args:
        point: with one of the keys "z", "microstructure" and "density".
        generator: that renders z.
        dimensions: 2 for (H, W), 3 for (D, H, W), or both, as the driver can.
        phases: labels are below it.

    Raises:
        InvalidPoint: it is none of these.
    """
    if set(point) == {"z"}:
        rendered = Latent(generator).microstructure(point)
        if rendered.ndim not in dimensions:
            raise InvalidPoint(f"expected a generator of {_axes(dimensions)}, got one of {rendered.shape}")
        return "microstructure", rendered
    if set(point) == {"microstructure"}:
        wanted = "of 0 and 1" if phases == 2 else f"of whole numbers from 0 to {phases - 1}"
        values = _pixels("microstructure", point["microstructure"], wanted, dimensions)
        if not np.isin(values, range(phases)).all():
            remedy = "; give shares between them as 'density'" if phases == 2 else ""
            raise InvalidPoint(
                f"expected 'microstructure' to be {_axes(dimensions)} {wanted}, got the values "
                f"{np.unique(values)[:5].tolist()}{remedy}"
            )
        return "microstructure", values.astype(np.uint8)
    if set(point) == {"density"}:
        if phases != 2:
            raise InvalidPoint(f"expected 'microstructure', got 'density', which lies between two phases, not {phases}")
        values = _pixels("density", point["density"], "from 0 to 1", dimensions)
        if not ((values >= 0) & (values <= 1)).all():
            raise InvalidPoint(f"expected 'density' from 0 to 1, got {values.min():g} to {values.max():g}")
        return "density", values
    raise InvalidPoint(f"expected the one key 'z', 'microstructure' or 'density', got {sorted(point)}")


def check_generator(space: Space, generator: str | Path | dict[str, Any]) -> list[str]:
    """See `Checking`: that the driver's generator renders what the space's does.

    Raises:
        ConfigError: it is another one, so that the driver would measure other structures than the space stands for.
    """
    from matloop.surrogates.generator.weights import load

    if isinstance(space, Latent) and space.generator != generator and load(space.generator) is not load(generator):
        raise ConfigError(
            f"expected the generator of the space, {space.generator!r}, got {generator!r}; give both the same",
            at=("driver", "generator"),
        )
    return []


def _pixels(key: str, given: Any, wanted: str, dimensions: Collection[int]) -> npt.NDArray[np.float64]:
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidPoint(f"expected '{key}' to be rows of equal length {wanted}: {error}") from error
    if values.ndim not in dimensions or not values.size:
        raise InvalidPoint(f"expected '{key}' to be {_axes(dimensions)} {wanted}, got the shape {values.shape}")
    return values


def _axes(dimensions: Collection[int]) -> str:
    return " or ".join(AXES[d] for d in sorted(dimensions))
