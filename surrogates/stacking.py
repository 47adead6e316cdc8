"""How far to trust a process and how far trees: by the probability of data that neither was fitted to.

The process is refitted without each fold of the rows, hyperparameters included: left-out densities at hyperparameters
that saw the row claim far more than comes true. Trees are
judged by those of them that did not see a row. The weights maximise the probability of the rows under the mixture
(Yao, Vehtari, Simpson & Gelman, Bayesian Analysis 13 (2018) 917), with a prior for equal shares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from matloop.orchestrator.randomness import derive, derive_seed
from matloop.surrogates.forest import ForestModel
from matloop.surrogates.gaussian_process.gp import GP

Array = npt.NDArray[np.float64]

SHARES = np.linspace(0.02, 0.98, 49)
"""Weights that are compared."""

FOLDS = 5

LEAST_ROWS = 6
"""Fewer say nothing: both models have equal shares."""

SURE = 2.0
"""Standard errors."""

MOST_ROWS = 300
"""Rows that are enough to tell."""


def share_of_trees(
    family: GP,
    forest: ForestModel,
    x: torch.Tensor,
    y: torch.Tensor,
    noise: Array | None,
    *,
    prior: float,
    earned: bool,
) -> float:
    """Weight of the trees that makes the held-out data most probable.

    Args:
        family: of the process; refitted without each fold.
        forest: single-output trees of the data.
        x: (n, d) float64.
        y: (n, 1) float64.
        noise: (n, 1) float64, standard deviations of the measurements; None or NaN where unknown.
        prior: pull towards equal shares, in held-out rows for each, >= 0.
        earned: whether trees get nothing unless the mixture is surely better than the process alone.
    """
    rows = forest.held_out.rows
    if len(rows) < LEAST_ROWS:
        return 0.0 if earned else 0.5
    if len(rows) > MOST_ROWS:
        rows = np.sort(derive("stacking", len(rows)).permutation(rows)[:MOST_ROWS])
    by_trees = of_trees(forest, y.numpy()[:, 0])
    kept = np.isin(forest.held_out.rows, rows)
    by_process = of_process(family, x[rows], y[rows], None if noise is None else noise[rows])
    share = weigh(by_process, by_trees[kept], prior)
    return 0.0 if earned and not surely_better(by_process, by_trees[kept], share) else share


def weigh(first: Array, second: Array, prior: float) -> float:
    """Share of the second of two models, from (n,) held-out log densities under each; `prior` as above."""
    top = np.maximum(first, second)
    weights = SHARES[:, None]
    mixture = np.log((1 - weights) * np.exp(first - top) + weights * np.exp(second - top)).sum(axis=1)
    return float(SHARES[np.argmax(mixture + prior * np.log(SHARES * (1 - SHARES)))])


def surely_better(by_process: Array, by_trees: Array, share: float) -> bool:
    """Whether the mixture beats the process alone by more than `SURE` standard errors in (n,) log densities."""
    gain = np.logaddexp(np.log1p(-share) + by_process, np.log(share) + by_trees) - by_process
    return bool(gain.mean() > SURE * gain.std(ddof=1) / np.sqrt(len(gain)))


def of_trees(forest: ForestModel, y: Array) -> Array:
    """Log density of each held-out row (see `ForestModel.held_out`) under the trees that did not see it."""
    held_out, spread, noise = forest.held_out, float(forest.spread[0]), float(forest.noise[0])
    mean = spread * held_out.mean[:, 0] + float(forest.centre[0])
    return _log_density(y[held_out.rows], mean, spread**2 * held_out.variance[:, 0] + noise**2)


def of_process(family: GP, x: torch.Tensor, y: torch.Tensor, noise: Array | None) -> Array:
    """(n,) log density of each row under the process refitted without its fold; y is (n, 1)."""
    folds = derive("stacking folds", len(x)).permutation(len(x)) % FOLDS
    found = np.zeros(len(x))
    for fold in range(FOLDS):
        out = folds == fold
        known = None if noise is None else noise[~out]
        model = family.fit(x[~out], y[~out], derive_seed("stacking", fold, len(x)), noise=known)
        with torch.no_grad():
            posterior: Any = model.posterior(x[out].unsqueeze(1), observation_noise=True)
        found[out] = _log_density(
            y[out, 0].numpy(), posterior.mean[:, 0, 0].numpy(), posterior.variance[:, 0, 0].numpy()
        )
    return found


def _log_density(value: Array, mean: Array, variance: Array) -> Array:
    density: Array = -0.5 * (np.log(2 * np.pi * variance) + (value - mean) ** 2 / variance)
    return density
