"""A support vector machine that ranks offspring before they are measured, and knows how well it ranks.

It predicts the rank of the loss or, with several objectives, of the non-dominated front among the trials that it
learned from: ranks rather than values, so that outliers and units do not matter, as normal scores, which tell the best
apart from the good. It is a bag of machines rather than one, so that disagreement shows where it does not know. Its
skill is measured on answers left out of each machine's training; evolution screens only as hard as that allows.

References:
    H. Drucker, C. J. C. Burges, L. Kaufman, A. Smola, V. Vapnik, "Support vector regression machines", NIPS 9 (1996).
    L. Breiman, "Bagging predictors", Machine Learning 24 (1996) 123.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata
from sklearn.svm import SVR

from orchestrator.errors import ConfigError
from orchestrator.protocols import Array


@dataclass(frozen=True, kw_only=True)
class FitnessSVM:
    """Settings of the fitness predictor; `fit` is a pure function of the data and the seed.

    Attributes:
        children: candidate children per proposal, from which the predictor chooses, >= 2.
        unscreened: share of proposals in [0, 1] that ignores the predictor, so that it keeps learning what it would
            not have chosen.
        window: trials that it learns from: the best ones and the most recent ones, half each, in [10, 5000].
        refit_every: answers between two fits, >= 1; more in a long campaign.
        members: machines in the bag, >= 2.
        share: part of the trials that each machine learns from, in [0.2, 0.95]; the rest measures its skill.
        regularisation: C of the machines, > 0; larger trusts single measurements more.
        tolerance: half-width of the tube in which errors cost nothing, in normal scores, in [0, 1].
        smoothness: squared length scale of the Gaussian kernel, > 0, as a multiple of the number of columns that vary,
            each scaled to the variance of a uniform one. (Scaled by their own deviation, choices that evolution has
            made rare would lie far from everything, and never be tried again.)
    """

    children: int = 30
    unscreened: float = 0.3
    window: int = 500
    refit_every: int = 1
    members: int = 5
    share: float = 0.8
    regularisation: float = 10.0
    tolerance: float = 0.15
    smoothness: float = 6.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("children", 2, 10_000),
            ("unscreened", 0.0, 1.0),
            ("window", 10, 5000),
            ("refit_every", 1, 10_000),
            ("members", 2, 100),
            ("share", 0.2, 0.95),
            ("regularisation", 1e-6, 1e6),
            ("tolerance", 0.0, 1.0),
            ("smoothness", 1e-3, 1e3),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"expected svm option {name} in [{low}, {high}], got {value}; correct the predictor")

    def fit(self, x: Array, losses: Array, seed: int) -> FittedSVM:
        """Learn to rank.

        Args:
            x: (n, d) float64, encoded points, n >= 4.
            losses: (n, m) float64, finite, smaller is better.
            seed: decides which trials each machine learns from.
        """
        n = len(x)
        if losses.ndim != 2 or len(losses) != n or n < 4:
            raise ValueError(f"expected x (n, d) and losses (n, m) with n >= 4, got {x.shape} and {losses.shape}")
        rng = np.random.default_rng(seed)
        centre, scale = x.mean(axis=0), np.ptp(x, axis=0) / 12**0.5
        varied = scale > 1e-12
        scale = np.where(varied, scale, 1.0)
        z, ranks = (x - centre) / scale, standing(losses)
        scores = ndtri((ranks * (n - 1) + 0.5) / n)
        gamma = 1.0 / (self.smoothness * max(1, int(varied.sum())))
        size = min(n - 1, max(3, round(self.share * n)))
        members, left_out = [], np.full((self.members, n), np.nan)
        for b in range(self.members):
            chosen = rng.choice(n, size=size, replace=False)
            rest = np.setdiff1d(np.arange(n), chosen)
            machine = SVR(C=self.regularisation, epsilon=self.tolerance, gamma=gamma).fit(z[chosen], scores[chosen])
            left_out[b, rest] = machine.predict(z[rest])
            members.append(machine)
        return FittedSVM(tuple(members), centre, scale, _skill(left_out, ranks))


@dataclass(frozen=True)
class FittedSVM:
    """A fitted bag.

    Attributes:
        members: the machines.
        centre, scale: (d,) float64, normalisation of the encoding.
        skill: Spearman correlation of left-out predictions with the measured ranks, in [-1, 1].
    """

    members: Sequence[SVR]
    centre: Array
    scale: Array
    skill: float

    def predict(self, x: Array) -> Array:
        """Ranks predicted by each machine: (members, n) float64; 0 is the best trial known and 1 the worst.

        Args:
            x: (n, d) float64, encoded points.
        """
        z = (x - self.centre) / self.scale
        ranks: Array = ndtr(np.array([machine.predict(z) for machine in self.members]))
        return ranks


def standing(losses: Array) -> Array:
    """Normalised rank of each row among all: 0 is the best, 1 the worst, equals share their mean.

    With one objective it is the rank of the loss; with several the rank of the non-dominated front.

    Args:
        losses: (n, m) float64, n >= 1, smaller is better.

    Returns:
        (n,) float64 in [0, 1].
    """
    order = losses[:, 0] if losses.shape[1] == 1 else fronts(losses)
    ranks: Array = (rankdata(order) - 1.0) / max(len(losses) - 1, 1)
    return ranks


def fronts(losses: Array) -> npt.NDArray[np.int64]:
    """Index of the non-dominated front of each row, 0 for the Pareto front.

    Args:
        losses: (n, m) float64, smaller is better.

    Returns:
        (n,) int64.
    """
    no_worse = np.ones((len(losses), len(losses)), dtype=bool)
    better = np.zeros_like(no_worse)
    for column in losses.T:
        no_worse &= column[:, None] <= column[None, :]
        better |= column[:, None] < column[None, :]
    dominates = no_worse & better
    front = np.full(len(losses), -1, dtype=np.int64)
    remaining = dominates.sum(axis=0)
    level = 0
    while (front < 0).any():
        current = (remaining == 0) & (front < 0)
        front[current] = level
        remaining = remaining - dominates[current].sum(axis=0)
        level += 1
    return front


def _skill(left_out: Array, ranks: Array) -> float:
    """Spearman correlation over the trials that at least one machine left out; 0 if there is nothing to correlate."""
    seen = ~np.isnan(left_out).all(axis=0)
    if seen.sum() < 4:
        return 0.0
    predicted, measured = rankdata(np.nanmean(left_out[:, seen], axis=0)), rankdata(ranks[seen])
    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return 0.0
    return float(np.corrcoef(predicted, measured)[0, 1])
