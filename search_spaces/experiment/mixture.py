"""A mixture: amounts of components that add up to a total; few of them, no traces, in steps that can be weighed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Array, Column
from matloop.orchestrator.trial import Point
from matloop.search_spaces.experiment.simplex import Simplex, Unreachable
from matloop.search_spaces.parameter import finite, suggest

SLACK = 1e-6
"""Of the total: how far a sum may be off it, as rounded amounts are."""

WEIGHED = 0.02
"""The same for what was really weighed and poured."""

DIGITS = 12
"""Decimals of a share: what arithmetic leaves beyond them would make one mixture look like two."""

STEP = 0.1
"""Mean share of the total that a mutation moves from one component to another."""


class Mixture:
    """Space of the amounts of some components, each a key of a point; one that is absent has the amount 0.

    It is encoded as the share of each component, and a vector of shares is decoded as the nearest mixture that is
    allowed (Euclidean distance).

    Args:
        name: for people and columns.
        components: names, at least two.
        total: sum of the amounts.
        at_most, at_least: number of components present; None for all.
        minimum: amount of any component that is present.
        step: amounts are multiples of it; None for any amount.
        limits: least and most of a component, in the unit of the total; one with a least amount is always present, one
            whose most is 0 never.
        unit: for people.
        before: amounts that experiments had which do not say; 0 of a component that is not named.
        totals: of earlier times, to which amounts on record may add up.

    Raises:
        ConfigError: names the mixture and what to change.
    """

    def __init__(
        self,
        name: str,
        *,
        components: Sequence[str],
        total: float = 1.0,
        at_most: int | None = None,
        at_least: int = 1,
        minimum: float = 0.0,
        step: float | None = None,
        limits: Mapping[str, Sequence[float]] | None = None,
        unit: str = "",
        before: Mapping[str, float] | None = None,
        totals: Sequence[float] = (),
    ) -> None:
        self.before, self._totals = dict(before or {}), (float(total), *totals)
        self.name, self.components, self.total, self.unit = name, tuple(components), float(total), unit
        self.at_least, self.minimum, self.step = at_least, minimum, step
        self._whole = step is not None
        self._units = _units(name, total, step) if step is not None else 1.0
        ranges = [(limits or {}).get(component, (0.0, total)) for component in components]
        low = np.array([self._in_units(pair[0], up=True) for pair in ranges])
        high = np.array([self._in_units(min(pair[1], total), up=False) for pair in ranges])
        least = self._in_units(minimum, up=True)
        if step is not None and at_least > 1:
            least = max(least, 1.0)
        self._forced = low > 0
        self._may = np.array([pair[1] > 0 for pair in ranges])  # all others are left out on purpose
        self.at_most = int(min(len(components) if at_most is None else at_most, self._may.sum()))
        self._low, self._high = np.where(self._may, np.maximum(low, least), 0.0), high
        for component, lowest, highest, may in zip(components, self._low, high, self._may, strict=True):
            if may and (lowest > highest or highest == 0):
                raise ConfigError(
                    f"component {component!r} of mixture {name!r} can never be present: at least "
                    f"{self._amount(lowest):g} is asked for, at most {self._amount(highest):g} allowed; "
                    "widen its limits or leave it out",
                    at=("limits", component),
                )
        try:
            self._simplex = Simplex(
                low=self._low[self._may],
                high=high[self._may],
                forced=self._forced[self._may],
                total=self._units,
                least=at_least,
                most=self.at_most,
                whole=self._whole,
            )
        except Unreachable as error:
            raise ConfigError(self._impossible(str(error))) from error
        except ConfigError as error:
            raise ConfigError(f"mixture {name!r}: {error}", at="step") from error

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """A mixture drawn evenly.

        With steps every mixture is equally likely. Without, every set of components that may be present together is
        (without a minimum, of those with as many components as are allowed), and amounts are uniform given the set.
        """
        return self._point(self._all(self._simplex.sample(rng)))

    def listed(self, most: int) -> list[dict[str, Any]] | None:
        """Every mixture, each once; None if there are more than `most`."""
        every = self._simplex.every(most)
        if every is None:
            return None
        points = [self._point(self._all(units)) for units in every]
        return list({tuple(point.values()): point for point in points}.values())

    @property
    def fixed(self) -> bool:
        """Whether there is one mixture only."""
        return self._simplex.every(1) is not None

    def check(self, point: Point) -> None:
        """Raise InvalidPoint, naming the component, for an amount that is not allowed, and for a wrong sum."""
        amounts = self._amounts(point)
        for i, (component, amount) in enumerate(amounts.items()):
            self._check_amount(i, component, amount)
        self._check_sum(amounts, SLACK)
        present = sum(amount > 0 for amount in amounts.values())
        if not self.at_least <= present <= self.at_most:
            raise InvalidPoint(
                f"expected {self.at_least} to {self.at_most} of {', '.join(self.components)} to be present, "
                f"got {present}",
                at=self.components[0],
            )

    def check_measured(self, point: Point, *, outside: bool = False) -> None:
        """As `check`, for what was really done: any amounts whose sum is within 2 % of the total, or any at all."""
        amounts = self._amounts(point)
        for component, amount in amounts.items():
            if outside and amount >= 0:
                continue
            if not 0 <= amount <= self.total * (1 + WEIGHED):
                raise InvalidPoint(f"expected {component} to be 0 to {self.total:g}, got {amount!r}", at=component)
        if not outside:
            self._check_sum(amounts, WEIGHED)

    def mutate(self, point: Point, rng: np.random.Generator) -> dict[str, Any]:
        """A copy in which some of one component went over to another, or two changed places."""
        units, possible = self._vector(point), np.flatnonzero(self._may)
        for _ in range(20 if len(possible) > 1 else 0):
            moved = units.copy()
            i = int(rng.choice(np.flatnonzero(units > 0)))
            j = int(rng.choice(possible[possible != i]))
            if rng.random() < 0.25:
                moved[[i, j]] = moved[[j, i]]
            else:
                amount = min(rng.exponential(STEP) * self._units + (1 if self._whole else 0), units[i])
                amount = units[i] if rng.random() < 0.1 else np.floor(amount) if self._whole else amount
                moved[i] -= amount
                moved[j] += amount
            mutant = self._nearest(moved)
            if any(mutant[component] != point[component] for component in self.components):
                return mutant
        return self.sample(rng)

    def cross(self, a: Point, b: Point, rng: np.random.Generator) -> dict[str, Any]:
        """A mixture of both, anywhere between the two, or one of them."""
        first, second = self._vector(a), self._vector(b)
        share = round(rng.random()) if rng.random() < 0.5 else rng.random()
        return self._nearest(first + share * (second - first))

    @property
    def steps(self) -> int | None:
        """Number of steps in the total; None without steps."""
        return int(self._units) if self._whole else None

    @property
    def lattice_size(self) -> int | None:
        """Number of mixtures there are, exactly; None without steps."""
        return self._simplex.lattice.count if self._simplex.lattice else None

    @property
    def dimension(self) -> int:
        """Number of components."""
        return len(self.components)

    @property
    def columns(self) -> tuple[Column, ...]:
        """One for the share of each component."""
        return tuple(Column(self.name, "mixture", component) for component in self.components)

    @property
    def bounds(self) -> Array:
        """(2, m) float64: least and most share of each component."""
        return np.stack([np.where(self._forced, self._low, 0.0), self._high]) / self._units

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, m) float64: share of each component, as it was, whatever the limits.

        Raises:
            InvalidPoint: an amount is no number.
        """
        rows = [self.shares(point, self.components) for point in points]
        return np.array(rows, dtype=np.float64).reshape(len(rows), self.dimension)

    def shares(self, point: Point, components: Sequence[str]) -> list[float]:
        """Shares of some components, its own or former ones, in the total; in an earlier one if they add up to that."""
        amounts = [self._recorded(point, component) for component in components]
        total = self.total
        if len(self._totals) > 1 and (found := sum(self._recorded(point, c) for c in self.components)) > 0:
            total = min(self._totals, key=lambda total: abs(math.log(found / total)))
        return [amount / total for amount in amounts]

    def _recorded(self, point: Point, component: str) -> float:
        value = point.get(component, self.before.get(component, 0.0))
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not finite(value):
            raise InvalidPoint(f"expected {component} to be an amount, got {value!r}", at=component)
        return float(value)

    def decode(self, x: Array) -> dict[str, Any]:
        """Nearest mixture to (m,) float64 shares."""
        if np.shape(x) != (self.dimension,):
            raise ValueError(f"expected x of shape ({self.dimension},), got {np.shape(x)}")
        return self._nearest(np.asarray(x, dtype=np.float64) * self._units)

    def _nearest(self, units: Array) -> dict[str, Any]:
        return self._point(self._all(self._simplex.nearest(units[self._may])))

    def _all(self, units: Array) -> Array:
        """Units of every component from those of the components that may be present."""
        every = np.zeros(len(self.components))
        every[self._may] = units
        return every

    def _amounts(self, point: Point) -> dict[str, float]:
        """Amounts in order of the components, all of them numbers."""
        if not isinstance(point, Mapping):
            raise InvalidPoint(f"expected a mapping from component to amount, got {point!r}")
        for key in point:
            if key not in self.components:
                raise InvalidPoint(f"unknown component {key!r}; {suggest(key, self.components)}", at=str(key))
        for component in self.components:
            if component not in point:
                raise InvalidPoint(f"expected an amount of {component}, got none; add it, 0 if absent", at=component)
            value = point[component]
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not finite(value):
                raise InvalidPoint(f"expected {component} to be an amount, got {value!r}", at=component)
        return {component: float(point[component]) for component in self.components}

    def _check_amount(self, i: int, component: str, amount: float) -> None:
        low, high, slack = self._amount(self._low[i]), self._amount(self._high[i]), 1e-9 * self.total
        if not self._may[i] and amount != 0:
            raise InvalidPoint(f"expected {component} to be 0, as its limits say, got {amount!r}", at=component)
        absent = amount == 0 and not self._forced[i]
        if not absent and not (low - slack <= amount <= high + slack and amount >= 0):
            least = f"{low:g} to {high:g}" + ("" if self._forced[i] or low == 0 else ", or 0")
            raise InvalidPoint(f"expected {component} to be {least}, got {amount!r}", at=component)
        if self.step is not None and abs(amount / self.step - round(amount / self.step)) > SLACK:
            nearest = self._amount(round(amount / self.step))
            raise InvalidPoint(
                f"expected {component} in steps of {self.step:g}, got {amount!r}; {nearest:g} is the nearest",
                at=component,
            )

    def _check_sum(self, amounts: Mapping[str, float], slack: float) -> None:
        total = sum(amounts.values())
        if abs(total - self.total) > slack * self.total:
            raise InvalidPoint(
                f"expected {' + '.join(amounts)} to be {self.total:g}, got {total:.9g}; "
                "scale the amounts or correct one",
                at=self.components[0],
            )

    def _vector(self, point: Point) -> Array:
        units = self.encode([point])[0] * self._units
        rounded: Array = np.round(units) if self._whole else units
        return rounded

    def _point(self, units: Array) -> dict[str, Any]:
        return {component: self._amount(n) for component, n in zip(self.components, units, strict=True)}

    def _amount(self, units: float) -> float:
        """Amount of so many units: the float nearest to the exact value."""
        if self._whole:
            return float(Fraction(repr(self.total)) * int(units) / int(self._units))
        return round(float(units), DIGITS) * self.total

    def _in_units(self, amount: float, *, up: bool) -> float:
        if not self._whole:
            return amount / self.total
        exact = Fraction(repr(float(amount))) * int(self._units) / Fraction(repr(self.total))
        nearest = round(exact)
        if abs(exact - nearest) < Fraction(SLACK):
            return float(nearest)
        return float(-(-exact // 1) if up else exact // 1)

    def _impossible(self, reason: str) -> str:
        return (
            f"mixture {self.name!r}: {reason}, {self.total:g}, with {self.at_least} to {self.at_most} "
            f"components: their least amounts are {[self._amount(n) for n in self._low]}, "
            f"their most {[self._amount(n) for n in self._high]}; widen the limits or change the number of components"
        )


def _units(name: str, total: float, step: float) -> int:
    """Steps in the total."""
    exact = Fraction(repr(float(total))) / Fraction(repr(float(step)))
    if abs(exact - round(exact)) > Fraction(1, 10**6) or round(exact) < 1:
        raise ConfigError(
            f"expected the total of mixture {name!r} to be a whole number of steps, got {total:g} in steps of {step:g}",
            at="total",
        )
    return round(exact)
