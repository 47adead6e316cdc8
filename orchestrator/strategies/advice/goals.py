"""What is sought, for the outlook: one best value, a front of several, or values within a range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from botorch.utils.multi_objective.hypervolume import infer_reference_point
from botorch.utils.multi_objective.pareto import is_non_dominated

from matloop.orchestrator.strategies.advice.worth import Best, Front, Score, Within, Worth
from matloop.orchestrator.trial import Objective, Trial

if TYPE_CHECKING:
    from botorch.models.model import Model

    from matloop.orchestrator.strategies.modelled.scales import Scale

LEAST_CHANCE = 0.05
"""Smaller chances are not told apart in words: in `benchmarks/stopping.py` they came true more often than they said."""

LEAST_GROWTH = 0.01
"""Of the dominated hypervolume that counts if nobody says otherwise."""


class Goal(Protocol):
    """What further experiments could bring.

    Attributes:
        name: in the record.
    """

    @property
    def name(self) -> str: ...
    @property
    def score(self) -> Score:
        """How much a point may be worth, to look at the most promising ones alone."""
        ...

    def worth(self, known: torch.Tensor, others: torch.Tensor) -> Worth:
        """Gains over functions with values (s, k, m) at measured points and (s, c, m) at candidates."""
        ...

    def least(self, model: Model, known: torch.Tensor, answered: Sequence[Trial]) -> float:
        """The gain that counts if nobody says otherwise."""
        ...

    def text(self, probability: float, delta: float, gain: float, q: int) -> str:
        """What was found, in a sentence; q >= 1."""
        ...


@dataclass(frozen=True, slots=True)
class Highest:
    """The best value of one objective; gains are in its unit.

    Attributes:
        objective: which one.
        scale: between the model's units and gains; None where they are the same.
    """

    objective: Objective
    scale: Scale | None = None

    @property
    def name(self) -> str:
        """See `Goal`."""
        return self.objective.name

    @property
    def score(self) -> Score:
        """See `Goal`."""
        return Best.score

    def worth(self, known: torch.Tensor, others: torch.Tensor) -> Best:
        """See `Goal`."""
        return Best(known, others) if self.scale is None else Best(self.scale.gains(known), self.scale.gains(others))

    def least(self, model: Model, known: torch.Tensor, answered: Sequence[Trial]) -> float:
        """Standard deviation of a measurement around the truth, but at least 1 % of the range of the values."""
        with torch.no_grad():
            measured: Any = model.posterior(known[:1], observation_noise=True)
            function: Any = model.posterior(known[:1])
            noise = float((measured.variance - function.variance).clamp_min(0.0).sqrt().max())
        name = self.objective.name
        values = [t.values[name] for t in answered if t.values is not None and name in t.values] or [0.0]
        least = max(noise, 0.01 * (max(values) - min(values)), 1e-12 * max(1.0, *(abs(v) for v in values)))
        if self.scale is None or self.scale.plain:
            return least
        gains = torch.tensor([-self.objective.loss(v) for v in values], dtype=torch.float64)
        units = self.scale.units(gains)
        top, span = units.max(), float(units.max() - units.min())
        best = float(self.scale.gains(top))
        grown = float(self.scale.gains(top + max(noise, 0.01 * span, 1e-12))) - best
        return max(grown, 1e-12 * abs(best), 1e-300)

    def text(self, probability: float, delta: float, gain: float, q: int) -> str:
        """See `Goal`."""
        unit = f" {self.objective.unit}" if self.objective.unit else ""
        return (
            f"the chance that an untried point is better than the best by at least {delta:.2g}{unit} is "
            f"{chance(probability)}; {coming(q)} expected to gain {gain:.2g}{unit}"
        )


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """The front of several objectives, as models see them; gains are shares of the hypervolume dominated so far.

    Attributes:
        reference: (m,) float64, gains, as models see them, that are worth nothing any more.
    """

    reference: torch.Tensor

    @classmethod
    def of(cls, gains: torch.Tensor) -> Tradeoff:
        """That of measured gains (n, m): the reference lies beyond the worst values of their front."""
        front = gains[is_non_dominated(gains)]
        spread = gains.std(dim=0, correction=0)
        spread = torch.where(spread > 0, spread, torch.ones_like(spread))
        return cls(torch.minimum(infer_reference_point(front), front.amin(dim=0) - 0.1 * spread))

    @property
    def name(self) -> str:
        """See `Goal`."""
        return "hypervolume"

    @property
    def score(self) -> Score:
        """See `Goal`."""
        return Front.score(self.reference)

    def worth(self, known: torch.Tensor, others: torch.Tensor) -> Front:
        """See `Goal`."""
        return Front(self.reference, known, others)

    def least(self, model: Model, known: torch.Tensor, answered: Sequence[Trial]) -> float:
        """See `LEAST_GROWTH`."""
        return LEAST_GROWTH

    def text(self, probability: float, delta: float, gain: float, q: int) -> str:
        """See `Goal`."""
        return (
            f"the chance that an untried point enlarges the dominated hypervolume by at least {percent(delta)} is "
            f"{chance(probability)}; {coming(q)} expected to enlarge it by {percent(gain)}"
        )


@dataclass(frozen=True, slots=True)
class Target:
    """Values within a range; each point within counts one.

    Attributes:
        interval: (2, m) float64, lowest and highest gain as models see it, infinite where open.
    """

    interval: torch.Tensor

    @property
    def name(self) -> str:
        """See `Goal`."""
        return "target"

    @property
    def score(self) -> Score:
        """See `Goal`."""
        return Within.score(self.interval)

    def worth(self, known: torch.Tensor, others: torch.Tensor) -> Within:
        """See `Goal`."""
        return Within(self.interval, others)

    def least(self, model: Model, known: torch.Tensor, answered: Sequence[Trial]) -> float:
        """One point."""
        return 1.0

    def text(self, probability: float, delta: float, gain: float, q: int) -> str:
        """See `Goal`."""
        within = f"the chance that an untried point lies within the target range is {chance(probability)}"
        if q == 1:
            return f"{within}; that of the next experiment is {chance(gain)}"
        return f"{within}; of the next {q} experiments {gain:.2g} are expected to"


def chance(probability: float) -> str:
    """A chance in words."""
    if probability < LEAST_CHANCE:
        return f"less than {100 * LEAST_CHANCE:.0f} %"
    return "over 99 %" if probability > 0.99 else f"{100 * probability:.0f} %"


def percent(share: float) -> str:
    """Two digits of it."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def coming(q: int) -> str:
    """The next experiments, and their verb."""
    return "the next experiment is" if q == 1 else f"the next {q} experiments are"
