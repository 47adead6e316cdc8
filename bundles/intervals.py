"""Intervals that hold what they promise: predictions of held-out rows say how far to go on either side.

Split conformal prediction (Lei et al., JASA 113 (2018) 1094), with residuals divided by the predicted standard
deviation where that makes the intervals narrower. Rows of one specimen are not independent. Where groups are known
every group counts once, and one more group than there are is reckoned with (Dunn, Wasserman & Ramdas, JASA 118 (2023)
2491).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.randomness import derive
from matloop.surrogates.uncertainty.calibration import Calibration, recalibrate

Array = npt.NDArray[np.float64]

LEVEL = 0.9

GAIN = 0.99
"""Predicted spreads are used if the interval score of rows not used is below this times that of a constant width."""

_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What holds for a share of new inputs, and the inputs that this rests on.

    Attributes:
        level: promised share, in (0, 1).
        rows: inputs (or places of them) that it was calibrated on.
        groups: of these; None where each is its own.
        promised: whether there were enough rows, or groups, to promise the level for new ones.
    """

    level: float
    rows: int
    groups: int | None
    promised: bool

    def described(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_described(cls, found: Mapping[str, Any]) -> Self:
        """The same again."""
        return cls(**found)


def basis(calibration: Mapping[str, Any]) -> Mapping[str, Any]:
    """Level, rows, groups and promise of a card's calibration, which are the same for all its targets."""
    found: Mapping[str, Any] = calibration["classes"] if "classes" in calibration else calibration["intervals"][0]
    return found


def unpromised(calibration: Mapping[str, Any]) -> str:
    """That a card's intervals or sets may hold fewer than they say, where they rest on too little; else empty."""
    rests = basis(calibration)
    if rests["promised"]:
        return ""
    count = f"{rests['rows']} validation rows" if rests["groups"] is None else f"{rests['groups']} groups of rows"
    what = "sets" if "classes" in calibration else "intervals"
    return f"the {what} rest on {count}, too few to promise {100 * rests['level']:.0f} % for new ones"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals(Calibrated):
    """Of one target.

    Attributes:
        scale: factor on the predicted spread; 0 where intervals are equally wide everywhere.
        noise: the part that the spread does not explain, in the target's unit.
        factor: half of an interval's width over the standard deviation, hypot(scale * spread, noise).
    """

    scale: float
    noise: float
    factor: float

    @classmethod
    def of(
        cls,
        mean: Array,
        spread: Array | None,
        y: Array,
        groups: npt.NDArray[np.int64] | None = None,
        *,
        level: float = LEVEL,
    ) -> Self:
        """Calibrate.

        Args:
            mean: (n,) float64, predictions of rows not trained on, n >= 1.
            spread: (n,) float64, predicted standard deviations, >= 0; None where there are none.
            y: (n,) float64, what was measured.
            groups: (n,) int64, rows with the same number belong together; None where each is by itself.
            level: share of measurements that are to lie within, in (0, 1).
        """
        residual = np.abs(np.asarray(y, dtype=np.float64) - mean)
        constant = Calibration(0.0, max(float(np.sqrt(np.mean(residual**2))), _TINY))
        calibration = constant
        if spread is not None and len(residual) >= 4 and spread.max() > 0:
            fitted = recalibrate(mean, spread, y)
            if _score(fitted, residual, spread, groups, level) < GAIN * _score(
                constant, residual, spread, groups, level
            ):
                calibration = fitted
        std = calibration.std(np.zeros_like(residual) if spread is None else spread)
        factor, promised = conformal(residual / np.maximum(std, _TINY), groups, level)
        return cls(
            scale=calibration.scale,
            noise=calibration.noise,
            factor=factor,
            level=level,
            rows=len(residual),
            groups=None if groups is None else len(np.unique(groups)),
            promised=promised,
        )

    @property
    def spreads(self) -> bool:
        """Whether widths follow the predicted spread, which then has to be computed."""
        return self.scale > 0

    def std(self, mean: Array, spread: Array | None) -> Array:
        """Standard deviation of a measurement around the prediction, (n,) float64."""
        return Calibration(self.scale, self.noise).std(np.zeros_like(mean) if spread is None else spread)

    def bounds(self, mean: Array, spread: Array | None) -> tuple[Array, Array]:
        """Lower and upper, (n,) float64 each, in the target's unit."""
        half = self.factor * self.std(mean, spread)
        return mean - half, mean + half


def conformal(scores: Array, groups: npt.NDArray[np.int64] | None, level: float) -> tuple[float, bool]:
    """The value that a new row's score does not exceed with probability `level`, and whether that can be promised.

    Args:
        scores: (n,) float64 of rows not trained on, larger is worse.
        groups: (n,) int64 or None.
        level: in (0, 1).
    """
    n = len(scores)
    if groups is None:
        weights, count = np.full(n, 1 / (n + 1)), n
    else:
        _, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        count = len(sizes)
        weights = 1 / (sizes[number] * (count + 1))
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weights[order]) >= level - 1e-9
    place = int(np.argmax(reached)) if reached.any() else n - 1
    return float(scores[order][place]), count + 1 >= math.ceil(1 / (1 - level) - 1e-9)


def coverage(inside: npt.NDArray[np.bool_], groups: npt.NDArray[np.int64] | None, seed: int = 0) -> dict[str, float]:
    """Share of rows that lie inside, with the central 90 % of 2,000 bootstrap draws of the rows, or of the groups."""
    shares = bootstrap(inside.astype(np.float64), groups, seed)
    return {"share": float(inside.mean()), "lower": shares[0], "upper": shares[1]}


def bootstrap(values: Array, groups: npt.NDArray[np.int64] | None, seed: int = 0) -> tuple[float, float]:
    """Bounds of the central 90 % of the mean over 2,000 draws, with replacement, of rows or of whole groups.

    Args:
        values: (n,) float64, n >= 1.
        groups: (n,) int64 or None.
        seed: of the draws.
    """
    rng = derive("bootstrap", seed)
    number = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(number.max()) + 1
    sums, sizes = np.bincount(number, values, count), np.bincount(number, minlength=count)
    means = []
    for _ in range(20):
        drawn = rng.integers(0, count, (100, count))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [0.05, 0.95])
    return float(low), float(high)


def _score(
    calibration: Calibration,
    residual: Array,
    spread: Array,
    groups: npt.NDArray[np.int64] | None,
    level: float,
) -> float:
    """Mean interval score (Gneiting & Raftery 2007, eq. 43) of each half, with the factor from the other half."""
    std = np.maximum(calibration.std(spread), _TINY)
    members = np.arange(len(residual)) if groups is None else groups
    names = derive("halves").permutation(np.unique(members))
    first = np.isin(members, names[: len(names) // 2])
    if first.all() or not first.any():
        return math.inf
    total = 0.0
    for fitted, judged in ((first, ~first), (~first, first)):
        factor, _ = conformal((residual / std)[fitted], None if groups is None else groups[fitted], level)
        half = factor * std[judged]
        missed = np.maximum(residual[judged] - half, 0.0)
        total += float((2 * half + 2 / (1 - level) * missed).sum())
    return total / len(residual)
