"""What a bundle says of new inputs: numbers or classes of a whole input, or of each of its places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Answers:
    """Predictions of n inputs.

    Attributes:
        values: (n, m) float64 in the target's unit; for classes (n, classes) probabilities, for orientations (n, 4)
            unit quaternions.
        lower, upper, std: (n, m) float64; None for classes.
        sets: (n, classes) bool, which classes together hold the true one; None for numbers.
        distance: (n,) float64, of the input from what was trained on; beyond 1 it is out of the domain.
        within: (n,) float64, degrees from the orientation that hold 90 % of the measured ones; None for anything else.
        why: for each input what it has that was never varied in training, or nothing.
    """

    values: npt.NDArray[np.float64]
    lower: npt.NDArray[np.float64] | None
    upper: npt.NDArray[np.float64] | None
    std: npt.NDArray[np.float64] | None
    sets: npt.NDArray[np.bool_] | None
    distance: npt.NDArray[np.float64]
    why: tuple[str, ...]
    within: npt.NDArray[np.float64] | None = None

    @property
    def outside(self) -> npt.NDArray[np.bool_]:
        """(n,): out of the domain."""
        return np.array([far > 1 or bool(text) for far, text in zip(self.distance, self.why, strict=True)], dtype=bool)


@dataclass(frozen=True)
class Field:
    """Numbers at each place of an array.

    Attributes:
        id: of the array.
        values, lower, upper: (m, *places) float32, in the target's unit.
        distance: of the array from what was trained on: the median of its tiles'.
    """

    id: str
    values: npt.NDArray[np.float32]
    lower: npt.NDArray[np.float32]
    upper: npt.NDArray[np.float32]
    distance: float


@dataclass(frozen=True)
class Mask:
    """The class of each place of an array.

    Attributes:
        id: of the array.
        raw: (channels, *places), the array itself.
        classes: (*places) uint8, numbers of classes.
        confidence: (*places) float32, probability of that class.
        distance: of the array from what was trained on: the median of its tiles'.
    """

    id: str
    raw: npt.NDArray[Any]
    classes: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    distance: float

    def shares(self, count: int) -> npt.NDArray[np.float64]:
        """(count,) share of the places that each class has."""
        return np.bincount(self.classes.ravel(), minlength=count) / max(self.classes.size, 1)
