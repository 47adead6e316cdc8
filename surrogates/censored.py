"""Measurements of which only a limit is known, as in "< 0.1": what is to be expected of them, by all that is known.

The likelihood of a limit is the probability that a measurement falls on its side (Tobin 1958). Under a Gaussian process
it is approximated by expectation propagation: each limit stands for a Gaussian measurement (a site), chosen so that the
mean and variance at its point are those of the exact posterior, given the sites of the others. Length scales and noise
are fitted to the evidence with the sites in place, and the sites found anew, in turn; at the fixed point that is the
gradient of the approximate evidence itself.

A surrogate that is no process gets, in place of each limit, the mean that a measurement has given the limit and all
others, and its standard deviation as noise if it can use that.

References:
    Rasmussen & Williams 2006, algorithm 3.5.
    Groot & Lucas, "Gaussian process regression with censored data using expectation propagation", PGM 2012.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import cho_factor, cho_solve
from scipy.special import erfcx, log_ndtr

from matloop.orchestrator.protocols import Surrogate
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.gaussian_process.process import Process
from matloop.surrogates.noise import fit

if TYPE_CHECKING:
    from botorch.models.model import Model

Array = npt.NDArray[np.float64]

ROUNDS = 4
"""Fits of length scales and noise, each followed by new sites, at most."""

STEPS, DAMPING = 200, 0.7
"""Most updates of all sites at once, and the share of each that is taken."""

CLOSE = 1e-6
"""Change of the sites' means and deviations, in spreads, below which they are found."""

SETTLED = 0.02
"""The same between rounds."""

LEAST_WEIGHT = 1e-4
"""Precision of a site, relative to that of the function beforehand, below which the limit says nothing."""


@dataclass(frozen=True, slots=True)
class Sites:
    """What k limits stand for.

    Attributes:
        mean, variance: (k,) of the Gaussian measurement that each stands for.
        expected, deviation: (k,) mean and standard deviation of the measurement itself, given limit and all others.
    """

    mean: Array
    variance: Array
    expected: Array
    deviation: Array


def fit_censored(
    surrogate: Surrogate,
    x: torch.Tensor,
    y: torch.Tensor,
    seed: int,
    noise: Array,
    side: npt.NDArray[np.int_],
    process: GP,
) -> Model:
    """Fit one output of which some values are limits.

    Args:
        surrogate: any.
        x: (n, d) float64.
        y: (n, 1) float64, values and limits.
        seed: of the fit.
        noise: (n, 1) float64, standard deviations, NaN where unknown.
        side: (n,) int, -1 where the true value is below, 1 where it is above, 0 where it was measured.
        process: by which limits are judged, unless the surrogate is one itself.
    """
    judge = surrogate if isinstance(surrogate, GP) else process
    limits = side != 0
    spread = float(y[~limits].std(correction=0)) if (~limits).sum() > 1 else float(y.std(correction=0))
    if not spread > 1e-12 * (1 + float(y.abs().max())):
        return fit(surrogate, x, y, seed, noise)  # nothing says how far beyond the limits values may lie
    model, sites = _settle(judge, x, y, seed, noise, side, spread)
    if judge is surrogate:
        return model
    values, stated = y.clone(), noise.copy()
    values[limits, 0] = torch.as_tensor(sites.expected)
    stated[limits, 0] = np.hypot(sites.deviation, np.nan_to_num(noise[limits, 0]))
    fitted = fit(surrogate, x, values, seed, stated)
    for part in fitted.modules():
        if isinstance(part, Process) and len(part.task.x) == len(x) and not limits.all():
            part.expect_noise_of(torch.as_tensor(~limits))
    return fitted


def _settle(
    process: GP, x: torch.Tensor, y: torch.Tensor, seed: int, noise: Array, side: npt.NDArray[np.int_], spread: float
) -> tuple[Process, Sites]:
    """The process with the sites of all limits in it, and these."""
    limits = side != 0
    values, stated = y.clone(), noise.copy()
    stated[limits, 0] = spread
    rows = np.ones(len(x), dtype=bool)
    before: Sites | None = None
    for _ in range(ROUNDS):
        model = _fitted(process, x, values, seed, stated, rows, ~limits)
        sites = find(_prior(model, x), y.numpy()[:, 0], noise[:, 0], side)
        values[limits, 0] = torch.as_tensor(sites.mean)
        stated[limits, 0] = np.sqrt(sites.variance)
        rows = np.ones(len(x), dtype=bool)
        rows[np.flatnonzero(limits)[~np.isfinite(sites.variance)]] = False
        if before is not None and _apart(sites, before) < SETTLED * spread:
            break
        before = sites
    return _fitted(process, x, values, seed, stated, rows, ~limits), sites


def _fitted(
    process: GP,
    x: torch.Tensor,
    y: torch.Tensor,
    seed: int,
    noise: Array,
    rows: npt.NDArray[np.bool_],
    usual: npt.NDArray[np.bool_],
) -> Process:
    if not rows.any():  # no limit says anything, and nothing else is known
        rows = ~rows
    model = process.fit(x[rows], y[rows], seed, noise=noise[rows])
    if usual[rows].any():  # not as vague as limits are
        model.expect_noise_of(torch.as_tensor(usual[rows]))
    return model


