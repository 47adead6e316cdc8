"""Data as networks want them: rendered or scaled inputs, standardised targets, and folds to hold out."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from matloop.orchestrator.randomness import derive
from matloop.surrogates.checks import centre_and_spread, check_data
from matloop.surrogates.networks.default_networks import Standardise
from matloop.surrogates.networks.model import Render

ENOUGH = 400
"""Rows from which on one in twenty is kept aside from all networks."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Data as networks want them.

    Attributes:
        x: (n, d) float64, encoded points.
        inputs: (n, *input) float32, what the networks see.
        targets: (n, m) float32, standardised.
        y_mean: (m,) float64.
        y_std: (m,) float64, > 0.
        prepare: makes inputs of points.
        folds: (n,) int, which fold each row belongs to.
        k: number of folds; 1 if there is a single row, which is then not held out.
        aside: (n,) bool, rows that no network is trained on.
    """

    x: torch.Tensor
    inputs: torch.Tensor
    targets: torch.Tensor
    y_mean: torch.Tensor
    y_std: torch.Tensor
    prepare: Render
    folds: torch.Tensor
    k: int
    aside: torch.Tensor

    @classmethod
    def of(cls, x: torch.Tensor, y: torch.Tensor, *, render: Render | None, folds: int, seed: int) -> Prepared:
        """Standardise, render and divide.

        Raises:
            ValueError: shapes differ or a value is not finite.
        """
        x, y = check_data(x, y)
        y_mean, y_std = centre_and_spread(y)
        prepare = render or Standardise(x)
        with torch.no_grad():
            inputs = prepare(x.to(torch.float32))
        k = min(folds, len(x))
        numbers = torch.as_tensor(derive(seed, "folds").permutation(len(x)) % k)
        aside = torch.as_tensor(derive(seed, "aside").permutation(len(x)) % 20 == 0) & (len(x) >= ENOUGH)
        return cls(x, inputs, ((y - y_mean) / y_std).to(torch.float32), y_mean, y_std, prepare, numbers, k, aside)

    def held(self) -> torch.Tensor:
        """(k, n) bool, the rows that each fold holds out."""
        return ((self.folds == torch.arange(self.k)[:, None]) & (self.k > 1)) | self.aside
