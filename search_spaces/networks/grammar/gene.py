"""One gene, a choice with odds or a range of numbers: how it is drawn, changed, checked and given anew."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint

Genome = dict[str, Any]
Choices = tuple[Any, ...]
T = TypeVar("T")

_STEP = 0.5  # standard deviation of a change within a range, in natural logarithms
_ATOMS = {str, int, float, bool}


@dataclass(frozen=True, slots=True)
class Gene:
    """A gene with a few choices.

    Attributes:
        choices: texts, truth values, or numbers in ascending order.
        odds: of drawing each; None for equal ones.
        least: numbers that a campaign gives may be no smaller; the choices above need not reach it.
        most: likewise, no larger.
        odd: whether numbers must be odd.
        first: the smallest choice may be no larger, since some places allow no more; None for no such limit.
    """

    choices: Choices
    odds: tuple[float, ...] | None = None
    least: float = -math.inf
    most: float = math.inf
    odd: bool = False
    first: float | None = None

    def draw(self, rng: np.random.Generator) -> Any:
        """One of the choices, as the plain Python value that it is."""
        if self.odds is None:
            return self.choices[int(rng.integers(len(self.choices)))]
        return pick(self.choices, self.odds, rng)

    def another(self, value: object, rng: np.random.Generator) -> Any:
        """Any of the other choices; the value itself if it is the only one."""
        others = [choice for choice in self.choices if choice != value]
        return others[int(rng.integers(len(others)))] if others else value

    def accepts(self, value: Any) -> bool:
        """Whether a value is one of the choices, where types count as torch sees them.

        0 for 0.0 will do, but neither 16.0 nor true for an integer.
        """
        kind = type(self.choices[0])
        return (type(value) is kind or (kind is float and type(value) is int)) and value in self.choices

    def check(self, name: str, value: Any) -> None:
        """Raise InvalidPoint, with the name in its message, unless the value is accepted."""
        if not self.accepts(value):
            raise InvalidPoint(f"expected {name} to be one of {list(self.choices)}, got {value!r}")

    @property
    def usual(self) -> Any:
        """The choice that is drawn most often, the first of several."""
        return self.choices[self.odds.index(max(self.odds))] if self.odds else self.choices[0]

    def nearest(self, value: Any) -> Any:
        """The choice that a value comes closest to; the usual one where texts or truth values are not known."""
        if self.accepts(value):
            return value
        if isinstance(self.choices[0], str | bool) or not isinstance(value, int | float):
            return self.usual
        return min(self.choices, key=lambda choice: abs(choice - value))

    def within(self, limit: float) -> Any:
        """The largest choice within a limit, the smallest of all if none is."""
        return max((choice for choice in self.choices if choice <= limit), default=self.choices[0])

    def lower(self, value: Any) -> Any:
        """The next smaller choice; None for the smallest."""
        position = self.choices.index(value)
        return self.choices[position - 1] if position else None

    def higher(self, value: Any) -> Any:
        """The next larger choice; None for the largest."""
        position = self.choices.index(value) + 1
        return self.choices[position] if position < len(self.choices) else None

    def given(self, name: str, values: Sequence[Any]) -> Gene:
        """The same gene with the choices that a campaign gives, numbers sorted and each once.

        Choices that the gene had keep their odds, new ones get the mean of these.

        Raises:
            ConfigError: the list is empty, or a choice is of the wrong type or out of the gene's limits.
        """
        if not values:
            text = f"expected {name!r} in genes to be a list of choices, got an empty one; add one or more"
            raise ConfigError(text, at=("genes", name))
        if isinstance(self.choices[0], str | bool):
            choices = self._some(name, values)
        else:
            choices = tuple(sorted({self._number(name, value) for value in values}))
        if self.first is not None and choices[0] > self.first:
            raise ConfigError(
                f"expected {name!r} in genes to have a choice of at most {self.first:g}, which fits everywhere, got "
                f"{list(choices)}; add {self.first:g}",
                at=("genes", name),
            )
        return replace(self, choices=choices, odds=self._odds(choices))

    def _some(self, name: str, values: Sequence[Any]) -> Choices:
        for value in values:
            if not self.accepts(value):
                text = f"expected {name!r} in genes to have some of {list(self.choices)}, got {value!r}"
                raise ConfigError(text, at=("genes", name))
        return tuple(choice for choice in self.choices if choice in values)

    def _number(self, name: str, value: Any) -> float:
        whole = isinstance(self.choices[0], int)
        expected = ("odd " if self.odd else "") + ("whole numbers" if whole else "numbers")
        if self.least > -math.inf:
            expected += f" of at least {self.least:g}"
        if self.most < math.inf:
            expected += f" and at most {self.most:g}"
        fits = type(value) is int or (type(value) is float and not whole)
        if not fits or not self.least <= value <= self.most or (self.odd and value % 2 == 0):
            raise ConfigError(f"expected {name!r} in genes to be {expected}, got {value!r}", at=("genes", name))
        return value if whole else float(value)

    def _odds(self, choices: Choices) -> tuple[float, ...] | None:
        known = dict(zip(self.choices, self.odds, strict=True)) if self.odds else {}
        kept = [known[choice] for choice in choices if choice in known]
        return tuple(known.get(choice, sum(kept) / len(kept)) for choice in choices) if kept else None


@dataclass(frozen=True, slots=True)
class Range:
    """A number between two positive ones, both included; drawn uniformly in the logarithm."""

    low: float
    high: float

    @property
    def usual(self) -> float:
        """The middle of the range in the logarithm."""
        return math.sqrt(self.low * self.high)

    def nearest(self, value: float) -> float:
        """The number of the range that a value comes closest to."""
        return min(max(value, self.low), self.high)

    def draw(self, rng: np.random.Generator) -> float:
        """A number of the range."""
        drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return min(max(drawn, self.low), self.high)

    def another(self, value: float, rng: np.random.Generator) -> float:
        """The value times a random factor; drawn anew where it would leave the range."""
        moved = value * math.exp(rng.normal(0.0, _STEP))
        return moved if self.low <= moved <= self.high else self.draw(rng)

    def check(self, name: str, value: Any) -> None:
        """Raise InvalidPoint, with the name in its message, unless the value is a number of the range."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not self.low <= value <= self.high:
            raise InvalidPoint(f"expected {name} in [{self.low:g}, {self.high:g}], got {value!r}")

    def share(self, value: float) -> float:
        """How far up the range a value is in the logarithm, in [0, 1]; 0 in a range of one number."""
        return math.log(value / self.low) / math.log(self.high / self.low) if self.high > self.low else 0.0

    def given(self, name: str, values: Sequence[Any]) -> Range:
        """The range from the smallest to the largest of one or two numbers that a campaign gives.

        Raises:
            ConfigError: other than one or two positive, finite numbers.
        """
        numbers = [value for value in values if type(value) in (int, float) and math.isfinite(value) and value > 0]
        if len(numbers) != len(values) or not 1 <= len(values) <= 2:
            raise ConfigError(
                f"expected {name!r} in genes to be [lowest, highest], two positive numbers, got {list(values)}; "
                "one number keeps it fixed",
                at=("genes", name),
            )
        return Range(float(min(numbers)), float(max(numbers)))


