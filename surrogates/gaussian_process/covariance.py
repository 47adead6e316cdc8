"""The covariance function of `hyperparameters`, differentiable, of several sets of hyperparameters at once; its waves.

Random functions with this covariance are sums of cosines (Rahimi & Recht, NeurIPS 2007): the spectral density of a
product over different columns is the product of theirs, and the factor exp(-m / s²) of a category is a squared
exponential over its one-hot columns. The additive part of a category needs no waves: it is one number for each choice.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from matloop.surrogates.gaussian_process.columns import Columns
from matloop.surrogates.gaussian_process.hyperparameters import Hyperparameters

WAVES = 1024
"""In a random function, for each part of the covariance that needs them."""


class Covariance:
    """Prior covariance of s sets of hyperparameters; encoded points in the unit cube, values standardised."""

    def __init__(self, columns: Columns, kernel: str, sets: Sequence[Hyperparameters]) -> None:
        """Args: kernel: of the numbers, matern52 or rbf; sets: s >= 1 of one output."""
        self.columns, self.kernel = columns, kernel
        self._numbers = torch.as_tensor(columns.numbers)
        self._categories = [torch.as_tensor(indices) for indices in columns.categories]
        self.scales = torch.as_tensor(np.stack([one.length_scales for one in sets]))  # (s, d)
        self.weights = torch.as_tensor(np.stack([one.weights for one in sets]))  # (s, w)
        self._decay = (
            torch.stack([1 / self.scales[:, c[0]] ** 2 for c in self._categories]) if self._categories else None
        )

    def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """(b) x n x d and (b) x p x d -> s x (b) x n x p."""
        lift = (slice(None),) + (None,) * a.ndim
        numbers = None
        if len(self._numbers):
            scales = self.scales[:, self._numbers][(slice(None),) + (None,) * (a.ndim - 1)]
            numbers = self._shape(_squared_distances(a[..., self._numbers] / scales, b[..., self._numbers] / scales))
        if self._decay is None:
            assert numbers is not None
            return self.weights[:, 0][lift] * numbers
        same = [a[..., c] @ b[..., c].mT for c in self._categories]
        apart = [_apart(a[..., c], b[..., c], inner) for c, inner in zip(self._categories, same, strict=True)]
        exponent = sum(decay[lift] * one for decay, one in zip(self._decay, apart, strict=True))
        total = self.weights[:, 0][lift] * torch.exp(-exponent)
        if numbers is not None:
            total = (total + self.weights[:, 1][lift]) * numbers
        for weight, one in zip(self._effects().unbind(1), same, strict=True):
            total = total + weight[lift] * one
        return total

    def diagonal(self, a: torch.Tensor) -> torch.Tensor:
        """(b) x n x d -> s x (b) x n: variance of the function at each point."""
        lift = (slice(None),) + (None,) * (a.ndim - 1)
        constant = self.weights[:, : 1 + self.columns.mixed].sum(dim=1)
        total = constant[lift].expand(len(constant), *a.shape[:-1])
        for weight, c in zip(self._effects().unbind(1), self._categories, strict=True):
            total = total + weight[lift] * (a[..., c] ** 2).sum(dim=-1)
        return total

    def inverse_scales(self) -> torch.Tensor:
        """(d,) root mean square over the sets of 1 / length scale."""
        return (1 / self.scales).square().mean(dim=0).sqrt()

    def one(self, i: int) -> Covariance:
        """Of set i alone."""
        only = copy.copy(self)
        only.scales, only.weights = self.scales[i : i + 1], self.weights[i : i + 1]
        only._decay = None if self._decay is None else self._decay[:, i : i + 1]
        return only

    def draw(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """A random function (n, d) -> (n,) of the first set, by torch's generator."""
        d, weights = len(self.columns.groups), self.weights[0]
        parts, sizes = [self._waves(torch.arange(d))], [weights[0]]
        if self.columns.mixed:
            parts.append(self._waves(self._numbers))
            sizes.append(weights[1])
        phases = 2 * math.pi * torch.rand(len(parts), WAVES, dtype=torch.float64)
        heights = torch.randn(len(parts), WAVES, dtype=torch.float64) * (2 * torch.stack(sizes)[:, None] / WAVES).sqrt()
        effects = torch.zeros(d, dtype=torch.float64)
        for weight, c in zip(self._effects()[0], self._categories, strict=True):
            effects[c] = weight.sqrt() * torch.randn(len(c), dtype=torch.float64)

        def function(x: torch.Tensor) -> torch.Tensor:
            waves = zip(parts, phases, heights, strict=True)
            total: torch.Tensor = sum((torch.cos(x @ w + p) @ h for w, p, h in waves), x @ effects)
            return total

        return function

    def _waves(self, columns: torch.Tensor) -> torch.Tensor:
        """(d, waves) frequencies of the product over some columns, 0 in the others.

        The spectral density is Gaussian; for a Matérn kernel, in the numbers, a Student t.
        """
        waves = torch.zeros(len(self.columns.groups), WAVES, dtype=torch.float64)
        waves[columns] = torch.randn(len(columns), WAVES, dtype=torch.float64) / self.scales[0, columns, None]
        if self.kernel == "matern52":
            chi = torch.distributions.Gamma(2.5, 2.5).sample(torch.Size([WAVES])).double()
            waves[self._numbers] = waves[self._numbers] * chi.rsqrt()
        return waves

    def _effects(self) -> torch.Tensor:
        """(s, categories) variances of the additive parts."""
        return self.weights[:, self.weights.shape[1] - len(self._categories) :]

    def _shape(self, squared: torch.Tensor) -> torch.Tensor:
        if self.kernel == "rbf":
            return torch.exp(-0.5 * squared)
        r = (5 * squared).clamp_min(1e-30).sqrt()
        return (1 + r + r * r / 3) * torch.exp(-r)


def _squared_distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(..., n, d) and (..., p, d) -> (..., n, p)."""
    squares = (a**2).sum(dim=-1)[..., :, None] + (b**2).sum(dim=-1)[..., None, :]
    return (squares - 2 * (a @ b.mT)).clamp_min(0.0)


def _apart(a: torch.Tensor, b: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    """Half the squared distances: of one-hot columns 1 where choices differ."""
    squares = (a**2).sum(dim=-1)[..., :, None] + (b**2).sum(dim=-1)[..., None, :]
    return (0.5 * squares - inner).clamp_min(0.0)
