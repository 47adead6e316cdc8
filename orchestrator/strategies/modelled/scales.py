"""Between what was measured and what a model sees: each objective on the scale that suits its values.

A model is fitted to model units. Acquisition functions work in them. What people see is translated back by quantiles,
which a monotone scale keeps, so that intervals may have two different sides.

Which scale: `scale: linear` and `scale: log` say so. With `auto` it is the linear one unless a smooth function explains
the values far better on another (`evidence.py`), which ordinary data never bear out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from matloop.orchestrator.strategies.modelled.evidence import Evidence
from matloop.orchestrator.strategies.modelled.warps import Linear, Logarithm, Warp, candidates
from matloop.orchestrator.trial import Objective

ADVANTAGE = 6.0
"""Nats by which another scale must explain the values better than the linear one."""

ADVANTAGE_PER_ROW = 0.15
"""The same for each row looked at, where that is more: no small process is the truth, and with many rows that shows."""

SUSPECT = 2.0
"""Nats by which it must look better by the values' own distribution alone, before points are looked at."""

LEAST_ROWS = 6
"""Values below which `auto` is linear."""

EXTREME = 1e6
"""Ratio of level and spread, or size of the spread, beyond which linear values are centred and divided by it: models
take much smaller differences for rounding."""

FLAT = 1e-14
"""Spread, relative to the size of the values, below which they are all the same but for rounding."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Of one objective: gains, i.e. values with the sign that makes larger better, to model units and back.

    Attributes:
        warp: of values.
        sign: 1 where values are maximised, -1 where they are minimised.
        centre: of the warped gains.
        spread: of the warped gains, > 0.
    """

    warp: Warp
    sign: float
    centre: float
    spread: float

    @property
    def plain(self) -> bool:
        """Whether model units are gains."""
        return isinstance(self.warp, Linear) and self.spread == 1.0 and self.centre == 0.0

    def units(self, gains: torch.Tensor) -> torch.Tensor:
        """Gains to model units; NaN stays."""
        return (self.sign * self.warp.forward(self.sign * gains) - self.centre) / self.spread

    def limits(self, gains: torch.Tensor) -> torch.Tensor:
        """Gains that are limits, possibly infinite, to model units; infinite where no measurement could be beyond."""
        finite = self.units(gains.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0))
        beyond = self.warp.inverse(self.warp.forward(self.sign * gains)) > self.sign * gains + 1e-6 * gains.abs()
        found = torch.where(beyond, -self.sign * torch.inf, finite)
        return torch.where(gains.isinf(), gains, found)

    def gains(self, units: torch.Tensor) -> torch.Tensor:
        """Model units to gains."""
        return self.sign * self.warp.inverse(self.sign * (self.centre + self.spread * units))

    def slope(self, gains: torch.Tensor) -> torch.Tensor:
        """Model units per gain, > 0."""
        return self.warp.slope(self.sign * gains) / self.spread


@dataclass(frozen=True, slots=True)
class Scales:
    """Of all objectives."""

    each: tuple[Scale, ...]

    @classmethod
    def of(cls, objectives: Sequence[Objective], x: torch.Tensor, gains: torch.Tensor) -> Scales:
        """The scales that suit gains (n, m), NaN where not measured, at points x (n, d)."""
        return cls(tuple(_suited(o, x, gains[:, j]) for j, o in enumerate(objectives)))

    def some(self, outputs: Sequence[int]) -> Scales:
        """Those of these objectives."""
        return Scales(tuple(self.each[j] for j in outputs))

    def units(self, gains: torch.Tensor) -> torch.Tensor:
        """(..., m) gains to model units."""
        return self._each("units", gains)

    def gains(self, units: torch.Tensor) -> torch.Tensor:
        """(..., m) model units to gains."""
        return self._each("gains", units)

    def limits(self, gains: torch.Tensor) -> torch.Tensor:
        """(..., m) limits, possibly infinite, to model units."""
        return self._each("limits", gains)

    def slope(self, gains: torch.Tensor) -> torch.Tensor:
        """(..., m) model units per gain."""
        return self._each("slope", gains)

    def _each(self, method: str, values: torch.Tensor) -> torch.Tensor:
        columns = values.unbind(dim=-1)
        found = [getattr(scale, method)(c) for scale, c in zip(self.each, columns, strict=True)]
        return torch.stack(found, dim=-1) if found else values


def _suited(objective: Objective, x: torch.Tensor, gains: torch.Tensor) -> Scale:
    sign = 1.0 if objective.direction == "maximise" else -1.0
    known = gains.isfinite()
    values = sign * gains[known]
    if not len(values):
        return Scale(Linear(), sign, 0.0, 1.0)
    warp: Warp = Linear()
    if objective.scale == "log":
        positive = values[values > 0]
        warp = Logarithm(float(positive.min()) / 2 if len(positive) else 1.0)
    elif objective.scale == "auto":
        warp = _borne_out(x[known], values)
    centre, spread = _level(sign * warp.forward(values))
    if isinstance(warp, Linear) and EXTREME * spread > max(1.0, abs(centre)) and spread < EXTREME:
        return Scale(warp, sign, 0.0, 1.0)
    return Scale(warp, sign, centre, spread)


def _borne_out(x: torch.Tensor, values: torch.Tensor) -> Warp:
    """The scale that the values themselves speak for."""
    linear = Linear()
    first = _first_of_equals(values)  # many zeros would speak for whatever spreads out what is near zero
    x, values = x[first], values[first]
    if len(values) < LEAST_ROWS:
        return linear
    apart = [w for w in candidates(values) if _by_themselves(w, values) > _by_themselves(linear, values) + SUSPECT]
    if not apart:
        return linear
    evidence = Evidence(x.numpy())
    rows = torch.as_tensor(evidence.rows)

    def score(warp: Warp) -> float:
        u = warp.forward(values)
        return evidence.log(((u - _level(u)[0]) / _level(u)[1]).numpy()) + float(
            (warp.slope(values[rows]) / _level(u)[1]).log().sum()
        )

    best = max(apart, key=score)
    return best if score(best) > score(linear) + max(ADVANTAGE, ADVANTAGE_PER_ROW * len(rows)) else linear


def _first_of_equals(values: torch.Tensor) -> torch.Tensor:
    """Indices, in order, of the first of values that are the same."""
    found = {value: i for i, value in reversed(list(enumerate(values.tolist())))}
    return torch.tensor(sorted(found.values()))


def _by_themselves(warp: Warp, values: torch.Tensor) -> float:
    """Log likelihood of values (n,) as independent normal ones on a scale, up to a constant."""
    spread = _level(warp.forward(values))[1]
    return float(warp.slope(values).log().sum()) - len(values) * math.log(spread)


def _level(values: torch.Tensor) -> tuple[float, float]:
    """Mean and standard deviation of (n,) values of any size; the latter of equal ones is their size, or 1 of zeros."""
    top = float(values.abs().max())
    if top == 0:
        return 0.0, 1.0
    scaled = values / top
    first = scaled[0]
    centre, spread = first + (scaled - first).mean(), scaled.std(correction=0)
    return float(centre) * top, top * (float(spread) if float(spread) > FLAT else 1.0)
