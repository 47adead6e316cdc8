"""What a model is told of the answered trials: values on the scales that suit them, repeats known as such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from matloop.orchestrator.strategies.modelled.scales import Scales
from matloop.orchestrator.trial import Objective


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of n trials.

    Attributes:
        scales: by objective.
        units: (n, m) float64, gains in model units.
        noise: (n, m) float64, standard deviation of each in model units; NaN where unknown.
        pooled: (n, m) float64, as `units`, but the mean of all measurements at the same point: what is judged by its
            luckiest value is judged too well.
    """

    scales: Scales
    units: torch.Tensor
    noise: torch.Tensor
    pooled: torch.Tensor

    @classmethod
    def of(
        cls, objectives: Sequence[Objective], x: torch.Tensor, gains: torch.Tensor, noise: torch.Tensor, fitted: int
    ) -> Outcomes:
        """Find the scales, and apply them.

        Args:
            objectives: m.
            x: (n, d) float64, encoded points.
            gains: (n, m) float64.
            noise: (n, m) float64, standard deviations in the objectives' units; NaN where unknown.
            fitted: rows that the model is fitted to, which decide the scales.
        """
        scales = Scales.of(objectives, x[:fitted], gains[:fitted])
        units, stated = scales.units(gains), noise * scales.slope(gains)
        return cls(scales, units, stated, pool(x, units, stated))


def pool(x: torch.Tensor, y: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """(n, m): in place of each value the mean of those at the same point.

    Where the noise of all of them is known, each counts by one over its variance.

    Args:
        x: (n, d) float64, encoded points.
        y: (n, m) float64; NaN where not measured.
        noise: (n, m) float64, standard deviations; NaN where unknown.
    """
    groups: dict[tuple[float, ...], list[int]] = {}
    for i, row in enumerate(x.tolist()):
        groups.setdefault(tuple(row), []).append(i)
    found = y.clone()
    for rows in groups.values():
        if len(rows) > 1:
            for j in range(y.shape[1]):
                measured = [i for i in rows if bool(y[i, j].isfinite())]
                if measured:
                    found[measured, j] = _mean(y[measured, j], noise[measured, j])
    return found


def _mean(values: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    weights = 1 / noise**2
    if bool(weights.isfinite().all()) and float(weights.sum()) > 0:
        return (weights * values).sum() / weights.sum()
    return values.mean()
