"""The space of a real experiment: settings, choices and mixtures, and what the laboratory does not allow."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint, inside
from matloop.orchestrator.protocols import Allowed, Array, Column, Past
from matloop.orchestrator.trial import Point
from matloop.search_spaces.box import Box
from matloop.search_spaces.conditions import Condition
from matloop.search_spaces.experiment.expression import Expression
from matloop.search_spaces.experiment.feasible import Feasible
from matloop.search_spaces.experiment.mixture import Mixture
from matloop.search_spaces.experiment.product import Product
from matloop.search_spaces.experiment.reading import read_mixture
from matloop.search_spaces.experiment.rule import PATH, Rule
from matloop.search_spaces.experiment.slide import Constraint
from matloop.search_spaces.recalls import Recalls


class Experiment(Recalls):
    """Space of points that give each parameter a value and each component of a mixture an amount.

    Nothing is ever listed: memory and time grow with the number of parameters, not with that of their combinations.

    Args:
        parameters: as of a `Box`.
        mixtures: name to `{components, total, at_most, at_least, minimum, step, limits, unit}`; see `Mixture`. Each
            component is a key of its own in a point, 0 where it is absent.
        constraints: expressions over parameters and components, such as "0.3 * a + b <= 10" (see `Expression`), or
            functions "module:function" that take a point and say True or False. An expression that mentions a
            parameter which is not part of a point (`when`) does not apply to it.
        descriptors: CSV files with descriptors of choices; see `Box`.
        folder: where modules are looked for; filled in by matloop.
        past: what is on record; filled in by matloop. Choices and components that are not to be had any more are
            encoded, and nothing else gives them.

    Raises:
        ConfigError: names what is wrong, and what to change; also if no point is allowed.
    """

    def __init__(
        self,
        *,
        parameters: dict[str, dict[str, Any]] | None = None,
        mixtures: dict[str, dict[str, Any]] | None = None,
        constraints: list[str] | None = None,
        descriptors: list[Path] | None = None,
        folder: Path | None = None,
        past: Past | None = None,
    ) -> None:
        if descriptors and not parameters:
            raise ConfigError("expected parameters that the files in descriptors describe, got none", at="descriptors")
        box = Box(parameters=parameters, descriptors=descriptors, past=past) if parameters else None
        self.product = Product(box, _mixtures(mixtures or {}, past), past)
        known: dict[str, Sequence[Any]] = dict.fromkeys(self.product.names, ())
        known |= {parameter.name: parameter.choices for parameter in box.parameters} if box else {}
        if isinstance(constraints, str):
            raise ConfigError(
                f"expected constraints to be a list of texts, got the text {constraints!r}; put it in a list",
                at="constraints",
            )
        self.constraints: tuple[Constraint, ...] = tuple(
            _constraint(i, text, known, folder or Path.cwd()) for i, text in enumerate(constraints or ())
        )
        self._feasible = Feasible(self.product, self.constraints) if self.constraints else None

    @property
    def units(self) -> dict[str, str]:
        """Unit of each parameter and component, empty where none was given."""
        return self.product.units

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """A point: each parameter uniform on its scale, each mixture as `Mixture.sample`, given the constraints."""
        return self._feasible.sample(rng) if self._feasible else self.product.sample(rng)

    def draw(self, n: int, rng: np.random.Generator) -> list[dict[str, Any]]:
        """n points, each distributed as those of `sample`; together more even, and cheaper where constraints cost."""
        return self._feasible.draw(n, rng) if self._feasible else self.product.draw(n, rng)

    def listed(self, most: int) -> list[dict[str, Any]] | None:
        """Every point, each once; None if there are more than `most`, not counting constraints."""
        return self._feasible.listed(most) if self._feasible else self.product.listed(most)

    def check(self, point: Point) -> None:
        """Raise InvalidPoint, naming the keys, for a value that is not allowed and for a constraint that fails."""
        self.product.check(point)
        for constraint in self.constraints:
            if constraint.violation(point) > 0:
                names = [name for name in constraint.names or self.product.names if name in point]
                named = ", ".join(f"{name}={point[name]!r}" for name in names)
                raise InvalidPoint(f"expected {constraint.text}, got {named}; change one of them", at=names[:1])

    def check_measured(self, point: Point, *, outside: bool = False) -> None:
        """As `check`, for what was really done: between steps, near the total of a mixture, whatever the constraints.

        Such a point can be learnt from; it would not be proposed. Outside ranges and totals, if that is said.
        """
        self.product.check_measured(point, outside=outside)

    def mutate(self, point: Point, rng: np.random.Generator) -> dict[str, Any]:
        """A changed copy that is allowed."""
        point = self._planned(point)
        return self._feasible.mutate(point, rng) if self._feasible else self.product.mutate(point, rng)

    def cross(self, a: Point, b: Point, rng: np.random.Generator) -> dict[str, Any]:
        """A child of both that is allowed."""
        a, b = self._planned(a), self._planned(b)
        return self._feasible.cross(a, b, rng) if self._feasible else self.product.cross(a, b, rng)

    @property
    def dimension(self) -> int:
        """Length of an encoded point."""
        return self.product.dimension

    @property
    def columns(self) -> tuple[Column, ...]:
        """What each column of an encoded point stands for: parameters, then mixtures."""
        return self.product.columns

    @property
    def bounds(self) -> Array:
        """(2, d) float64: lower, upper."""
        return self.product.bounds

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64: parameters as a `Box` encodes them, mixtures as the shares of their components.

        What was measured outside has its place there, and is never moved.

        Raises:
            InvalidPoint: a value has no place, see `Box.encode`.
        """
        return self.product.encode(points)

    def decode(self, x: Array) -> dict[str, Any]:
        """The nearest point to (d,) float64; where that is not allowed, an allowed one near it."""
        return self._feasible.near(np.asarray(x, dtype=np.float64)) if self._feasible else self.product.decode(x)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What is measured and never set; see `matloop.orchestrator.protocols.Situated`."""
        return self.product.box.conditions if self.product.box else ()

    @property
    def given(self) -> Mapping[str, float]:
        """Conditions that hold for points that do not say."""
        return self.product.box.given if self.product.box else {}

    def at(self, given: Mapping[str, float], ranges: Mapping[str, tuple[float, float]] = MappingProxyType({})) -> Self:
        """The same under conditions; see `matloop.orchestrator.protocols.Situated`."""
        part = copy(self)
        part.product = self.product.at(given, ranges)
        return part

    def narrowed(self, allowed: Mapping[str, Allowed]) -> Self:
        """The part with allowed values where the constraints hold; see `matloop.orchestrator.protocols.Narrowable`."""
        part = copy(self)
        part.product = self.product.narrowed(allowed)
        part._feasible = Feasible(part.product, self.constraints) if self.constraints else None
        return part

    def around(self, point: Point, within: float, free: Collection[str]) -> dict[str, Allowed]:
        """The neighbourhood of a point; see `matloop.orchestrator.protocols.Narrowable`."""
        return self.product.around(point, within, free)

    def _planned(self, point: Point) -> Point:
        """What can be planned nearest to a point, which may have come out between the steps."""
        return point if self.product.contains(point) else self.decode(self.encode([point])[0])


def _mixtures(mixtures: dict[str, dict[str, Any]], past: Past | None) -> list[Mixture]:
    read = []
    for name, options in mixtures.items():
        with inside("mixtures", name):
            read.append(read_mixture(name, options, past))
    return read


def _constraint(i: int, text: Any, known: dict[str, Sequence[Any]], folder: Path) -> Constraint:
    """The constraint that stands at place i of the list."""
    with inside("constraints", i):
        if not isinstance(text, str):
            raise ConfigError(f"expected constraints to be texts such as 'a + b <= 10', got {text!r}")
        return Rule(text, folder) if PATH.match(text) else Expression(text, known)
