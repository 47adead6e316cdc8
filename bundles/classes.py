"""Probabilities that mean what they say: one temperature for all classes, and sets that hold the true one.

Temperature scaling (Guo et al., ICML 2017) divides what a network gives before the softmax by one number, so that no
answer changes. Sets of classes are those of split conformal prediction with the probability as score (Sadinle, Lei &
Wasserman, JASA 114 (2019) 223).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar

from matloop.bundles.intervals import LEVEL, Calibrated, conformal

Array = npt.NDArray[np.float64]

_BINS = 15
_LARGEST = 20.0
"""Most and, turned over, least temperature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes(Calibrated):
    """How what networks give becomes probabilities and sets.

    Attributes:
        temperature: > 0.
        least: a class belongs to the set if its probability is at least this.
    """

    temperature: float
    least: float

    @classmethod
    def of(
        cls,
        logits: torch.Tensor,
        y: torch.Tensor,
        groups: npt.NDArray[np.int64] | None = None,
        *,
        level: float = LEVEL,
    ) -> Self:
        """Calibrate.

        Args:
            logits: (k, n, classes), what each of k networks gives for inputs not trained on.
            y: (n,) int64 true classes.
            groups: (n,) int64, inputs with the same number belong together; None where each is by itself.
            level: in (0, 1).
        """
        weights = torch.ones(len(y), dtype=torch.float64)
        if groups is not None:
            _, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
            weights = torch.as_tensor(1.0 / sizes[number])

        def loss(log_temperature: float) -> float:
            own = probabilities(logits, float(np.exp(log_temperature))).gather(1, y[:, None])[:, 0]
            return float(-(weights * own.clamp_min(1e-12).log()).sum() / weights.sum())

        edge = float(np.log(_LARGEST))
        found = minimize_scalar(loss, bounds=(-edge, edge), method="bounded", options={"xatol": 1e-4})
        temperature = float(np.exp(found.x))
        own = probabilities(logits, temperature).gather(1, y[:, None])[:, 0].numpy()
        worst, promised = conformal(1 - own, groups, level)
        return cls(
            temperature=temperature,
            least=1 - worst,
            level=level,
            rows=len(y),
            groups=None if groups is None else len(np.unique(groups)),
            promised=promised,
        )

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """(k, n, classes, ...) to (n, classes, ...) float64, averaged over the k networks."""
        return probabilities(logits, self.temperature)

    def sets(self, shares: Array) -> npt.NDArray[np.bool_]:
        """(n, classes) probabilities to which classes are in the set; the most probable one always is."""
        inside = shares >= self.least - 1e-12
        inside[np.arange(len(shares)), shares.argmax(axis=1)] = True
        return inside


def probabilities(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """(k, n, classes, ...) to (n, classes, ...) float64, averaged over the k networks."""
    return torch.softmax(logits.double() / temperature, dim=2).mean(dim=0)


def expected_calibration_error(shares: Array, y: npt.NDArray[np.int64]) -> float:
    """Mean distance, over 15 bins of confidence, between confidence and the share of right answers; in [0, 1].

    Args:
        shares: (n, classes) float64 probabilities.
        y: (n,) true classes.
    """
    confidence, right = shares.max(axis=1), shares.argmax(axis=1) == y
    number = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.abs(np.bincount(number, confidence - right, _BINS))
    return float(gaps.sum() / len(y))
