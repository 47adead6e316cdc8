"""What is counted as a gain when functions are drawn: a better best value, a larger front, one more point in a range.

Each knows what every candidate would add in every function, given what has been measured and taken so far, so that one
greedy choice and one probability serve all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, Self

import torch
from botorch.utils.multi_objective.box_decompositions.non_dominated import FastNondominatedPartitioning

Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Mean and standard deviation of points, (n, m) each, to (n,): how much a point may be worth, larger is more."""

PLAUSIBLE = 2.0
"""Standard deviations above the mean that are still plausible."""


class Worth(Protocol):
    """Gains of c candidates in s functions."""

    def gains(self) -> torch.Tensor:
        """(s, c) float64 >= 0: what each candidate would add."""
        ...

    def take(self, i: int) -> None:
        """Count candidate i among what is known."""
        ...

    def of(self, functions: slice) -> Self:
        """The same for some of the functions alone, nothing taken."""
        ...


class Best:
    """Gain over the best known value of one output."""

    def __init__(self, known: torch.Tensor, others: torch.Tensor) -> None:
        """Args: known (s, k, 1), k >= 1; others (s, c, 1): gains of the functions, -inf where an experiment fails."""
        self._reached, self._others = known[..., 0].amax(dim=1), others[..., 0]
        self._all = known, others

    def gains(self) -> torch.Tensor:
        """See `Worth`."""
        return (self._others - self._reached[:, None]).clamp_min(0.0)

    def take(self, i: int) -> None:
        """See `Worth`."""
        self._reached = torch.maximum(self._reached, self._others[:, i])

    def of(self, functions: slice) -> Best:
        """See `Worth`."""
        return Best(*(values[functions] for values in self._all))

    @staticmethod
    def score(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
        """See `Score`."""
        return (mean + PLAUSIBLE * std)[:, 0]


class Within:
    """One for each candidate within a range of every output."""

    def __init__(self, interval: torch.Tensor, others: torch.Tensor) -> None:
        """Args: interval (2, m) lowest and highest gain; others (s, c, m), -inf where an experiment fails."""
        inside = ((others >= interval[0]) & (others <= interval[1]) & others.isfinite()).all(dim=-1)
        self._inside = inside.double()
        self._all = interval, others

    def gains(self) -> torch.Tensor:
        """See `Worth`."""
        return self._inside

    def take(self, i: int) -> None:
        """See `Worth`."""
        self._inside = self._inside.clone()
        self._inside[:, i] = 0.0

    def of(self, functions: slice) -> Within:
        """See `Worth`."""
        return Within(self._all[0], self._all[1][functions])

    @staticmethod
    def score(interval: torch.Tensor) -> Score:
        """See `Score`."""

        def probability(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
            low, high = (interval - mean[:, None]).unbind(dim=1)
            return (torch.special.ndtr(high / std) - torch.special.ndtr(low / std)).prod(dim=-1)

        return probability


class Front:
    """Growth of the hypervolume that several outputs dominate, as a share of what the known points dominate."""

    def __init__(self, reference: torch.Tensor, known: torch.Tensor, others: torch.Tensor) -> None:
        """Args: reference (m,); known (s, k, m), k >= 1; others (s, c, m), -inf where an experiment fails."""
        self._reference, self._known, self._others = reference, known, others
        self._cells = _cells(reference, known)
        self._whole = _dominated(reference, known, self._cells)
        self._all = reference, known, others

    def gains(self) -> torch.Tensor:
        """See `Worth`."""
        lower, upper = self._cells  # (s, cells, m)
        points = self._others.clamp_min(-1e100).unsqueeze(-2)  # (s, c, 1, m)
        sides = (torch.minimum(points, upper.unsqueeze(-3)) - lower.unsqueeze(-3)).clamp_min(0.0)
        volume: torch.Tensor = sides.prod(dim=-1).sum(dim=-1)
        return volume / self._whole

    def take(self, i: int) -> None:
        """See `Worth`."""
        self._known = torch.cat([self._known, self._others[:, i : i + 1]], dim=1)
        self._cells = _cells(self._reference, self._known)

    def of(self, functions: slice) -> Front:
        """See `Worth`."""
        part = Front(self._all[0], self._all[1][functions], self._all[2][functions])
        part._whole = self._whole  # the unit of all of them
        return part

    @staticmethod
    def score(reference: torch.Tensor) -> Score:
        """See `Score`: the volume between the plausible values and the reference; below it, how far."""

        def volume(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
            beyond = mean + PLAUSIBLE * std - reference
            short = beyond.clamp_max(0.0).sum(dim=-1)
            return torch.where(short < 0, short, beyond.clamp_min(0.0).prod(dim=-1))

        return volume


def _cells(reference: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """(2, s, cells, m) lower and upper corners of boxes that fill what is not dominated; some may be empty."""
    values = torch.maximum(known.clamp_min(-1e100), reference - 1.0)
    if known.shape[-1] == 2:  # all functions at once
        return _partitioned(reference, values)
    each = [_partitioned(reference, one) for one in values]
    most = max(part.shape[1] for part in each)
    filled = torch.zeros(2, len(each), most, known.shape[-1], dtype=known.dtype)
    for i, part in enumerate(each):
        filled[:, i, : part.shape[1]] = part
    return filled


def _partitioned(reference: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    partitioning: Any = FastNondominatedPartitioning(reference, Y=values)
    cells: torch.Tensor = partitioning.get_hypercell_bounds()
    return cells


def _dominated(reference: torch.Tensor, known: torch.Tensor, cells: torch.Tensor) -> float:
    """Mean hypervolume that the known points dominate: what a point above all of them would add falls short by it."""
    top = known.clamp_min(-1e100).amax(dim=(0, 1)).maximum(reference) + 1.0
    lower, upper = cells
    free = (torch.minimum(top, upper) - lower).clamp_min(0.0).prod(dim=-1).sum(dim=-1)
    whole = float((top - reference).prod() - free.mean())
    return max(whole, 1e-6 * math.prod((top - reference).tolist()))
