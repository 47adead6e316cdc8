"""The inputs of an experiment, as predictions and drawings of them need to know them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from matloop.orchestrator.protocols import Composed, Finite, Parameter, Parametric, Space
from matloop.orchestrator.trial import Point

SLACK = 1e-9
"""Of a range: what arithmetic adds at its ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input.

    Attributes:
        name: key in a point.
        kind: a number on its scale, one of some choices, or the amount of a component in a mixture.
        low, high: ends of the range; 0 and 0 for choices; of an amount what the limits leave it.
        log: whether its scale is logarithmic.
        whole: whether only whole numbers are planned.
        step: distance of neighbouring values that can be set; 0 where there is none.
        unit: for people.
        choices: values of a choice.
        mixture: name of the mixture, for an amount.
        together: names of all components of that mixture.
        total: what they add up to.
        parameter: as the space declares it; None where it does not.
    """

    name: str
    kind: Literal["number", "choice", "amount"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    step: float = 0.0
    unit: str = ""
    choices: tuple[Any, ...] = ()
    mixture: str = ""
    together: tuple[str, ...] = ()
    total: float = 0.0
    parameter: Parameter | None = None

    @property
    def title(self) -> str:
        """Name with unit, for an axis."""
        words = self.name.replace("_", " ")
        return f"{words} ({self.unit})" if self.unit else words

    def applies(self, point: Point) -> bool:
        """Whether the input is part of an experiment with these other values."""
        return self.parameter is None or self.parameter.active(point)

    def outside(self, value: Any) -> str:
        """By what a value lies outside what may be planned, in words; empty if it does not."""
        if self.kind == "choice":
            return "" if _among(value, self.choices) else f"{self.name} {value} is none of its choices"
        slack = SLACK * (self.high - self.low)
        if value < self.low - slack:
            return f"{self.name} below {self._with_unit(self.low)}"
        return f"{self.name} above {self._with_unit(self.high)}" if value > self.high + slack else ""

    def _with_unit(self, value: float) -> str:
        return f"{value:.5g} {self.unit}".rstrip()


def inputs_of(space: Space) -> tuple[Input, ...]:
    """Inputs of a space by name: what it declares, or the columns of its list; none of any other space."""
    if isinstance(space, Composed):
        parameters = space.product.box.parameters if space.product.box else ()
        return (*map(_declared, parameters), *(one for mixture in space.product.mixtures for one in _amounts(mixture)))
    if isinstance(space, Parametric):
        return tuple(map(_declared, space.parameters))
    if not isinstance(space, Finite) or not all(isinstance(point, Mapping) for point in space.points[:1]):
        return ()
    names = list(space.points[0]) if space.points else []
    return tuple(_listed(name, [point[name] for point in space.points]) for name in names)


def is_number(value: object) -> bool:
    """Whether it is a finite number, and not true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _declared(parameter: Any) -> Input:
    unit = getattr(parameter, "unit", "")
    if parameter.choices:
        choices = tuple(parameter.choices)
        return Input(name=parameter.name, kind="choice", choices=choices, unit=unit, parameter=parameter)
    return Input(
        name=parameter.name,
        kind="number",
        low=float(parameter.low),
        high=float(parameter.high),
        log=bool(parameter.log),
        whole=parameter.type == "integer",
        step=float(getattr(parameter, "step", 0.0) or 0.0),
        unit=unit,
        parameter=parameter,
    )


def _amounts(mixture: Any) -> list[Input]:
    names, total = tuple(mixture.components), float(mixture.total)
    low, high = (total * bound for bound in np.asarray(mixture.bounds))
    high = np.minimum(high, total - (low.sum() - low))  # what the others leave
    return [
        Input(
            name=name,
            kind="amount",
            low=round(float(low[i]), 9),
            high=round(float(high[i]), 9),
            step=float(mixture.step or 0.0),
            unit=mixture.unit,
            mixture=mixture.name,
            together=names,
            total=total,
        )
        for i, name in enumerate(names)
    ]


def _listed(name: str, values: Sequence[Any]) -> Input:
    if all(map(is_number, values)):
        whole = all(isinstance(value, int) for value in values)
        return Input(name=name, kind="number", low=float(min(values)), high=float(max(values)), whole=whole)
    return Input(name=name, kind="choice", choices=tuple(dict.fromkeys(values)))


def _among(value: object, values: Sequence[object]) -> bool:
    return any(isinstance(value, bool) == isinstance(other, bool) and value == other for other in values)
