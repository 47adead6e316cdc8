"""Microstructures that trials left: as arrays, as phases, as pixels of a picture, and how large they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.report import text
from matloop.orchestrator.trial import Trial

KINDS = ("microstructure", "density")
"""Artifacts that are structures: of phases, and between two phases."""

MOST = 8
"""Different values of a structure of phases, at most; more of them are grey values."""

Array = npt.NDArray[Any]
Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Size:
    """Of one period.

    Attributes:
        period_nm: along x (columns) and y (rows), nm.
        thickness_nm: of a film whose pattern lies in a plane, nm; None where nobody knows.
    """

    period_nm: tuple[float, float]
    thickness_nm: float | None = None


def kind_of(trial: Trial) -> str | None:
    """Which artifact of a trial is its structure; None if there is none."""
    return next((kind for kind in KINDS if kind in trial.artifacts), None)


def load(store: ArtifactStore, trial: Trial) -> Array | None:
    """A trial's structure, (H, W) or (D, H, W); None if it left none, the file is gone or holds something else."""
    kind = kind_of(trial)
    if kind is None:
        return None
    try:
        array: Array = np.asarray(store.load(trial.artifacts[kind]))
    except (OSError, ValueError, EOFError):
        return None
    while array.ndim > 2 and 1 in array.shape:  # one sample, one channel, or one layer
        array = array.squeeze(array.shape.index(1))
    return array if array.ndim in (2, 3) and array.dtype.kind in "buif" and array.size else None


def labels(array: Array) -> Labels | None:
    """Phases 0, 1, …: the values as they are, or numbered in rising order where they are others, such as 0 and 255.

    A structure of one such value alone, as 255 everywhere, is of phase 1. What lies between two phases, in
    [0, 1], is cut at 1/2.

    Args:
        array: as `load` returns it.

    Returns:
        As `array`; None where there are more than `MOST` different values.
    """
    if array.dtype.kind == "f":
        return (np.nan_to_num(array) > 0.5).astype(np.uint8)
    values, places = np.unique(array, return_inverse=True)
    if values[0] >= 0 and values[-1] < MOST:
        return array.astype(np.uint8)
    numbers = places.reshape(array.shape) + (len(values) == 1)
    return numbers.astype(np.uint8) if len(values) <= MOST else None


def grey(array: Array) -> Labels:
    """Pixels of a picture, 0 (black) for phase 0 to 255; a structure in space shows its middle plane."""
    plane = array[len(array) // 2] if array.ndim == 3 else array
    found = None if array.dtype.kind == "f" else labels(array)
    if found is not None:
        chosen = found[len(found) // 2] if found.ndim == 3 else found
        return np.rint(255.0 * chosen / max(1, int(found.max()))).astype(np.uint8)
    low, high = (0.0, 1.0) if array.dtype.kind == "f" else (float(array.min()), float(array.max()))
    share = np.clip((np.nan_to_num(plane.astype(np.float64)) - low) / ((high - low) or 1.0), 0, 1)
    return np.rint(255 * share).astype(np.uint8)


def violations(trial: Trial) -> dict[str, float]:
    """By how much a structure breaks what was asked of it, by the name of the limit; empty if it keeps everything.

    Drivers note it as `info["violations"]`, those that others consist of under their names in `info`, and strategies as
    `extra["violations"]`.
    """
    inner = (one for one in trial.info.values() if isinstance(one, Mapping))
    noted = [kept.get("violations") for kept in (trial.extra, *inner, trial.info)]
    found = {str(name): by for one in noted if isinstance(one, Mapping) for name, by in one.items()}
    return {name: float(by) for name, by in found.items() if _amount(by) and by > 0}


def outside(trial: Trial) -> list[str]:
    """Statistics in which a strategy saw that the structure is unlike the data, `extra["outside"]`."""
    found = trial.extra.get("outside")
    return [str(name).replace("_", " ") for name in found] if isinstance(found, Sequence | set) else []


def faults(trial: Trial) -> list[str]:
    """What to say of a structure that breaks limits or is unlike the data; empty if there is nothing."""
    broken = [f"breaks {name.replace('_', ' ')} by {text.number(by)}" for name, by in violations(trial).items()]
    return broken + [f"outside the data: {name}" for name in outside(trial)]


def _amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def size(history: History, store: ArtifactStore, trial: Trial) -> Size | None:
    """How large one period of a trial's structure is, by its driver; None where that does not say."""
    from matloop.orchestrator.composition.rebuilding import driver_for
    from matloop.orchestrator.protocols import Scaled

    try:
        driver, _ = driver_for(trial, history, store)
    except MatloopError:  # it needs what is not on this machine, or is no longer installed
        return None
    return Size(driver.period_nm, getattr(driver, "thickness_nm", None)) if isinstance(driver, Scaled) else None
