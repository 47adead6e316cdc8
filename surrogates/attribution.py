"""Which parameters make a prediction what it is: Shapley values against a background of measured points.

A point's prediction is compared with the mean prediction over the background. Each parameter's share of the difference
is the mean change when the parameter takes the point's value instead of a background point's, over orders in which the
parameters change (Shapley 1953; Štrumbelj & Kononenko, Knowl. Inf. Syst. 41 (2014) 647; interventional, as in SHAP,
Lundberg & Lee, NeurIPS 2017). A category or a mixture changes as a whole, so that the model is never asked about half a
solvent. The shares add up to the difference whatever the orders. Each random order comes with its reverse, which makes
the shares exact where at most two parameters interact at a time, and cuts the variance elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gpytorch
import numpy as np
import torch
from botorch.models.model import Model

from matloop.orchestrator.randomness import derive

EVALUATIONS = 1024
"""Most predictions that one attribution costs."""

BACKGROUND = 64
"""Most measured points that a prediction is compared with."""


def shapley(
    function: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    background: torch.Tensor,
    groups: Sequence[int],
    seed: int = 0,
) -> torch.Tensor:
    """Shares of the groups in function(x) - mean of function(background).

    Args:
        function: (n, d) -> (n, m), any values.
        x: (d,) float64, the point to explain.
        background: (b, d) float64, b >= 1.
        groups: d numbers, the group from 0 to g - 1 that each column belongs to; a group changes as a whole.
        seed: of the orders.

    Returns:
        (m, g) float64, in the unit of the function; each row adds up to the difference.

    Raises:
        ValueError: shapes differ.
    """
    if background.ndim != 2 or not len(background) or x.shape != background.shape[1:] or len(groups) != len(x):
        raise ValueError(
            f"expected x (d,), background (b >= 1, d) and d groups, got {tuple(x.shape)}, {tuple(background.shape)} "
            f"and {len(groups)}"
        )
    g, b = max(groups) + 1, len(background)
    rng = derive("shapley", seed)
    orders = np.stack([rng.permutation(g) for _ in range(b)])
    orders = np.concatenate([orders, orders[:, ::-1]])  # (2b, g)
    place = np.argsort(orders, axis=1)  # when each group changes
    changed = place[:, None, :] < np.arange(g + 1)[None, :, None]  # (2b, g + 1, g)
    mask = torch.as_tensor(changed[:, :, np.asarray(groups)])
    points = torch.where(mask, x, background.repeat(2, 1)[:, None, :])
    values = function(points.reshape(-1, len(x))).reshape(2 * b, g + 1, -1)
    steps = values.diff(dim=1)  # (2b, g, m), in each order's own sequence
    by_group = steps.gather(1, torch.as_tensor(place)[:, :, None].expand_as(steps))
    return by_group.mean(dim=0).T


def background(x: torch.Tensor, groups: int) -> torch.Tensor:
    """At most `BACKGROUND` of the (n, d) measured points, evenly spaced in their order, within `EVALUATIONS`."""
    most = max(2, min(BACKGROUND, EVALUATIONS // (2 * (groups + 1))))
    return x[np.unique(np.linspace(0, len(x) - 1, min(most, len(x))).round().astype(int))]


def predicted_mean(model: Model) -> Callable[[torch.Tensor], torch.Tensor]:
    """The model's mean as a function (n, d) -> (n, m) that costs no covariances."""

    def mean(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), gpytorch.settings.skip_posterior_variances(True):
            posteriors: list[Any] = [model.posterior(part) for part in torch.split(x, 512)]
            return torch.cat([posterior.mean for posterior in posteriors])

    return mean
