"""A support vector machine that ranks candidates before they are measured, and knows how well it ranks.

**What it predicts.** The normal score of a trial's rank among the trials that it learned from: of n trials the one on
place r (from 0, the best) has the score Φ⁻¹((r + ½) / n). The rank is that of the loss or, with several objectives,
that of the non-dominated front. Ranks rather than values, so that outliers and units do not matter; as normal scores,
which tell the best apart from the good.

**From what.** The encoded points of a bounded window of the measured trials: all of them up to `window`, then the best
and the most recent ones, half each. Failed trials are left out.

**How.** It is a least-squares support vector machine with a Gaussian kernel. Its length scale and its regularisation
are those of largest evidence, found anew at each fit on a grid; the same evidence framework gives each prediction a
standard deviation. Its skill is measured on trials left out, one at a time, which costs nothing extra in a
least-squares machine; evolution screens only as hard as that allows.

References:
    J. A. K. Suykens, J. Vandewalle, "Least squares support vector machine classifiers", Neural Processing Letters 9
    (1999) 293.
    T. Van Gestel, J. A. K. Suykens, G. Lanckriet, A. Lambrechts, B. De Moor, J. Vandewalle, "Bayesian framework for
    least-squares support vector machine classifiers, Gaussian processes, and kernel Fisher discriminant analysis",
    Neural Computation 14 (2002) 1115.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx, ndtr, ndtri

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Array
from matloop.surrogates.gaussian_process.least_squares import Machine, likeliest

LENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Squared length scales tried, as multiples of the number of columns that vary, each scaled to the variance of a
uniform one. (Scaled by their own deviation, choices that evolution has made rare would lie far from everything, and
never be tried again.)"""

NOISES = (0.03, 0.1, 0.3, 1.0)
"""Regularisations tried: variance of the noise as a multiple of the variance explained."""

ENOUGH = 100
"""Trials on which both are chosen, spread evenly over the window; the machine itself learns from all."""


@dataclass(frozen=True, kw_only=True)
class FitnessSVM:
    """Settings of the fitness predictor; `fit` is a pure function of the data.

    Attributes:
        children: candidates bred per proposal, of which the predictor chooses one, >= 2; fewer where it has less
            skill.
        generations: those candidates are bred in as many generations, >= 1, each from the best before it in the
            predictor's opinion. A predictor without skill has too few candidates for more than one.
        unscreened: share of proposals in [0, 1] that ignores the predictor, so that it keeps learning what it would
            not have chosen, and its worth can be seen.
        window: trials that it learns from: the best ones and the most recent ones, half each, in [10, 5000].
        refit_every: answers between two fits, >= 1; more in a long campaign.
    """

    children: int = 100
    generations: int = 4
    unscreened: float = 0.1
    window: int = 500
    refit_every: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("children", 2, 10_000),
            ("generations", 1, 100),
            ("unscreened", 0.0, 1.0),
            ("window", 10, 5000),
            ("refit_every", 1, 10_000),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(
                    f"expected svm option {name} in [{low}, {high}], got {value}; correct the predictor", at=name
                )

    def fit(self, x: Array, losses: Array) -> FittedSVM:
        """Learn to rank.

        Args:
            x: (n, d) float64, encoded points, n >= 4.
            losses: (n, m) float64, finite, smaller is better.
        """
        n = len(x)
        if losses.ndim != 2 or len(losses) != n or n < 4:
            raise ValueError(f"expected x (n, d) and losses (n, m) with n >= 4, got {x.shape} and {losses.shape}")
        centre, scale = x.mean(axis=0), np.ptp(x, axis=0) / 12**0.5
        varied = scale > 1e-12
        scale = np.where(varied, scale, 1.0) * max(1, int(varied.sum())) ** 0.5
        z, ranks = (x - centre) / scale, standing(losses)
        scores = ndtri((ranks * (n - 1) + 0.5) / n)
        some = np.unique(np.linspace(0, n - 1, min(n, ENOUGH)).round().astype(int))
        length, noise = likeliest(z[some], scores[some], LENGTHS, NOISES)
        machine = Machine.fit(z, scores, length, noise)
        return FittedSVM(machine, centre, scale, _correlation(machine.left_out(), ranks))