@dataclass(frozen=True, slots=True)
class Prior:
    """What a process takes for granted of n points: mean (n,), covariance (n, n), variance of a measurement."""

    mean: Array
    covariance: Array
    noise: float


def _prior(model: Process, x: torch.Tensor) -> Prior:
    """Of a fitted process of one output, in the unit of its data."""
    with torch.no_grad():
        centre, scale, output = float(model.task.centre[0]), float(model.task.scale[0]), model.outputs[0]
        mean = np.full(len(x), centre + scale * float(output.constant.mean()))
        covariance = model.prior_covariance(x, x)[0].numpy()
        return Prior(mean, covariance, max(float(model.noise()[0]), 1e-12 * scale**2))


def find(prior: Prior, y: Array, noise: Array, side: npt.NDArray[np.int_]) -> Sites:
    """Sites of the limits by expectation propagation.

    Args:
        prior: of the function at n points.
        y: (n,) values and limits.
        noise: (n,) standard deviations, NaN where unknown.
        side: (n,) see `fit_censored`.

    Returns:
        Sites in the order of the limits; one whose limit says nothing has infinite variance.
    """
    limits = np.flatnonzero(side)
    known = np.flatnonzero(side == 0)
    variance = np.where(np.isnan(noise), prior.noise, noise**2)
    mean, covariance = _given(prior, y, variance, known, limits)
    sign, limit, level = side[limits].astype(np.float64), y[limits], variance[limits]
    k, scale = len(limits), np.sqrt(covariance.diagonal().mean())
    precision, shift = np.zeros(k), np.zeros(k)  # of the sites, shift being precision times mean
    for _ in range(STEPS):
        posterior, joint = _with_sites(mean, covariance, precision, shift)
        own = joint.diagonal()
        left = 1 / np.maximum(1 / own - precision, 1e-12 / own)  # cavity: without the site itself
        centre = left * (posterior / own - shift)
        ratio, z = _hazard(sign, centre, limit, left + level)
        tilted = centre + sign * left * ratio / np.sqrt(left + level)
        shrunk = left - left**2 * ratio * (z + ratio) / (left + level)
        wanted = np.maximum(1 / np.maximum(shrunk, 1e-12 * left) - 1 / left, 0.0)
        new = precision + DAMPING * (wanted - precision)
        moved = shift + DAMPING * (tilted * (wanted + 1 / left) - centre / left - shift)
        change = max(float(np.abs(new - precision).max()) * scale**2, float(np.abs(moved - shift).max()) * scale)
        precision, shift = new, moved
        if change < CLOSE:
            break
    total = left + level
    expected = centre + sign * np.sqrt(total) * ratio
    deviation = np.sqrt(total * np.clip(1 - ratio * (z + ratio), 1e-12, 1.0))
    says = precision * covariance.diagonal() > LEAST_WEIGHT
    safe = np.where(says, precision, 1.0)
    return Sites(np.where(says, shift / safe, expected), np.where(says, 1 / safe, np.inf), expected, deviation)


def _given(
    prior: Prior, y: Array, variance: Array, known: npt.NDArray[np.int_], limits: npt.NDArray[np.int_]
) -> tuple[Array, Array]:
    """Mean and covariance of the function at the limits' points, given what was measured."""
    mean, covariance = prior.mean[limits], prior.covariance[np.ix_(limits, limits)]
    jitter = 1e-9 * covariance.diagonal().mean() * np.eye(len(limits))
    if not len(known):
        return mean, covariance + jitter
    inner = prior.covariance[np.ix_(known, known)] + np.diag(variance[known])
    inner += 1e-9 * inner.diagonal().mean() * np.eye(len(known))
    cross = prior.covariance[np.ix_(known, limits)]
    factor = cho_factor(inner, lower=True)
    mean = mean + cross.T @ cho_solve(factor, y[known] - prior.mean[known])
    remaining = covariance - cross.T @ cho_solve(factor, cross)
    return mean, 0.5 * (remaining + remaining.T) + jitter


def _with_sites(mean: Array, covariance: Array, precision: Array, shift: Array) -> tuple[Array, Array]:
    """Mean and covariance once the sites are measured, too (Rasmussen & Williams, eq. 3.53, by B)."""
    root = np.sqrt(precision)
    inner = np.eye(len(mean)) + root[:, None] * covariance * root
    joint = covariance - (covariance * root) @ cho_solve(cho_factor(inner, lower=True), root[:, None] * covariance)
    return mean + joint @ (shift - precision * mean), joint


def _hazard(sign: Array, mean: Array, limit: Array, variance: Array) -> tuple[Array, Array]:
    """Density over probability of the limit's side, and by how many deviations the mean lies on it; stable far off."""
    z = sign * (mean - limit) / np.sqrt(variance)
    near = np.exp(-0.5 * np.maximum(z, -5) ** 2 - 0.5 * np.log(2 * np.pi) - log_ndtr(np.maximum(z, -5)))
    far = np.sqrt(2 / np.pi) / erfcx(-np.minimum(z, -5) / np.sqrt(2))
    return np.where(z > -5, near, far), z


def _apart(a: Sites, b: Sites) -> float:
    """Largest change of what is expected of the measurements."""
    return float(np.abs(a.expected - b.expected).max())
