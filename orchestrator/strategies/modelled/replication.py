"""Whether to measure a known point again: only where noise hides which of the known points is best.

The knowledge gradient of a measurement is by how much it is expected to raise the posterior mean of whichever point is
then believed best. Repeating a noiseless measurement has none. Where noise is large it tells apart two good points as a
new one cannot, and the measured point with the largest gradient is repeated if that exceeds the new point's.

Reference: Frazier, Powell & Dayanik, INFORMS J. Comput. 21 (2009) 599.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from matloop.orchestrator.strategies.modelled.covariance import condition, joint_covariance

if TYPE_CHECKING:
    from botorch.models.model import Model

MOST = 64
"""Measured points with the highest expectation, among which the best is sought."""

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)
"""Quadrature over a standard normal variable."""


def knowledge_gradient(mean: torch.Tensor, covariance: torch.Tensor, noise: float) -> torch.Tensor:
    """Expected rise of the largest posterior mean by one measurement at each point.

    Args:
        mean: (n,) float64 of the function.
        covariance: (n, n) float64 of the function.
        noise: variance of a measurement, > 0.

    Returns:
        (n,) float64, >= 0, in the unit of the mean.
    """
    moved = covariance / (covariance.diagonal() + noise).sqrt()  # column i: by how much means move if i is measured
    nodes, weights = torch.as_tensor(NODES), torch.as_tensor(WEIGHTS / WEIGHTS.sum())
    best = (mean[:, None, None] + moved[:, :, None] * nodes).amax(dim=0)  # (i, nodes)
    return (best @ weights - mean.max()).clamp_min(0.0)


def worth_repeating(model: Model, measured: torch.Tensor, new: torch.Tensor, pending: torch.Tensor) -> int | None:
    """Index of the measured point that teaches more about the best than the new one does; None if there is none.

    Args:
        model: of gains, one output.
        measured: (n, d) float64; equal rows are one point.
        new: (d,) float64, the point that the acquisition function has chosen.
        pending: (p, d) float64; counted as measured already.
    """
    expected = _mean(model, measured)
    first = {tuple(row): i for i, row in reversed(list(enumerate(measured.tolist())))}
    order = sorted(first.values(), key=lambda i: -float(expected[i]))[:MOST]
    x = torch.cat([pending, measured[order], new[None]])
    covariance, noise = joint_covariance(model, x)
    for i in range(len(pending)):
        covariance = condition(covariance, noise, i)
    mean = _mean(model, x[len(pending) :])
    gradient = knowledge_gradient(mean, covariance[0, len(pending) :, len(pending) :], float(noise[0]))
    best = int(gradient[:-1].argmax())
    return order[best] if float(gradient[best]) > float(gradient[-1]) else None


def _mean(model: Model, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        posterior: Any = model.posterior(x.unsqueeze(1))
        mean: torch.Tensor = posterior.mean[:, 0, 0]
    return mean