@dataclass(frozen=True)
class FittedSVM:
    """A fitted machine.

    Attributes:
        machine: predicts normal scores.
        centre, scale: (d,) float64, normalisation of the encoding.
        skill: Spearman correlation of left-out predictions with the measured ranks, in [-1, 1].
    """

    machine: Machine
    centre: Array
    scale: Array
    skill: float

    @property
    def trust(self) -> float:
        """Skill less a standard error of Fisher's transform, and not below 0: what the trials vouch for, in [0, 1)."""
        certain = np.arctanh(min(self.skill, 1.0 - 1e-9)) - max(len(self.machine.y) - 3, 1) ** -0.5
        return float(np.tanh(max(certain, 0.0)))

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the normal scores of (n, d) encoded points, (n,) float64 each."""
        return self.machine.predict(self._normalise(x))

    def ranks(self, x: Array) -> tuple[Array, Array]:
        """Predicted ranks, 0 the best trial known and 1 the worst, and half of what a standard deviation spans."""
        mean, std = self.predict(x)
        return ndtr(mean), 0.5 * (ndtr(mean + std) - ndtr(mean - std))

    def believing(self, x: Array) -> FittedSVM:
        """The machine that takes its predictions of (n, d) pending points for true, so that it looks elsewhere."""
        return replace(self, machine=self.machine.believing(self._normalise(x)))

    def improvement(self, x: Array) -> Array:
        """Logarithm of the expected improvement of (n, d) encoded points on the best score predicted so far, (n,)."""
        mean, std = self.predict(x)
        u = (self.best - mean) / std
        return np.log(std) + _log_improvement(u)

    @cached_property
    def best(self) -> float:
        """Best score predicted of a point that was learnt."""
        return float((self.machine.y - self.machine.noise * self.machine.weights).min())

    def sample(self, rng: np.random.Generator) -> Callable[[Array], Array]:
        """Scores of (n, d) encoded points by one machine drawn from all that the trials allow."""
        function = self.machine.sample(rng)
        return lambda x: function(self._normalise(x))

    def _normalise(self, x: Array) -> Array:
        z: Array = (x - self.centre) / self.scale
        return z


def standing(losses: Array) -> Array:
    """Normalised rank of each row among all: 0 is the best, 1 the worst, equals share their mean.

    With one objective it is the rank of the loss; with several the rank of the non-dominated front.

    Args:
        losses: (n, m) float64, n >= 1, smaller is better.

    Returns:
        (n,) float64 in [0, 1].
    """
    order = losses[:, 0] if losses.shape[1] == 1 else fronts(losses)
    ranks: Array = (_ranks(order) - 1.0) / max(len(losses) - 1, 1)
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


def _correlation(predicted: Array, measured: Array) -> float:
    """Spearman's; 0 if there is nothing to correlate."""
    a, b = _ranks(predicted), _ranks(measured)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _log_improvement(u: Array) -> Array:
    """log(φ(u) + u Φ(u)), also where that underflows."""
    tail = np.minimum(u, -1.0)
    ratio = (np.pi / 2.0) ** 0.5 * erfcx(tail / -(2.0**0.5))
    far = -0.5 * tail**2 - 0.5 * np.log(2.0 * np.pi) + np.log(np.maximum(1.0 + tail * ratio, 1e-300))
    near = np.maximum(u, -1.0)
    close = np.log(np.exp(-0.5 * near**2) / (2.0 * np.pi) ** 0.5 + near * ndtr(near))
    logarithm: Array = np.where(u < -1.0, far, close)
    return logarithm


def _ranks(values: npt.NDArray[Any]) -> Array:
    """From 1; equals share their mean."""
    from scipy.stats import rankdata  # half a second to import, which a search begins without

    ranks: Array = rankdata(values)
    return ranks
