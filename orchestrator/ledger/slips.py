"""Values that look like a slip of the pen: 412000 for 412, a decimal comma, another unit.

A value is doubted if it stands apart from all others by a large factor and by more than the others span themselves.
It is recorded like any other, and said at once, so that whoever wrote it can look it up. What stands apart by so much
that no experiment of the study gives reason to believe it is left out of the model until it is corrected, or until
another experiment agrees. What a steep optimum could well be is said, and followed, until experiments beside it
disagree. Of what is near nothing this holds on a logarithmic scale only: on any other it misleads little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.ledger.file import quoted
from matloop.orchestrator.trial import Objective, Trial, comparable

Array = npt.NDArray[np.float64]

FEWEST = 5
"""Other values that it takes to doubt one."""

ABOVE, BELOW = 0.7, 1.2
"""Decades beyond the largest or smallest other size from which a value is doubted; small values are more usual."""

FAR = 1.6
"""The same for leaving it out."""

SPANS, FAR_SPANS = 1.0, 1.5
"""The same in what the others span, in decades; below, `FAR_SPANS` holds for both."""

RANGES, FAR_RANGES = 10.0, 50.0
"""The same in ranges of the others, where they have both signs."""


@dataclass(frozen=True, slots=True)
class Slip:
    """A value that is doubted.

    Attributes:
        trial: its id.
        objective: name.
        value: as told.
        typical: median of the sizes of the others.
        left_out: whether the model is not told of it.
    """

    trial: int
    objective: str
    value: float
    typical: float
    left_out: bool

    @property
    def text(self) -> str:
        """What is odd about it, in a sentence's beginning."""
        ratio = abs(self.value) / self.typical
        factor = f"{ratio:,.3g} times" if ratio < 1000 else f"{float(f'{ratio:.2g}'):,.0f} times"
        if ratio < 1:
            factor = f"1/{float(f'{1 / ratio:.2g}'):,.0f} of"
        if ratio > 1e9 or ratio < 1e-9:
            factor = f"{ratio:.2g} times"
        return f"trial {self.trial}: {self.objective} of {self.value:.7g} is {factor} the median of the others"


def slips(trials: Sequence[Trial], objectives: Sequence[Objective]) -> list[Slip]:
    """All values of a study that are doubted, in the order of its trials."""
    answered = comparable(trials)
    found = []
    for objective in objectives:
        told = [t for t in answered if objective.name in (t.values or {})]
        values = np.array([(t.values or {})[objective.name] for t in told], dtype=np.float64)
        for i, left_out in doubted(values, objective).items():
            typical = float(np.median(np.abs(np.delete(values, i)))) or float(np.median(_sizes(np.delete(values, i))))
            found.append(Slip(told[i].id, objective.name, float(values[i]), typical, left_out))
    return sorted(found, key=lambda slip: slip.trial)


def doubted(values: Array, objective: Objective) -> dict[int, bool]:
    """Indices of values (n,) that stand apart, with whether by so much that they are to be left out."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known) <= FEWEST:
        return {}
    order = known[np.argsort(values[known], kind="stable")]
    found = {}
    for i in {int(order[0]), int(order[-1]), *map(int, known[np.argsort(np.abs(values[known]))[[0, -1]]])}:
        others = values[known[known != i]]
        verdict = _apart(float(values[i]), others, logarithmic=objective.scale == "log")
        if verdict is not None:
            found[i] = verdict
    return found


def _apart(value: float, others: Array, logarithmic: bool) -> bool | None:
    """None if a value is like the others, else whether it is far beyond belief."""
    low, high = float(others.min()), float(others.max())
    sizes = _sizes(others)
    if len(sizes) < FEWEST:  # a first hit among zeros is no slip
        return None
    if low < 0 < high:
        return _by_range(value, low, high)
    if value == 0 or (value < 0) != (low < 0):
        return None
    least, most, size = (math.log10(v) for v in (sizes.min(), sizes.max(), abs(value)))
    span, above, below = most - least, size - most, least - size
    if above >= max(ABOVE, SPANS * span):
        return above >= max(FAR, FAR_SPANS * span)
    if below >= max(BELOW, FAR_SPANS * span):
        return logarithmic and below >= FAR
    return None


def _by_range(value: float, low: float, high: float) -> bool | None:
    beyond = max(value - high, low - value) / (high - low)
    return beyond >= FAR_RANGES if beyond >= RANGES else None


def _sizes(values: Array) -> Array:
    """Of those that are not 0."""
    sizes: Array = np.abs(values[values != 0])
    return sizes


def advice(slip: Slip, directory: Path | str) -> str:
    """The whole sentence, with the command that corrects it; `directory` holds the campaign's results."""
    name = slip.objective if slip.objective.isidentifier() else f'"{slip.objective}"'
    fate = "; until then, or until an experiment close to it agrees, the model leaves it out" if slip.left_out else ""
    command = f'matloop amend {quoted(Path(directory))} {slip.trial} --value {name}=NUMBER --reason "slip of the pen"'
    return f"{slip.text}; if it is a slip, correct it: {command}{fate}"
