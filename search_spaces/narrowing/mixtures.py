"""Mixtures whose components may have only some of their amounts for once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice, product
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Allowed, Array, Between
from matloop.orchestrator.trial import Point
from matloop.search_spaces.experiment.mixture import Mixture
from matloop.search_spaces.narrowing.wish import check_numbers, without, words

MOST = 64
"""Combinations of listed amounts, at most: each is a mixture of its own."""

_ROUNDED = 1e-9
"""Of the total: what arithmetic leaves of a difference of nothing."""


class NarrowMixture(Mixture):
    """A mixture of which a part is allowed: the union of some mixtures of fewer components with tighter limits."""

    def __init__(self, whole: Mixture, allowed: Mapping[str, Allowed]) -> None:
        """Set it up.

        Args:
            whole: whose encoding this one has.
            allowed: amounts by component.

        Raises:
            InvalidPoint: a component can have no such amount.
            ConfigError: no mixture is left.
        """
        self.__dict__.update(whole.__dict__)
        self._whole_mixture, self._allowed = whole, dict(allowed)
        for component, wanted in allowed.items():
            check_numbers(component, wanted)
            self._require_possible(component, wanted)
        single: list[list[Allowed]] = [
            [wanted] if isinstance(wanted, Between) else [(amount,) for amount in wanted] for wanted in allowed.values()
        ]
        combinations = (dict(zip(allowed, some, strict=True)) for some in product(*single))
        self._parts = [part for some in islice(combinations, MOST) if (part := self._part(some)) is not None]
        if not self._parts:
            wish = ", ".join(f"{component} {words(wanted)}" for component, wanted in allowed.items())
            raise ConfigError(
                f"no mixture {self.name!r} has {wish}: the amounts have to add up to {self.total:g} within "
                "the limits of the mixture; widen a wish",
                at=next(iter(allowed)),
            )

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """A mixture drawn evenly from one of the parts."""
        return self._parts[int(rng.integers(len(self._parts)))].sample(rng)

    def listed(self, most: int) -> list[dict[str, Any]] | None:
        """Every mixture, each once; None if there are more than `most`."""
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for part in self._parts:
            every = part.listed(most)
            if every is None:
                return None
            found |= {tuple(amounts.values()): amounts for amounts in every}
        return list(found.values()) if len(found) <= most else None

    @property
    def fixed(self) -> bool:
        """Whether there is one mixture only."""
        return self.listed(1) is not None

    def check(self, point: Point) -> None:
        """As of the whole, and that the amounts are allowed."""
        self._whole_mixture.check(point)
        slack = _ROUNDED * self.total
        for component, wanted in self._allowed.items():
            amount = float(point[component])
            near = Between(amount - slack, amount + slack)
            held = (
                wanted.low - slack <= amount <= wanted.high + slack
                if isinstance(wanted, Between)
                else any(value in near for value in wanted)
            )
            if not held:
                raise InvalidPoint(f"expected {component} to be {words(wanted)}, got {amount!r}", at=component)

    def mutate(self, point: Point, rng: np.random.Generator) -> dict[str, Any]:
        """A changed copy that is allowed; the same if there is only one."""
        part = self._parts[int(rng.integers(len(self._parts)))]
        return part.mutate(part.nearest(self.encode([point])[0]), rng)

    def cross(self, a: Point, b: Point, rng: np.random.Generator) -> dict[str, Any]:
        """The allowed mixture next to a mixture of both."""
        return self.decode(self.encode([self._whole_mixture.cross(a, b, rng)])[0])

    @property
    def bounds(self) -> Array:
        """(2, m) float64: least and most share of each component."""
        found = np.stack([part.inner.bounds for part in self._parts])
        return np.stack([found[:, 0].min(axis=0), found[:, 1].max(axis=0)])

    def decode(self, x: Array) -> dict[str, Any]:
        """Nearest allowed mixture to (m,) float64 shares."""
        x = np.asarray(x, dtype=np.float64)
        found = [part.nearest(x) for part in self._parts]
        return found[int(np.argmin(((self.encode(found) - x) ** 2).sum(axis=1)))]

    def _require_possible(self, component: str, wanted: Allowed) -> None:
        """Raise InvalidPoint unless each amount is one that the component can have."""
        i = self.components.index(component)
        if not isinstance(wanted, Between):
            for amount in wanted:
                self._check_amount(i, component, float(amount))
        elif wanted.low > self._amount(self._high[i]) or wanted.high < (0 if not self._forced[i] else self._least(i)):
            most = self._amount(self._high[i])
            raise InvalidPoint(f"expected {component} within 0 to {most:g}, got {words(wanted)}", at=component)

    def _least(self, i: int) -> float:
        return self._amount(self._low[i])

    def _part(self, allowed: Mapping[str, Allowed]) -> _Part | None:
        """The mixtures with one amount or range for each; None if there are none."""
        limits = {}
        for i, component in enumerate(self.components):
            low, high = (self._least(i) if self._forced[i] else 0.0), self._amount(self._high[i])
            if component in allowed:
                wanted = allowed[component]
                ends = (wanted.low, wanted.high) if isinstance(wanted, Between) else (float(wanted[0]),) * 2
                low, high = max(low, ends[0]), min(high, ends[1])
            if high <= 0 or high < self._least(i) - _ROUNDED * self.total:  # it can only be absent
                if low > 0:
                    return None
                low = high = 0.0
            limits[component] = [low, high]
        try:
            return _Part(self._whole_mixture, limits)
        except ConfigError:
            return None


class _Part:
    """Mixtures of some of the components, within tighter limits."""

    def __init__(self, whole: Mixture, limits: Mapping[str, Sequence[float]]) -> None:
        self._exact = {name: low for name, (low, high) in limits.items() if low == high}
        self.inner = Mixture(
            whole.name,
            components=whole.components,
            total=whole.total,
            at_most=whole.at_most,
            at_least=whole.at_least,
            minimum=whole.minimum,
            step=whole.step,
            limits=limits,
            unit=whole.unit,
        )
        self._single = self.inner.fixed

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        return self._with_exact(self.inner.sample(rng))

    def mutate(self, point: Point, rng: np.random.Generator) -> dict[str, Any]:
        return dict(point) if self._single else self._with_exact(self.inner.mutate(point, rng))

    def nearest(self, x: Array) -> dict[str, Any]:
        """To (m,) float64 shares."""
        return self._with_exact(self.inner.decode(x))

    def listed(self, most: int) -> list[dict[str, Any]] | None:
        every = self.inner.listed(most)
        return None if every is None else [self._with_exact(amounts) for amounts in every]

    def _with_exact(self, amounts: Mapping[str, Any]) -> dict[str, Any]:
        """As asked for, without what arithmetic leaves."""
        return {**amounts, **self._exact}


def narrowed(mixture: Mixture, allowed: Mapping[str, Allowed]) -> Mixture:
    """The mixture, narrowed if there is a wish for one of its components."""
    own = {name: wanted for name, wanted in allowed.items() if name in mixture.components}
    return NarrowMixture(mixture, own) if own else mixture


def around(mixture: Mixture, point: Point, within: float, free: Collection[str]) -> dict[str, Allowed]:
    """Amounts near those of a point: within a share of the total, the next step to either side at least."""
    kept = without(point, free, mixture.components)
    reach = max(within * mixture.total, mixture.step or 0.0)
    low, high = mixture.bounds * mixture.total
    return {
        name: Between(max(float(kept[name]) - reach, float(least)), min(float(kept[name]) + reach, float(most)))
        for name, least, most in zip(mixture.components, low, high, strict=True)
        if name in kept and least - reach <= kept[name] <= most + reach
    }
