"""The inputs of an experiment as fields of a form, taken from the parameters that the space declares."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from matloop.orchestrator.lab.numbers import BY_HAND, Marks, Typed, number, typed
from matloop.orchestrator.lab.results import SAME
from matloop.orchestrator.measurement import is_number
from matloop.orchestrator.protocols import Composed, Finite, Parametric, Situated, Space
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Point

_HYPHENS = str.maketrans("‐‑‒–—−", "------")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One input.

    Attributes:
        name: key in a point.
        kind: how it is typed.
        low, high: ends of its range, None where there are none.
        step: distance of neighbouring values, 0 where there is none.
        unit: for people.
        choices: values of a choice.
        when: values of earlier inputs, by name, that make this one part of an experiment.
        default: what an empty field means; None for nothing.
        uncontrolled: whether it is measured and not set; it may be left out.
    """

    name: str
    kind: Literal["number", "integer", "choice"]
    low: float | None = None
    high: float | None = None
    step: float = 0.0
    unit: str = ""
    choices: tuple[Any, ...] = ()
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    default: float | None = None
    uncontrolled: bool = False

    def read(self, written: str | Typed, marks: Marks = BY_HAND) -> Any:
        """Value of what was typed; whether it is within range, or a choice of today, is for the space to say.

        Args:
            written: what was typed, or a number that a program keeps as one.
            marks: what is known about its decimal mark.

        Raises:
            ValueError: it is none.
        """
        text = written.text if isinstance(written, Typed) else written
        if self.kind == "choice":
            return self._choice(text, marks)
        value = typed(written, self.unit) if isinstance(written, Typed) else number(written, self.unit, marks)
        if self.kind == "integer":
            if value != math.floor(value):
                raise ValueError(f"expected a whole number, got {text[:40]!r}")
            return int(value)
        return value

    def _choice(self, text: str, marks: Marks) -> Any:
        """The choice that a text means: written alike, or but for capitals, spaces and kinds of hyphens.

        What is no choice of today is a number if all of today's are, else the text.
        """
        for alike in (str, _loosely):
            found = [choice for choice in self.choices if alike(str(choice)) == alike(text)]
            if len(found) == 1:
                return found[0]
        try:
            value = number(text, self.unit, marks)
        except ValueError:
            return text
        found = [choice for choice in self.choices if is_number(choice) and math.isclose(choice, value, rel_tol=SAME)]
        if found:
            return min(found, key=lambda choice: abs(choice - value))
        if not all(map(is_number, self.choices)):
            return text
        return int(value) if value == math.floor(value) else value

    def applies(self, point: Point) -> bool:
        """Whether the input is part of an experiment with these earlier values."""
        return all(point.get(other) in values for other, values in self.when.items())

    @property
    def hint(self) -> str:
        """Its range in words."""
        if self.low is None or self.high is None:
            return ""
        steps = f" in steps of {shown(self.step)}" if self.step else ""
        return f"{shown(self.low)} to {shown(self.high)}{steps}"


def fields_of(space: Space) -> tuple[Field, ...]:
    """Inputs of a space: its declared parameters, the columns of its table, or what a point of it is made of; then what
    is measured and not set."""
    conditions = space.conditions if isinstance(space, Situated) else ()
    return (
        *_settable(space),
        *(
            Field(name=c.name, kind="number", low=c.low, high=c.high, unit=c.unit, uncontrolled=True)
            for c in conditions
        ),
    )


def _settable(space: Space) -> tuple[Field, ...]:
    if isinstance(space, Composed):
        product = space.product
        amounts = [(mixture, component) for mixture in product.mixtures for component in mixture.components]
        return (
            *(_declared(parameter) for parameter in (product.box.parameters if product.box else ())),
            *(
                Field(name=name, kind="number", low=0.0, high=m.total, step=m.step or 0.0, unit=m.unit, default=0.0)
                for m, name in amounts
            ),
        )
    if isinstance(space, Parametric) and space.parameters:
        return tuple(_declared(parameter) for parameter in space.parameters)
    points = space.points if isinstance(space, Finite) else [space.sample(derive("fields"))]
    found = {name: [point[name] for point in points] for name in points[0]}
    return tuple(field for name, values in found.items() if (field := _seen(name, values)))


def _loosely(text: str) -> str:
    """What a choice has in common with other ways to write it."""
    text = unicodedata.normalize("NFKC", text).translate(_HYPHENS)
    return re.sub(r"\s+", " ", text).strip().casefold()


def _declared(parameter: Any) -> Field:
    if parameter.choices:
        return Field(
            name=parameter.name, kind="choice", choices=parameter.choices, unit=parameter.unit, when=parameter.when
        )
    return Field(
        name=parameter.name,
        kind="integer" if parameter.type == "integer" else "number",
        low=parameter.low,
        high=parameter.high,
        step=parameter.step if parameter.type != "integer" or parameter.step != 1 else 0.0,
        unit=parameter.unit,
        when=parameter.when,
    )


def _seen(name: str, values: Sequence[Any]) -> Field | None:
    """Field for values that were met; None if nobody can type such values."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        whole = all(isinstance(value, int) for value in values)
        return Field(name=name, kind="integer" if whole else "number")
    if all(isinstance(value, str | bool | int | float) for value in values):
        return Field(name=name, kind="choice", choices=tuple(dict.fromkeys(values)))
    return None


def shown(value: Any) -> str:
    """A value as a person reads it, and may type it: five significant digits."""
    if isinstance(value, float):
        whole = value == round(value) and abs(value) < 1e15
        return f"{value:.{'0f' if whole else '5g'}}".replace("-", "−")
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return str(value)
