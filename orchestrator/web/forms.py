"""From what a person typed into a form to a result, with every objection beside the field that it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from matloop.orchestrator.errors import Problem
from matloop.orchestrator.lab import Result
from matloop.orchestrator.lab.fields import Field
from matloop.orchestrator.lab.limits import measured
from matloop.orchestrator.lab.numbers import number
from matloop.orchestrator.measurement import LONGEST_NAME, LONGEST_TEXT, check_text, without_control_characters
from matloop.orchestrator.trial import Objective, Side, Trial

Outcome = Literal["value", "failure", "either"]


@dataclass(slots=True)
class Filled:
    """A form as it was sent.

    Attributes:
        texts: what stands in each field, stripped.
        problems: what is wrong with it, by name of the field; the empty name is for the form as a whole.
        unusual: whether all that is wrong is that a value is not plausible, which may be confirmed.
    """

    texts: Mapping[str, str]
    problems: dict[str, str] = field(default_factory=dict)
    unusual: bool = False

    def get(self, name: str) -> str:
        """Text of a field, empty if there is none."""
        return self.texts.get(name, "")

    def number(self, name: str, unit: str = "") -> float | None:
        """Number in a field, None if it is empty or wrong."""
        if not self.get(name):
            return None
        try:
            return number(self.get(name), unit)
        except ValueError as error:
            self.problems[name] = str(error)
            return None

    def measured(self, name: str, unit: str = "") -> tuple[float | None, Side | None]:
        """As `number`, with the side of the true value where the field has a limit such as "< 0.1"."""
        if not self.get(name):
            return None, None
        try:
            return measured(self.get(name), unit)
        except ValueError as error:
            self.problems[name] = str(error)
            return None, None

    def mentions(self, prefix: str) -> bool:
        """Whether any field with such a name was filled in or is wrong."""
        return any(name.startswith(prefix) for name in self.problems) or any(
            name.startswith(prefix) and text for name, text in self.texts.items()
        )

    @property
    def wishes(self) -> bool:
        """Whether anything is wished in the form that asks for recommendations."""
        return any(map(self.mentions, ("from.", "to.", "choice.", "batch.", "around", "within", "vary.")))

    def line(self, name: str, longest: int = LONGEST_TEXT) -> str:
        """Text of a field, with an objection if it is none that can be stored."""
        value = self.get(name)
        for problem in check_text(value, longest=longest):
            self.problems[name] = problem.text
        return value

    def object_to(self, problems: Iterable[Problem], fields: Sequence[Field], objectives: Sequence[Objective]) -> None:
        """Take over what the lab objects to, each beside the field that it is about."""
        names = {o.name: f"value.{o.name}" for o in objectives} | {f"{o.name} ±": f"noise.{o.name}" for o in objectives}
        names |= {f.name: f"point.{f.name}" for f in fields} | {name: name for name in ("failure", "note")}
        for problem in problems:
            self.problems.setdefault(names.get(problem.column, ""), problem.text)


def located(problem: Problem) -> str:
    """An objection to a file, with its place."""
    place = f"row {problem.row}{f', {problem.column}' if problem.column else ''}"
    return f"{place}: {problem.text}"


def read(form: Mapping[str, Any]) -> Filled:
    """Take the texts out of a submitted form; control characters, which no keyboard makes, are dropped."""
    texts = {}
    for name, value in form.items():
        if isinstance(value, str):
            texts[name] = without_control_characters(value.replace("\r\n", "\n")).strip()
    return Filled(texts)


def outcome(
    filled: Filled, what: Outcome, fields: Sequence[Field], objectives: Sequence[Objective], planned: Trial | None
) -> Result | None:
    """The result that a form tells; None if something is wrong, which `filled.problems` then says.

    Args:
        filled: the form.
        what: a value, a failure, or whichever of the two was filled in.
        fields: inputs of an experiment.
        objectives: what is measured; at least one value is required, the others may be told later.
        planned: what it is about; its inputs hold where the form says nothing. None for an experiment of one's own.
    """
    failure = filled.line("failure")
    if what == "either":
        what = "failure" if failure else "value"
        if failure and any(filled.get(f"value.{o.name}") for o in objectives):
            filled.problems["failure"] = "expected a value or a failure, got both; clear one of them"
    values, noise, censored = _measured(filled, objectives) if what == "value" else (None, {}, {})
    if what == "failure" and not failure:
        filled.problems["failure"] = "expected what happened, in a few words: cracked, leaked, no crystals"
    point = _point(filled, fields, planned.point if planned is not None else {})
    note = filled.line("note")
    filled.line("by", LONGEST_NAME)
    if filled.problems:
        return None
    return Result(
        trial=planned.id if planned is not None else None,
        point=point if planned is None or filled.mentions("point.") else None,
        values=values,
        noise=noise,
        censored=censored,
        failure=failure if what == "failure" else "",
        note=note,
        cost=planned.cost if planned is not None else None,
        request=filled.line("submission", LONGEST_NAME) if planned is None else "",
    )


def _measured(
    filled: Filled, objectives: Sequence[Objective]
) -> tuple[dict[str, float], dict[str, float], dict[str, Side]]:
    """Values, standard deviations, and the sides of values of which only a limit is known."""
    values, noise, censored = {}, {}, {}
    names = [f"value.{objective.name}" for objective in objectives]
    if not any(filled.get(name) for name in names):
        lack = "expected what was measured; if there is nothing to measure, report a failure"
        filled.problems |= dict.fromkeys(names, lack)
    for objective, name in zip(objectives, names, strict=True):
        value, side = filled.measured(name, objective.unit)
        if value is not None:
            values[objective.name] = value
        if side is not None:
            censored[objective.name] = side
        deviation = filled.number(f"noise.{objective.name}", objective.unit)
        if deviation is not None:
            noise[objective.name] = deviation
    return values, noise, censored


def point(filled: Filled, fields: Sequence[Field], planned: Mapping[str, Any]) -> dict[str, Any]:
    """The point that a form tells, objections noted; where it says nothing, what was planned.

    A choice that brings other inputs with it asks for their values, and leaves out those that no longer apply.
    """
    return _point(filled, fields, planned)


def _point(filled: Filled, fields: Sequence[Field], planned: Mapping[str, Any]) -> dict[str, Any]:
    """What was done: what the form says, and where it says nothing, what was planned."""
    point = {}
    for one in fields:
        name = f"point.{one.name}"
        if filled.get(name):
            try:
                point[one.name] = one.read(filled.get(name))
            except ValueError as error:
                filled.problems[name] = str(error)
        elif one.name in planned:
            point[one.name] = planned[one.name]
        elif one.default is not None:
            point[one.name] = one.default
    active = {one.name for one in fields if one.applies(point)}
    for one in fields:
        if (
            one.name not in point
            and one.name in active
            and not one.uncontrolled
            and f"point.{one.name}" not in filled.problems
        ):
            filled.problems[f"point.{one.name}"] = "expected a value"
    return {name: value for name, value in point.items() if name in active or filled.get(f"point.{name}")}
