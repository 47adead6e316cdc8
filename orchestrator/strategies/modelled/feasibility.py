"""Failures teach: the probability that an experiment works, by a Gaussian process classifier of points.

Some failures say nothing about the point, such as a lost worker; only those that do are learned from. Laplace's
approximation with a length scale for each column, all fitted to the evidence under priors; the probability is averaged
over the latent function. Far from all data it is the overall rate of success, counted optimistically, so that a few
failures only keep away from where they were.

Reference: Rasmussen & Williams 2006, algorithms 3.1 and 5.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from matloop.orchestrator.trial import Trial

Array = npt.NDArray[np.float64]

LATEST = 300
"""Latest trials that are learned from."""

PRIOR_COUNTS = (3.0, 1.0)
"""Successes and failures beforehand, which the overall rate starts from."""

SCALE_PRIOR, SCALE_WIDTH = math.log(0.5), 0.8
AMPLITUDE_PRIOR, AMPLITUDE_WIDTH = math.log(6.0), 0.7
"""Of the logarithms of length scales (for one column; they grow with the root of the columns) and latent variance."""


def informative(trial: Trial) -> bool:
    """Whether the trial failed in a way that says something about its point."""
    return trial.failure is not None and trial.failure.informative


class Feasibility:
    """Probability of success as a differentiable function of the encoded point."""

    def __init__(self, x: Array, worked: Sequence[bool], bounds: Array | None = None) -> None:
        """Fit to what is known.

        Args:
            x: (n, d) float64, encoded points, in order of time; n >= 1.
            worked: which of them succeeded; not all.
            bounds: (2, d) that scale the columns, with what was measured beyond; None for the range of the points.
        """
        x, labels = x[-LATEST:], np.where(worked, 1.0, 0.0)[-LATEST:]
        low, high = x.min(axis=0), x.max(axis=0)
        if bounds is not None:
            low, high = np.minimum(bounds[0], low), np.maximum(bounds[1], high)
        self._low, self._span = low, np.where(high > low, high - low, 1.0)
        self._x = (x - low) / self._span
        successes, failures = labels.sum() + PRIOR_COUNTS[0], (1 - labels).sum() + PRIOR_COUNTS[1]
        self._mean = math.log(successes / failures)
        d = x.shape[1]
        location = np.append(np.full(d, SCALE_PRIOR + 0.5 * math.log(d)), AMPLITUDE_PRIOR)
        width = np.append(np.full(d, SCALE_WIDTH), AMPLITUDE_WIDTH)

        def objective(logs: Array) -> tuple[float, Array]:
            evidence, slope = _Laplace(self._x, labels, self._mean, logs).evidence()
            deviation = (logs - location) / width
            return -evidence + 0.5 * float(deviation @ deviation), -slope + deviation / width

        limits = [(float(at - 4 * w), float(at + 4 * w)) for at, w in zip(location, width, strict=True)]
        found = minimize(objective, location, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": 30})
        fitted = _Laplace(self._x, labels, self._mean, found.x)
        self._logs = found.x
        self._slope = torch.as_tensor(fitted.slope)
        self._root = torch.as_tensor(fitted.root)
        self._factor = torch.as_tensor(fitted.factor)

    def log_probability(self, x: torch.Tensor) -> torch.Tensor:
        """(b, d) encoded points -> (b,) logarithm of the probability that the experiment works."""
        low, span, known = (torch.as_tensor(a).to(x) for a in (self._low, self._span, self._x))
        scales, amplitude = torch.as_tensor(np.exp(self._logs[:-1])).to(x), math.exp(self._logs[-1])
        a, b = ((x - low) / span) / scales, known / scales
        squared = (a.unsqueeze(-2) - b).square().sum(dim=-1)
        r = (5 * squared + 1e-18).sqrt()
        cross = amplitude * (1 + r + r**2 / 3) * torch.exp(-r)  # (b, n)
        latent = self._mean + cross @ self._slope.to(x)
        weighed = torch.linalg.solve_triangular(self._factor.to(x), (self._root.to(x) * cross).mT, upper=False)
        variance = (amplitude - weighed.square().sum(dim=-2)).clamp_min(0.0)
        return torch.nn.functional.logsigmoid(latent / torch.sqrt(1 + math.pi / 8 * variance))


class _Laplace:
    """The mode of the latent function for given hyperparameters.

    Attributes:
        slope: (n,) gradient of the log likelihood at the mode, which is also K⁻¹ (f - mean).
        root: (n,) square root of the negative second derivative.
        factor: (n, n) Cholesky factor of I + root K root.
    """

    def __init__(self, x: Array, labels: Array, mean: float, logs: Array) -> None:
        self.amplitude = math.exp(logs[-1])
        self.parts = (x[:, None, :] - x[None, :, :]) ** 2 * np.exp(-2 * logs[:-1])
        self.r = np.sqrt(5 * self.parts.sum(axis=2))
        self.decay = np.exp(-self.r)
        self.covariance = self.amplitude * (1 + self.r + self.r**2 / 3) * self.decay
        self.labels, self.mean = labels, mean
        eye = np.eye(len(x))
        latent, value = np.full(len(x), mean), -math.inf
        for _ in range(50):  # Newton's method on a concave function
            share = 1 / (1 + np.exp(-latent))
            self.root = np.sqrt(np.maximum(share * (1 - share), 1e-12))
            self.factor = cholesky(eye + self.root[:, None] * self.covariance * self.root, lower=True)
            b = self.root**2 * (latent - mean) + labels - share
            inner = cho_solve((self.factor, True), self.root * (self.covariance @ b))
            self.alpha = b - self.root * inner
            latent = mean + self.covariance @ self.alpha
            before, value = value, self._likelihood(latent) - 0.5 * self.alpha @ (latent - mean)
            if value - before < 1e-8:
                break
        self.latent = latent
        self.share = 1 / (1 + np.exp(-latent))
        self.slope = labels - self.share
        self.root = np.sqrt(np.maximum(self.share * (1 - self.share), 1e-12))
        self.factor = cholesky(eye + self.root[:, None] * self.covariance * self.root, lower=True)

    def _likelihood(self, latent: Array) -> float:
        return float(-np.logaddexp(0.0, np.where(self.labels > 0, -latent, latent)).sum())

    def evidence(self) -> tuple[float, Array]:
        """Approximate log evidence, and its gradient by the logarithms of length scales and amplitude."""
        deviation = self.latent - self.mean
        value = self._likelihood(self.latent) - 0.5 * self.alpha @ deviation - np.log(self.factor.diagonal()).sum()
        inverse = self.root[:, None] * cho_solve((self.factor, True), np.diag(self.root))
        half = solve_triangular(self.factor, self.root[:, None] * self.covariance, lower=True)
        third = self.share * (1 - self.share) * (2 * self.share - 1)
        implicit = 0.5 * (self.covariance.diagonal() - (half**2).sum(axis=0)) * third
        common = self.amplitude * (5 / 3) * (1 + self.r) * self.decay
        slopes = [common * self.parts[:, :, k] for k in range(self.parts.shape[2])]
        gradient = []
        for slope in (*slopes, self.covariance):
            explicit = 0.5 * self.alpha @ slope @ self.alpha - 0.5 * (inverse * slope).sum()
            moved = slope @ self.slope
            gradient.append(explicit + implicit @ (moved - self.covariance @ (inverse @ moved)))
        return float(value), np.array(gradient)
