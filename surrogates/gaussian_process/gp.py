"""Exact Gaussian process: the surrogate for small data, and the yardstick for every other one.

Inputs are scaled to the unit cube and outputs standardised, one process per output. The covariance has a length scale
for each number and a factor for each category, beside an additive part; it and how its hyperparameters are found are
described in `hyperparameters` beside this file. While data are few, hyperparameters are averaged over what the data
allow instead of being fixed at the best guess.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Encodable, Finite, Space, Vectorised
from matloop.orchestrator.randomness import derive
from matloop.surrogates.checks import check_data, check_noise
from matloop.surrogates.gaussian_process import hyperparameters, hyperposterior
from matloop.surrogates.gaussian_process.columns import Columns, described
from matloop.surrogates.gaussian_process.hyperparameters import Hyperparameters, Objective
from matloop.surrogates.gaussian_process.identities import Identities
from matloop.surrogates.gaussian_process.process import Process, Task

Array = npt.NDArray[np.float64]

LEAST_VARIANCE = 1e-6
"""Of a measurement, in squared spreads of the data: where noise is stated to be less, factorisation would fail."""

AVERAGED_AT_MOST = 60
"""Rows up to which hyperparameters are averaged: beyond, the best guess is sure enough, and draws would take long."""


class GP:
    """Exact GP regression, float64, one independent process per output."""

    accepts_noise = True

    def __init__(
        self,
        *,
        space: Space | None = None,
        kernel: Literal["matern52", "rbf"] = "matern52",
        max_iterations: int = 200,
        subset: int = 300,
        draws: int = 8,
        starts: int = 2,
    ) -> None:
        """Set up the family.

        Args:
            space: where the points come from; its bounds, if it has any, scale the inputs, else all of its points do if
                it lists them, else the data. Its columns, if it names them, say which are the one-hot columns of a
                category.
            kernel: of numbers; matern52 for properties that may bend sharply, rbf for very smooth ones.
            max_iterations: of L-BFGS on the marginal likelihood from each start, >= 1.
            subset: most rows, drawn at random, by which hyperparameters are fitted, >= 2; each step costs their number
                cubed. The model itself always holds all rows.
            draws: sets of hyperparameters that are averaged while there are at most `AVERAGED_AT_MOST` rows, >= 1; 1
                takes the most probable one alone.
            starts: of the search for the most probable hyperparameters, 1 or 2.
        """
        if kernel not in ("matern52", "rbf"):
            raise ConfigError(f"expected kernel 'matern52' or 'rbf', got {kernel!r}", at="kernel")
        at_least(1, max_iterations=max_iterations, draws=draws)
        at_least(2, subset=subset)
        if starts not in (1, 2):
            raise ConfigError(f"expected starts 1 or 2, got {starts}", at="starts")
        self.kernel = kernel
        self.max_iterations = max_iterations
        self.subset = subset
        self.draws = draws
        self.starts = starts
        self._space = space
        self._bounds = _bounds(space)

    def fit(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        seed: int,
        *,
        noise: npt.NDArray[np.float64] | None = None,
        rows: npt.NDArray[np.int_] | None = None,
    ) -> Process:
        """Fit by maximum a posteriori; where the data cannot tell (one point, constant y) the prior stands.

        Args:
            x: (n, d) float64, n >= 1.
            y: (n, m) float64, any unit.
            seed: of the rows drawn if there are more than `subset`, and of the hyperparameters that are averaged.
            noise: (n, m) float64, standard deviation of each measurement in the unit of y, >= 0; NaN where unknown.
                Unknown ones share one that is fitted; a new measurement is expected to be as noisy as those seen
                (mean of their variances).
            rows: (r,) int, rows by which length scales and noise are fitted; None for all of them.

        Returns:
            A model with posterior in the units of y.

        Raises:
            ValueError: shapes differ or a value is not finite.
        """
        x, y = check_data(x, y)
        spread = check_noise(noise, y)
        rows = np.arange(len(x)) if rows is None else rows
        if len(rows) > self.subset:
            rows = np.sort(derive(seed, "subset").permutation(rows)[: self.subset])
        task = self._task(x, y, spread, rows)
        return Process(
            task, [self._sets(one, derive(seed, "draws", j)) for j, one in enumerate(task.objectives)]
        ).eval()

    def _sets(self, objective: Objective, rng: np.random.Generator) -> list[Hyperparameters]:
        """The most probable hyperparameters, or while data are few what else the data allow."""
        mode = hyperparameters.fit(objective, self.max_iterations, self.starts)
        if self.draws == 1 or len(objective.z) > AVERAGED_AT_MOST:
            return [mode]
        return hyperposterior.draw(objective, mode, self.draws, rng, means=False)

    def _task(self, x: torch.Tensor, y: torch.Tensor, spread: torch.Tensor, rows: npt.NDArray[np.int_]) -> Task:
        columns = Columns.of(self._space, x.shape[1])
        low, span = self._scaling(x, columns)
        centre, scale = _standardisation(y.numpy())
        z = ((y.numpy() - centre) / scale).T
        variances = np.maximum((spread.numpy() / scale) ** 2, LEAST_VARIANCE).T  # NaN stays
        identities = Identities(described(self._space, x.shape[1]), x)
        places = torch.cat([(x - low) / span, identities(x)], dim=1).numpy()
        columns = identities.extend(columns)
        objectives = [
            Objective(places[rows], z[j, rows], columns=columns, kernel=self.kernel, variances=variances[j, rows])
            for j in range(len(z))
        ]
        return Task(x, low, span, identities, z, centre, scale, variances, columns, self.kernel, objectives)

    def _scaling(self, x: torch.Tensor, columns: Columns) -> tuple[torch.Tensor, torch.Tensor]:
        """(d,) low end and width of each column, of what was measured beyond the space too; categories stay."""
        low, high = x.amin(dim=0), x.amax(dim=0)
        if self._bounds is not None and self._bounds.shape[1] == x.shape[1]:
            lowest, highest = torch.as_tensor(self._bounds)
            low, high = torch.minimum(low, lowest), torch.maximum(high, highest)
        span = torch.where(high - low > 1e-8, high - low, torch.ones_like(low))
        category = torch.as_tensor(columns.category)
        return low.masked_fill(category, 0.0), span.masked_fill(category, 1.0)


def _bounds(space: Space | None) -> Array | None:
    """(2, d) of the encoded points of a space; None if it says nothing about them."""
    if isinstance(space, Vectorised):
        return np.asarray(space.bounds, dtype=np.float64)
    if isinstance(space, Finite) and isinstance(space, Encodable) and len(space.points):
        x = space.encode(space.points)
        return np.stack([x.min(axis=0), x.max(axis=0)])
    return None


def _standardisation(y: Array) -> tuple[Array, Array]:
    """(m,) mean and standard deviation of (n, m) values; 1 in place of a deviation of nothing but rounding."""
    centre = y.mean(axis=0)
    scale = y.std(axis=0, ddof=1) if len(y) > 1 else np.ones_like(centre)
    return centre, np.where(scale > 1e-12 * (1 + np.abs(centre)), scale, 1.0)
