"""One coordinate of a box: its scale, its values, and when it applies."""

from __future__ import annotations

import difflib
import math
import numbers
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import numpy as np

from matloop.orchestrator.errors import InvalidPoint
from matloop.orchestrator.protocols import Array, Column
from matloop.orchestrator.trial import Point
from matloop.search_spaces.choices import Choices

_STEP = 0.1  # standard deviation of a mutated number, as a share of its range
_OFF_DIGITS = 1e-12  # of a value: what arithmetic leaves
_OFF_GRID = 1e-6  # of a step: what files and people round away


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parameter:
    """One coordinate.

    Attributes:
        name: key in a point.
        type: of its value; an ordinal one is categorical with choices that have an order.
        low, high: ends of the range, both included; 0 and 0 for a categorical one.
        log: whether its scale is logarithmic.
        step: distance of neighbouring values; 0 for a continuous one.
        digits: significant digits of values that can be set; 0 for all that there are.
        reach: of a fixed one (low = high): distance on its scale that counts as a range.
        coding: choices of a categorical one, and their encoding.
        unit: for people.
        when: values of earlier parameters, by name, that all must hold for this one to be part of a point.
        before: value that experiments had which do not say, since it was no parameter then; None if there are none.
    """

    name: str
    type: Literal["float", "integer", "categorical"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float = 0.0
    digits: int = 0
    reach: float = 1.0
    coding: Choices | None = None
    unit: str = ""
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    before: Any = None

    @property
    def choices(self) -> tuple[Any, ...]:
        """Values of a categorical one, else empty."""
        return self.coding.values if self.coding else ()

    @property
    def fixed(self) -> bool:
        """Whether it has one value only."""
        return len(self.coding.values) == 1 if self.coding else self.low == self.high

    @property
    def columns(self) -> tuple[Column, ...]:
        """What each column of an encoded value stands for."""
        return self.coding.columns if self.coding else (Column(self.name, "number"),)

    @property
    def bounds(self) -> Array:
        """(2, w) float64: lowest and highest number in each column of what may be planned."""
        return self.coding.bounds if self.coding else np.array([[0.0], [0.0 if self.low == self.high else 1.0]])

    @property
    def width(self) -> int:
        """Number of columns in an encoded point."""
        return len(self.columns)

    @property
    def values(self) -> int | None:
        """How many values it may have; None if it is continuous."""
        if self.coding:
            return len(self.choices)
        return round((self.high - self.low) / self.step) + 1 if self.step else 1 if self.fixed else None

    def value(self, i: int) -> Any:
        """The i-th of its values, from 0."""
        return self.choices[i] if self.coding else self._at(i) if self.step else self.low

    def active(self, point: Point) -> bool:
        """Whether the parameter belongs to a point with these earlier values."""
        return all(other in point and among(point[other], values) for other, values in self.when.items())

    def check(self, value: Any) -> None:
        """Raise InvalidPoint, naming the parameter, unless it may have the value."""
        self.check_measured(value)
        if self.type == "integer" and not isinstance(value, numbers.Integral):
            text = f"expected {self.name} to be an integer in [{self.low:g}, {self.high:g}], got {value!r}"
            raise InvalidPoint(text, at=self.name)
        if self.step:
            place = (float(value) - self.low) / self.step
            if abs(place - round(place)) > _OFF_GRID:
                raise InvalidPoint(
                    f"expected {self.name} in steps of {self.step:g} from {self.low:g}, got {value!r}; "
                    f"{self._at(round(place)):g} is the nearest",
                    at=self.name,
                )
        if self.digits and not math.isclose(value, self.snap(value), rel_tol=_OFF_DIGITS):
            raise InvalidPoint(
                f"expected {self.name} with {self.digits} significant digits, got {value!r}; "
                f"{self.snap(value)!r} is the nearest",
                at=self.name,
            )

    def check_measured(self, value: Any, *, outside: bool = False) -> None:
        """As `check`, for what was really done: values between steps may be measured, though not proposed.

        Args:
            value: of the parameter.
            outside: whether it may also be any number that the scale can take, or another choice than those of today.
        """
        if outside:
            self._check_known(value)
        elif self.coding:
            if value not in self.coding:
                text = f"expected {self.name} to be one of {list(self.choices)}, got {value!r}"
                raise InvalidPoint(text, at=self.name)
        elif isinstance(value, bool) or not isinstance(value, numbers.Real) or not _within(value, self.low, self.high):
            word = "an integer" if self.type == "integer" else "a number"
            text = f"expected {self.name} to be {word} in [{self.low:g}, {self.high:g}], got {value!r}"
            raise InvalidPoint(text, at=self.name)

    def _check_known(self, value: Any) -> None:
        """Raise InvalidPoint unless the value has a place on the scale, inside the range or outside."""
        if self.coding:
            return self.coding.check_known(value)
        number = isinstance(value, numbers.Real) and not isinstance(value, bool) and finite(value)
        if not number:
            raise InvalidPoint(f"expected {self.name} to be a number, got {value!r}", at=self.name)
        if self.log and value <= 0:
            raise InvalidPoint(
                f"expected {self.name} to be more than 0, since its scale is logarithmic, got {value!r}; "
                "give the amount that cannot be told from none, or take log: true out of the campaign file",
                at=self.name,
            )

    def snap(self, value: Any) -> Any:
        """What can be planned nearest to a value: itself, or the nearest step or end of the range."""
        if self.step:
            return self._at(round((value - self.low) / self.step))
        inside = value if self.low <= value <= self.high else self.low if value < self.low else self.high
        return min(max(float(f"{inside:.{self.digits - 1}e}"), self.low), self.high) if self.digits else inside

    def beside(self, value: Any, side: int) -> Any:
        """The next value below (-1) or above (1) one that may be planned; the same at the end, or if there is none."""
        if self.step:
            return self._at(round((value - self.low) / self.step) + side)
        if not self.digits or value == 0:
            return value
        return self.snap(value + side * 10.0 ** (math.floor(math.log10(abs(value))) - self.digits + 1))

    def plan(self, value: Any, rng: np.random.Generator) -> Any:
        """As `snap`, for choices too: in the place of one that is not to be had any more, one like it or any other."""
        return self.coding.plan(value, rng) if self.coding else self.snap(value)

    def to_unit(self, value: Any) -> list[float]:
        """Columns of a value; every value on a grid has a share of the same length on its scale.

        Those of what may be planned are in [0, 1]. A number outside the range has its place below 0 or above 1.

        Raises:
            InvalidPoint: it has no place: a text for a number, a number <= 0 on a logarithmic scale, an unknown choice.
        """
        if self.coding:
            return self.coding.encode(value)
        if not (type(value) is float and self.low <= value <= self.high):
            self._check_known(value)
        low, high = self._ends()
        u = (self._scale(float(value)) - low) / (high - low)
        return [min(max(u, 0.0), 1.0) if self.low <= value <= self.high else u]  # of what is inside, rounding alone

    def from_unit(self, columns: Array) -> Any:
        """Nearest value to columns within [0, 1]."""
        if self.coding:
            return self.coding.decode(columns)
        if self.low == self.high:
            return self.low
        low, high = self._ends()
        scaled = low + float(columns[0]) * (high - low)
        value = math.exp(scaled) if self.log else scaled
        return self.snap(value)

    def neutral(self) -> list[float]:
        """Columns that stand for "not part of the point": the middle, and no choice more than another."""
        return self.coding.neutral() if self.coding else [0.5]

    def quantile(self, u: float) -> Any:
        """The value below which a share u of `sample`'s lie, u in [0, 1); choices in their order."""
        return self.choices[int(u * len(self.choices))] if self.coding else self.from_unit(np.array([u]))

    def sample(self, rng: np.random.Generator) -> Any:
        """Uniform on the parameter's own scale."""
        return self.coding.sample(rng) if self.coding else self.from_unit(rng.random(1))

    def mutate(self, value: Any, rng: np.random.Generator) -> Any:
        """Another choice, or a number a normal step away that is reflected at the ends of the range.

        From a number outside it sets out at the nearest end.
        """
        if self.coding:
            return self.coding.mutate(value, rng, _STEP)
        u = abs(min(max(self.to_unit(value)[0], 0.0), 1.0) + rng.normal(0.0, _STEP)) % 2.0
        moved = self.from_unit(np.array([min(u, 2.0 - u)]))
        if (self.step or self.digits) and moved == value:
            up = value <= self.low or (value < self.high and rng.random() < 0.5)
            return self.beside(value, 1 if up else -1)
        return moved

    def _at(self, place: int) -> Any:
        """The value so many steps from the low end, or the nearest end: the float that is nearest to the decimal."""
        if self.type == "integer":
            return int(min(max(self.low + place * self.step, self.low), self.high))
        last = round((self.high - self.low) / self.step)
        exact = Decimal(repr(self.low)) + min(max(place, 0), last) * Decimal(repr(self.step))
        return min(float(exact), self.high)

    def _ends(self) -> tuple[float, float]:
        if self.low == self.high:
            return self._scale(self.low), self._scale(self.low) + self.reach
        margin = self.step / 2
        if self.fixed and not margin:  # the one value stands in the middle of a range of its own size
            middle = self._scale(self.low)
            return middle - (abs(middle) or 1.0) / 2, middle + (abs(middle) or 1.0) / 2
        return self._scale(self.low - margin), self._scale(self.high + margin)

    def _scale(self, value: float) -> float:
        return math.log(value) if self.log else value


def suggest(name: object, known: Sequence[Any]) -> str:
    """The known name that was probably meant, or all of them."""
    close = difflib.get_close_matches(str(name), [str(one) for one in known], n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {list(known)}"


def finite(value: Any) -> bool:
    """Whether a number can be computed with: neither infinite, nor not a number, nor an integer beyond all floats."""
    return bool(abs(value) <= sys.float_info.max)


def _within(value: Any, low: float, high: float) -> bool:
    return bool(low <= value <= high)


def _same(a: object, b: object) -> bool:
    """Equality that tells true from 1."""
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def among(value: object, values: Sequence[object]) -> bool:
    return any(_same(value, other) for other in values)
