"""Draws of a process's hyperparameters from their posterior, for questions that one best guess answers too surely.

Fitted length scales are one choice among many that explain the data about as well, and the others may leave room for
peaks where it sees none. The sampler is Hamiltonian Monte Carlo in the coordinates in which the posterior is round
close to its mode (Neal, "MCMC using Hamiltonian dynamics", 2011, section 4.1): the gradient is at hand, and after a few
steps of about the posterior's width each draw has all but forgotten the one before. The density is that over the
logarithms whose mode the fit seeks.

The constant mean follows from the hyperparameters up to a normal error (Rasmussen & Williams 2006, eq. 2.43), which is
drawn, too, or left to whoever uses the draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from matloop.surrogates.gaussian_process.hyperparameters import REJECTED, Hyperparameters, Objective

Array = npt.NDArray[np.float64]

STEPS = 4
"""Of the leapfrog integrator between two proposals."""

LENGTH = 1.6
"""Of a path, in widths of the posterior; a quarter of a period, after which a normal one has forgotten its start."""

APART = 2
"""Paths from one draw to the next."""

WARM_UP = 12
"""Paths that tune the step and are dropped."""

DIFFERENCE = 1e-3
"""Step, in logarithms, of the finite differences of the gradient."""

LEAST_CURVATURE = 0.25
"""Bound on how wide the proposal is taken to be where data and prior say little: two units of a logarithm."""


@dataclass(slots=True)
class _Place:
    """Where a path is: round coordinates, and the density's negative logarithm and its gradient there."""

    u: Array
    value: float
    gradient: Array


def draw(
    objective: Objective,
    mode: Hyperparameters,
    count: int,
    rng: np.random.Generator,
    *,
    apart: int = APART,
    means: bool = True,
) -> list[Hyperparameters]:
    """Draw from the posterior; within the bounds of the fit.

    Args:
        objective: of the data that the mode was fitted to.
        mode: where to start.
        count: number of draws, >= 1.
        rng: the only source of randomness.
        apart: paths from one draw to the next, >= 1; more make the draws less alike.
        means: whether the constant mean is drawn, too; else each draw says how uncertain it is.
    """
    start = objective.logs(mode)
    lower, upper = objective.bounds()
    free = np.ones(len(start), dtype=bool)
    free[-1] = objective.unknown.any()
    start = np.clip(start, lower + DIFFERENCE, upper - DIFFERENCE)
    round_to_logs = _whitening(objective, start, free)

    def evaluate(u: Array) -> _Place:
        logs = start + round_to_logs @ u
        if ((logs < lower) | (logs > upper))[free].any():
            return _Place(u, math.inf, np.zeros_like(u))
        value, gradient = objective(logs)
        return _Place(u, math.inf if value >= REJECTED else value, round_to_logs.T @ gradient)

    place, step, found = evaluate(np.zeros(int(free.sum()))), LENGTH / STEPS, []
    for number in range(-WARM_UP, count * apart):
        new = _path(evaluate, place, step * rng.uniform(0.7, 1.3), rng)
        if number < 0:
            step *= 0.7 if new is None else 1.12
        place = new or place
        if number >= 0 and number % apart == apart - 1:
            logs = start + round_to_logs @ place.u
            value, _ = objective(logs)
            found.append(objective.hyperparameters(logs, value, float(rng.normal()) if means else None))
    return found


def _whitening(objective: Objective, start: Array, free: npt.NDArray[np.bool_]) -> Array:
    """(p, f) matrix from round coordinates to offsets of the p logarithms, of which f are free."""
    rows = []
    for i in np.flatnonzero(free):
        step = np.zeros_like(start)
        step[i] = DIFFERENCE
        rows.append((objective(start + step)[1] - objective(start - step)[1])[free] / (2 * DIFFERENCE))
    hessian = np.array(rows)
    curvatures, axes = np.linalg.eigh((hessian + hessian.T) / 2)
    matrix = np.zeros((len(start), len(rows)))
    matrix[free] = axes / np.sqrt(np.maximum(curvatures, LEAST_CURVATURE))
    return matrix


def _path(evaluate: Callable[[Array], _Place], place: _Place, step: float, rng: np.random.Generator) -> _Place | None:
    """Follow one path; None if it is not accepted."""
    momentum = rng.normal(size=len(place.u))
    energy = place.value + 0.5 * momentum @ momentum
    new = place
    for _ in range(STEPS):
        momentum = momentum - 0.5 * step * new.gradient
        new = evaluate(new.u + step * momentum)
        if not math.isfinite(new.value):
            return None
        momentum = momentum - 0.5 * step * new.gradient
    rise = new.value + 0.5 * momentum @ momentum - energy
    return new if math.log(rng.random()) < -rise else None