Table = Mapping[str, Gene | Range]


def choice(table: Table, name: str) -> Gene:
    """A gene that the family knows to be one of choices."""
    gene = table[name]
    assert isinstance(gene, Gene)
    return gene


def draw_block(table: Table, rng: np.random.Generator) -> Genome:
    """Random values of a table's genes."""
    return {name: gene.draw(rng) for name, gene in table.items()}


def pick(choices: Sequence[T], odds: tuple[float, ...], rng: np.random.Generator) -> T:
    """One of the choices with these odds; the draw of `rng.choice` at a tenth of its time."""
    return choices[bisect_right(_cumulative(odds), rng.random())]


@cache
def _cumulative(odds: tuple[float, ...]) -> list[float]:
    sums = list(accumulate(odds))
    return [value / sums[-1] for value in sums]


def duplicate(genome: Mapping[str, Any]) -> Genome:
    """A copy that shares nothing that can be changed; several times as fast as `copy.deepcopy`."""
    copy = dict(genome)
    for key, value in copy.items():
        if type(value) in _ATOMS:
            continue
        if isinstance(value, Mapping):
            copy[key] = dict(value)
        elif isinstance(value, list | tuple):
            copy[key] = [dict(item) if isinstance(item, Mapping) else item for item in value]
    return copy
