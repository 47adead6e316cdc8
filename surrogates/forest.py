"""Extremely randomised trees as a BoTorch ensemble: for outcomes with cliffs and plateaus, which smooth models blur.

Each tree is grown on a bootstrap sample with random cuts, so that trees differ where data are sparse. The rows that a
tree did not see say how far off the mean of the others is, which is what a measurement scatters by.

Reference: Geurts, Ernst & Wehenkel, "Extremely randomized trees", Machine Learning 63 (2006) 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import ExtraTreesRegressor

from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Space
from matloop.orchestrator.randomness import derive_seed
from matloop.surrogates.checks import centre_and_spread, check_data
from matloop.surrogates.measured import MeasuredEnsemble

Array = npt.NDArray[np.float64]

LEAST_VOTES = 5
"""Trees that must not have seen a row for their mean to count as a prediction of it."""

LEAST_NOISE = 1e-3
"""Standard deviation of a measurement around its function, in spreads of the data."""


class Forest:
    """A few dozen trees; fitted in milliseconds, at home with categories and steps, flat beyond the data."""

    def __init__(self, *, space: Space | None = None, trees: int = 60) -> None:
        """Set up the family.

        Args:
            space: not needed; trees do not depend on scales.
            trees: how many, >= 2.
        """
        at_least(2, trees=trees)
        self.trees = trees

    def fit(self, x: torch.Tensor, y: torch.Tensor, seed: int) -> ForestModel:
        """Grow the trees.

        Args:
            x: (n, d) float64, n >= 1.
            y: (n, m) float64, any unit.
            seed: of samples and cuts.

        Raises:
            ValueError: shapes differ or a value is not finite.
        """
        x, y = check_data(x, y)
        centre, spread = centre_and_spread(y)
        targets = ((y - centre) / spread).numpy().round(9)  # ties between cuts must not depend on the unit of y
        grown = ExtraTreesRegressor(
            self.trees, bootstrap=True, max_features=1.0, random_state=derive_seed(seed, "forest") % 2**32
        )
        grown.fit(x.numpy(), targets if targets.shape[1] > 1 else targets[:, 0])
        model = ForestModel([tree.tree_ for tree in grown.estimators_], centre, spread)
        unseen = np.ones((self.trees, len(x)), dtype=bool)
        for row, drawn in zip(unseen, grown.estimators_samples_, strict=True):
            row[drawn] = False
        model.held_out = _held_out(model.trees(x), unseen)
        model.noise = _noise(model.held_out, targets) * spread
        return model.eval()


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Predictions of data by the trees that did not see them, standardised.

    Attributes:
        rows: (k,) int, those of the data that enough trees did not see.
        mean, variance: (k, m) over these trees.
    """

    rows: npt.NDArray[np.int_]
    mean: Array
    variance: Array


class ForestModel(MeasuredEnsemble):
    """s piecewise constant functions of the encoded point, with posterior in the units of y."""

    stepped = True  # gradients say nothing about it
    held_out: HeldOut
    noise: torch.Tensor

    def __init__(self, trees: list[Any], centre: torch.Tensor, spread: torch.Tensor) -> None:
        super().__init__()
        self._trees, self.centre, self.spread = trees, centre, spread
        self._num_outputs = len(centre)

    def trees(self, x: torch.Tensor) -> Array:
        """(n, d) -> (s, n, m) float64, standardised."""
        places = np.ascontiguousarray(x.detach().numpy(), dtype=np.float32)
        return np.stack([tree.predict(places).reshape(len(places), -1) for tree in self._trees])

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(b) x q x d -> (b) x s x q x m, units of y; its gradient is zero."""
        values = torch.as_tensor(self.trees(X.reshape(-1, X.shape[-1]))).to(X) * self.spread.to(X) + self.centre.to(X)
        values = values + 0.0 * X.sum() if X.requires_grad else values
        return values.reshape(len(values), *X.shape[:-1], self.num_outputs).movedim(0, -3)

    def scatter(self, X: torch.Tensor) -> torch.Tensor:
        """See `MeasuredEnsemble`."""
        return self.noise.to(X).expand(*X.shape[:-1], self.num_outputs)


def _held_out(values: Array, unseen: npt.NDArray[np.bool_]) -> HeldOut:
    """From the trees' values (s, n, m) of the data and which of them each did not see (s, n)."""
    rows = np.flatnonzero(unseen.sum(axis=0) >= LEAST_VOTES)
    weight = unseen[:, rows, None] / unseen[:, rows, None].sum(axis=0)
    mean = (weight * values[:, rows]).sum(axis=0)
    return HeldOut(rows, mean, (weight * (values[:, rows] - mean) ** 2).sum(axis=0))


def _noise(held_out: HeldOut, targets: Array) -> torch.Tensor:
    """(m,) what the trees' variance leaves unexplained of the squared errors, as a standard deviation, standardised."""
    if not len(held_out.rows):
        return torch.full((targets.shape[1],), LEAST_NOISE, dtype=torch.float64)
    errors = (targets[held_out.rows] - held_out.mean) ** 2
    unexplained = (errors - held_out.variance).mean(axis=0)
    return torch.as_tensor(np.sqrt(np.maximum(unexplained, LEAST_NOISE**2)))
