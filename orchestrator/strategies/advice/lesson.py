"""When to stop learning: how uncertain a model is over a space, and how much less so after some measurements more.

Both are means over points that are distributed like the space, of the variance that the model states, widened where its
earlier predictions missed. A variance does not depend on what a measurement will say, so that the future can be
reckoned (Cohn, Ghahramani & Jordan, JAIR 1996); that length scales are learned as well is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch

from matloop.orchestrator.trial import Objective, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What there is still to be learned.

    Attributes:
        uncertainty: root mean square, over the space, of the standard deviation of the function, objective's unit; for
            several objectives in spreads of their measured values.
        expected_gain: by how much the next q measurements are expected to lower it, same unit, >= 0.
        q: number of those measurements.
        expected_gain_per_cost: the same per unit of cost, at the mean cost of the trials so far.
        objective: its name, or "all" for several.
        text: all of this in a sentence.
    """

    uncertainty: float
    expected_gain: float
    q: int
    expected_gain_per_cost: float
    objective: str
    text: str

    def as_json(self) -> dict[str, Any]:
        """Plain values, by the names above."""
        return asdict(self)


class Mean(Protocol):
    """Uncertainty over a space, given what will be known."""

    def mean(self, scale: torch.Tensor) -> float:
        """Mean of the variances, (m,) times `scale`."""
        ...

    def add(self, i: int) -> None:
        """Count point i among those that will be known."""
        ...


class Chooser(Protocol):
    """What would be measured next."""

    def score(self) -> torch.Tensor: ...
    def pick(self, score: torch.Tensor) -> int: ...
    def add(self, i: int) -> None: ...


def lesson(
    variances: Mean,
    chooser: Chooser,
    q: int,
    *,
    answered: Sequence[Trial],
    objectives: Sequence[Objective],
    caution: Sequence[float],
) -> Lesson:
    """Look ahead.

    Args:
        variances: over points that stand for the space.
        chooser: over the same points.
        q: measurements to come, from 1 to the number of these points.
        answered: trials so far, for their costs.
        objectives: m.
        caution: of each, factor >= 1 by which the standard deviation is widened.
    """
    scale = torch.tensor(list(caution), dtype=torch.float64) ** 2
    before = variances.mean(scale) ** 0.5
    taken: list[int] = []
    for _ in range(q):
        score = chooser.score()
        score[taken] = -torch.inf
        taken.append(chooser.pick(score))
        chooser.add(taken[-1])
        variances.add(taken[-1])
    gain = max(0.0, before - variances.mean(scale) ** 0.5)
    cost = sum(1.0 if t.cost is None else t.cost for t in answered) / max(1, len(answered))
    return Lesson(
        uncertainty=before,
        expected_gain=gain,
        q=q,
        expected_gain_per_cost=gain / (q * cost) if cost > 0 else 0.0,
        objective=_name(objectives),
        text=_text(before, gain, q, objectives),
    )


def nothing_left(objectives: Sequence[Objective]) -> Lesson:
    """Where every point was measured."""
    return Lesson(
        uncertainty=0.0, expected_gain=0.0, q=0, expected_gain_per_cost=0.0, objective=_name(objectives),
        text="every candidate was tried; nothing remains",
    )  # fmt: skip


def _name(objectives: Sequence[Objective]) -> str:
    return objectives[0].name if len(objectives) == 1 else "all"


def _text(before: float, gain: float, q: int, objectives: Sequence[Objective]) -> str:
    unit = objectives[0].unit if len(objectives) == 1 else "spreads of the measured values"
    unit, share = unit and f" {unit}", 100 * gain / before if before > 0 else 0.0
    coming = "the next measurement is" if q == 1 else f"the next {q} measurements are"
    return (
        f"the model is uncertain by {before:.2g}{unit} on average; {coming} expected to lower that by {gain:.2g}{unit}"
        f" ({share:.2g} %)"
    )
