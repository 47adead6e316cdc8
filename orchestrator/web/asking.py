"""The wishes in the form that asks for recommendations, and what is wrong with them, beside their fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matloop.orchestrator.errors import ImpossibleWish
from matloop.orchestrator.lab.fields import Field
from matloop.orchestrator.web.forms import Filled
from matloop.orchestrator.web.rendering import sentence

MOST_SHARED = 4
"""Different values in a batch that the form offers."""


MANY = 12
"""Choices of an input above which they are typed rather than ticked."""


def names(one: Field, place: int) -> dict[str, Any]:
    """What the fields of one input are called."""
    return {
        "from": f"from.{one.name}",
        "to": f"to.{one.name}",
        "batch": f"batch.{one.name}",
        "vary": f"vary.{one.name}",
        "choices": [(choice, f"choice.{one.name}.{i}") for i, choice in enumerate(one.choices)],
        "typed": len(one.choices) > MANY,
        "id": f"wish-{place}",
    }


def wishes(filled: Filled, fields: Sequence[Field]) -> dict[str, Any] | None:
    """As `Lab.recommend` takes them; None if something is wrong, which `filled.problems` then says."""
    settable = [one for one in fields if not one.uncontrolled]
    fixed = {one.name: value for one in settable if (value := _fixed(filled, one)) is not None}
    today = {one.name: filled.number(f"from.{one.name}", one.unit) for one in fields if one.uncontrolled}
    limits = {one.name: int(most) for one in settable if (most := filled.get(f"batch.{one.name}")).isdecimal()}
    within = filled.number("within", "%")
    around = filled.get("around")
    if around and not around.isdecimal():
        filled.problems["around"] = "expected the number of an experiment"
    if filled.problems:
        return None
    vary = [one.name for one in fields if filled.get(f"vary.{one.name}")] if around else []
    return {
        "fixed": fixed,
        "around": int(around[:9]) if around else None,
        "within": within / 100 if around and within is not None else None,
        "vary": vary,
        "at_most": limits,
        "given": {name: value for name, value in today.items() if value is not None},
    }


def object_to(filled: Filled, error: ImpossibleWish, fields: Sequence[Field]) -> None:
    """Take over why a wish cannot be fulfilled, beside the input that it is about."""
    places = {one.name: f"from.{one.name}" for one in fields} | {"around": "around", "within": "within"}
    for problem in error.problems:
        place = str(problem.place[0]) if problem.place else ""
        filled.problems.setdefault(places.get(place, "n"), sentence(problem.text))


def _fixed(filled: Filled, one: Field) -> Any:
    """What an input is wished to be; None for anything."""
    if len(one.choices) > MANY:
        return filled.get(f"from.{one.name}") or None
    if one.kind == "choice":
        chosen = [choice for i, choice in enumerate(one.choices) if filled.get(f"choice.{one.name}.{i}")]
        return chosen if chosen and len(chosen) < len(one.choices) else None
    ends: dict[str, float] = {}
    for end, name in (("low", f"from.{one.name}"), ("high", f"to.{one.name}")):
        if filled.get(name):
            try:
                ends[end] = one.read(filled.get(name))
            except ValueError as error:
                filled.problems[name] = sentence(str(error))
    if set(ends) == {"low"}:
        return ends["low"]
    return ends or None
