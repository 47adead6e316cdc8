"""Acquisition functions in closed form: no sampling, exact gradients, a whole pool in milliseconds.

They need only the mean and variance at each point, which an ensemble has as well as a Gaussian process. Points that
are being measured already shrink the variance around them (`covariance.moments`), so that batches spread.
"""

from __future__ import annotations

import math

import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.models.model import Model
from botorch.utils.safe_math import log1mexp, logdiffexp
from botorch.utils.transforms import t_batch_mode_transform

from matloop.orchestrator.strategies.modelled.covariance import moments, unexplained


class Bound(AcquisitionFunction):
    """Upper confidence bound of the only output: mean + width standard deviations of the function, standardised."""

    def __init__(
        self, model: Model, *, width: float, centre: torch.Tensor, spread: torch.Tensor, pending: torch.Tensor | None
    ) -> None:
        """Args: width >= 0; centre and spread (1,), which make utilities of gains; pending (p, d) or None."""
        super().__init__(model=model)
        self.width, self.centre, self.spread, self.pending = width, centre, spread, pending
        self.noise = torch.zeros_like(centre) if pending is None else unexplained(model, pending)

    @t_batch_mode_transform(expected_q=1)  # type: ignore[arg-type]
    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """b x 1 x d -> (b,)."""
        mean, variance = moments(self.model, X, self.pending, self.noise)
        return ((mean - self.centre + self.width * variance.sqrt()) / self.spread)[:, 0]


class Improvement(AcquisitionFunction):
    """Log expected improvement of the function over a known gain, standardised; nothing pending."""

    def __init__(self, model: Model, *, best: torch.Tensor, spread: torch.Tensor) -> None:
        """Args: best () gain to exceed; spread (1,) of gains."""
        super().__init__(model=model)
        self.best, self.spread = best, spread

    @t_batch_mode_transform(expected_q=1)  # type: ignore[arg-type]
    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """b x 1 x d -> (b,)."""
        mean, variance = moments(self.model, X, None, self.spread)
        std = variance.sqrt()
        return (log_improvement((mean - self.best) / std) + (std / self.spread).log())[:, 0]


class Probability(AcquisitionFunction):
    """Log probability that the function exceeds a known gain."""

    def __init__(self, model: Model, *, best: torch.Tensor, spread: torch.Tensor, pending: torch.Tensor | None) -> None:
        """Args: best () gain to exceed; spread (1,) of gains; pending (p, d) or None."""
        super().__init__(model=model)
        self.best, self.pending = best, pending
        self.noise = spread if pending is None else unexplained(model, pending)

    @t_batch_mode_transform(expected_q=1)  # type: ignore[arg-type]
    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """b x 1 x d -> (b,)."""
        mean, variance = moments(self.model, X, self.pending, self.noise)
        found: torch.Tensor = torch.special.log_ndtr((mean - self.best) / variance.sqrt())
        return found[:, 0]


class InRange(AcquisitionFunction):
    """Log probability that every output's function lies within its interval; outputs independent."""

    def __init__(self, model: Model, *, low: torch.Tensor, high: torch.Tensor, pending: torch.Tensor | None) -> None:
        """Args: low, high (m,) as gains, infinite where open; pending (p, d) or None."""
        super().__init__(model=model)
        self.low, self.high, self.pending = low, high, pending
        self.noise = torch.zeros_like(low) if pending is None else unexplained(model, pending)

    @t_batch_mode_transform(expected_q=1)  # type: ignore[arg-type]
    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """b x 1 x d -> (b,)."""
        mean, variance = moments(self.model, X, self.pending, self.noise)
        return log_within(self.low, self.high, mean, variance).sum(dim=-1)


def log_within(low: torch.Tensor, high: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Logarithm of P(low < e < high) for normal e; low and high may be infinite, which leaves gradients finite."""
    std = variance.sqrt()
    return log_between(_deviations(low, mean, std), _deviations(high, mean, std))


def _deviations(bound: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    finite = bound.isfinite()
    return torch.where(finite, (torch.where(finite, bound, 0.0) - mean) / std, bound)


def log_between(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Logarithm of P(low < e < high) for standard normal e, accurate in either tail; low < high, possibly infinite."""
    upper = low + high > 0  # both sides are then taken at their mirror images, where the distribution is not near one
    a = torch.where(upper, -high, low).clamp_min(-1e8)
    b = torch.where(upper, -low, high).clamp_max(1e8)
    return logdiffexp(torch.special.log_ndtr(a), torch.special.log_ndtr(b))


def log_improvement(u: torch.Tensor) -> torch.Tensor:
    """Logarithm of E[max(u + e, 0)] for standard normal e, with accurate value and gradient far below zero.

    Source: Ament et al., NeurIPS 2023, eq. 9; below -1, with the scaled complementary error function.
    """
    near, far = u.clamp_min(-1.0), u.clamp_max(-1.0)
    density = torch.exp(-0.5 * near**2) / math.sqrt(2 * math.pi)
    above = (density + near * torch.special.ndtr(near)).log()
    ratio = torch.log(-far * torch.special.erfcx(-far / math.sqrt(2))) + 0.5 * math.log(math.pi / 2)
    below = -0.5 * far**2 - 0.5 * math.log(2 * math.pi) + log1mexp(ratio)
    return torch.where(u > -1.0, above, below)
