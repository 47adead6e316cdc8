"""What a model is told of the answered trials: values on the scales that suit them, repeats and slips known as such."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from matloop.orchestrator.ledger.slips import doubted
from matloop.orchestrator.strategies.modelled.evidence import Array, Evidence
from matloop.orchestrator.strategies.modelled.scales import Scales
from matloop.orchestrator.trial import Objective, Trial

BESIDE = 0.05
"""Distance, root mean square over the columns in ranges of what was tried, within which experiments are neighbours."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of n trials.

    Attributes:
        scales: by objective.
        units: (n, m) float64, gains in model units.
        noise: (n, m) float64, standard deviation of each in model units; NaN where unknown.
        pooled: (n, m) float64, as `units`, but the mean of all measurements at the same point: what is judged by its
            luckiest value is judged too well.
        left_out: (n, m) bool, values that look like a slip of the pen (`matloop.orchestrator.ledger.slips`).
            In their place stands what the others say of that point.
    """

    scales: Scales
    units: torch.Tensor
    noise: torch.Tensor
    pooled: torch.Tensor
    left_out: torch.Tensor

    @classmethod
    def of(
        cls,
        objectives: Sequence[Objective],
        x: torch.Tensor,
        gains: torch.Tensor,
        noise: torch.Tensor,
        fitted: int,
        drift: Callable[..., Array] | None = None,
    ) -> Outcomes:
        """Find the scales, and apply them.

        Args:
            objectives: m.
            x: (n, d) float64, encoded points.
            gains: (n, m) float64.
            noise: (n, m) float64, standard deviations in the objectives' units; NaN where unknown.
            fitted: rows that the model is fitted to, which decide the scales.
            drift: of points (k, d), units (k,) and which of the n they are, (n,) bool: by how much they were higher
                than they would be now, (k,).
        """
        believed = torch.stack([_believed(o, x, gains[:, j]) for j, o in enumerate(objectives)], dim=1)
        left_out = believed.isnan() & ~gains.isnan()
        scales = Scales.of(objectives, x[:fitted], believed[:fitted])
        units = scales.units(believed)
        for j in left_out.any(dim=0).nonzero().flatten().tolist():
            units[:, j] = _filled(x, units[:, j], left_out[:, j])
        if drift is not None:
            units = torch.stack([_as_of_now(x, column, drift) for column in units.unbind(dim=1)], dim=1)
        stated = torch.where(left_out, torch.nan, noise * scales.slope(gains))
        return cls(scales, units, stated, pool(x, units, stated), left_out)

    def notes(self, answered: Sequence[Trial]) -> dict[str, Any]:
        """What is worth recording with a proposal, of the n trials; nothing on ordinary data.

        `scale` is by objective, in their order; `left_out` are ids of trials that the model does not believe.
        """
        names = [scale.warp.name for scale in self.scales.each]
        doubted = [answered[i].id for i in self.left_out.any(dim=1).nonzero().flatten().tolist()]
        found: dict[str, Any] = {"scale": names} if set(names) != {"linear"} else {}
        return found | ({"left_out": doubted} if doubted else {})

    def words(self, objectives: Sequence[Objective], answered: Sequence[Trial]) -> str:
        """The same, to follow a reason; empty on ordinary data."""
        names = [(o.name, scale.warp.name) for o, scale in zip(objectives, self.scales.each, strict=True)]
        seen = [f"{name} seen on a {warp} scale" for name, warp in names if warp != "linear"]
        doubted = self.notes(answered).get("left_out", [])
        trials = [f"without trial {i}, whose value looks like a slip of the pen" for i in doubted]
        return "".join(f"; {text}" for text in [*seen, *trials])


def _believed(objective: Objective, x: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    """(n,) gains, NaN for those that no steep optimum explains, or that experiments beside them do not confirm.

    What is doubted and worse than all others counts as bad as the worst of these, so that it hides no differences.
    """
    values = np.array([-objective.loss(gain) for gain in gains.tolist()])
    found = gains.clone()
    for i, far in doubted(values, objective).items():
        others = torch.cat([gains[:i], gains[i + 1 :]])
        worst = float(others[others.isfinite()].min())
        found[i] = torch.nan if far or _refuted(i, x) else gains[i].clamp_min(worst)
    return found


def _refuted(i: int, x: torch.Tensor) -> bool:
    """Whether two experiments were done beside one that stands apart from all, or one in the same place."""
    span = x.amax(dim=0) - x.amin(dim=0)
    moves = span > 0
    if not bool(moves.any()):
        return len(x) > 1
    apart = ((x[:, moves] - x[i, moves]) / span[moves]).square().mean(dim=1).sqrt()
    return int((apart <= BESIDE).sum() - 1) + int((apart == 0).sum() - 1) >= 2


def _filled(x: torch.Tensor, units: torch.Tensor, left_out: torch.Tensor) -> torch.Tensor:
    """(n,) units with what the others say in place of those that are left out; NaN, not measured, stays."""
    known = units.isfinite() & ~left_out
    mean, _ = Evidence(x[known].numpy()).predict(units[known].numpy(), x[left_out].numpy())
    filled = units.clone()
    filled[left_out] = torch.as_tensor(mean)
    return filled


def _as_of_now(x: torch.Tensor, units: torch.Tensor, drift: Callable[..., Array]) -> torch.Tensor:
    """(n,) units as they would be now; NaN, not measured, stays."""
    known = units.isfinite().numpy()
    found = units.clone()
    found[known] -= torch.as_tensor(drift(x.numpy()[known], units.numpy()[known], known))
    return found


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
