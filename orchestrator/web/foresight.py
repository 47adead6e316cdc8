"""The page that answers "what would you expect at …", with slices through that point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request, Response

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.lab.slices import centre
from matloop.orchestrator.protocols import Predicting
from matloop.orchestrator.report.forecast import Forecast, forecasts
from matloop.orchestrator.report.response import Responses, Slice, telling
from matloop.orchestrator.trial import Objective, Point
from matloop.orchestrator.web import bench, forms, rendering, slices
from matloop.orchestrator.web.forms import Filled
from matloop.orchestrator.web.pages import Site
from matloop.orchestrator.web.places import spread

MOST_SLICES = 16
"""Inputs that a slice is drawn along, at most."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says of a point.

    Attributes:
        usual: the best measured point, which holds where the form says nothing.
        point: it; None if something is wrong with the form.
        forecast: what it expects there.
        lines: slices along single inputs.
        maps: slices over two inputs or three components.
    """

    usual: Point
    point: Point | None = None
    forecast: Forecast | None = None
    lines: list[Slice] = field(default_factory=list)
    maps: list[Slice] = field(default_factory=list)


def answer(site: Site, filled: Filled, objective: Objective) -> Answer:
    """Ask the model, unless something is wrong with the form, which `filled.problems` then says. Takes seconds."""
    lab, fields = site.service.lab, site.service.fields
    trials = lab.trials()

    def ask(strategy: Predicting) -> Answer:
        usual = centre(lab, strategy, objective)
        point = forms.point(filled, fields, usual)
        if filled.problems:
            return Answer(usual)
        responses = Responses(lab.space, lambda p: forecasts(strategy, p, lab.objectives, lab.space), trials)
        (forecast,) = forecasts(strategy, [point], lab.objectives, lab.space)
        inputs = [one for one in responses.inputs.values() if one.name in point]
        lines = [responses.along(one.name, point) for one in inputs[:MOST_SLICES]]
        return Answer(usual, point, forecast, lines, _maps(responses, lines, point, filled))

    return lab.foresee(ask)


def _maps(responses: Responses, lines: list[Slice], point: Point, filled: Filled) -> list[Slice]:
    """The map that is asked for, by default of the two numbers that matter most, and a triangle for each mixture."""
    first, second = filled.get("x"), filled.get("y")
    asked = (first, second) if {first, second} <= set(point) and first != second else telling(lines)
    found = [] if asked is None else [responses.plane(*asked, point)]
    for mixture, components in responses.mixtures.items():
        if len(components) > 2:
            try:
                found.append(responses.triangle(mixture, point))
            except MatloopError:  # nothing of it is left to be shared
                continue
    return found


def routes(site: Site) -> APIRouter:
    """The page."""
    router = APIRouter()

    @router.get("/predict")
    async def predict_page(request: Request) -> Response:
        lab = site.service.lab
        filled = forms.read(dict(request.query_params))
        known = {o.name: o for o in lab.objectives}
        objective = known.get(filled.get("objective"), lab.objectives[0])
        found, reason = None, ""
        try:
            found = await site.service.foresee(answer, site, filled, objective)
        except MatloopError as error:
            reason = rendering.sentence(str(error))
        return site.page(
            request,
            "predict.html",
            422 if filled.problems else 200,
            filled=filled,
            found=found,
            reason=reason,
            objective=objective,
            objectives=lab.objectives,
            fields=site.service.fields,
            numbers=[f for f in site.service.fields if not f.choices],
            **_drawn(site, found, objective),
        )

    return router


def _drawn(site: Site, found: Answer | None, objective: Objective) -> Mapping[str, Any]:
    """What is shown of an answer."""
    usual = {} if found is None else found.usual
    if found is None or found.point is None or found.forecast is None:
        return {"expected": [], "figures": [], "line": "", "usual": usual}
    trials = site.service.lab.trials()
    return {
        "expected": [(o, spread(found.forecast, o)) for o in site.service.lab.objectives],
        "figures": [(_title(cut), slices.draw(cut, objective), _note(cut)) for cut in (*found.maps, *found.lines)],
        "line": bench.cards_of(site.service, trials).line(found.point),
        "usual": usual,
    }


def _title(cut: Slice) -> str:
    names = [rendering.words(one.name) for one in cut.inputs]
    joined = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return joined[:1].upper() + joined[1:]


def _note(cut: Slice) -> str:
    return "" if any(cut.allowed) else "Nothing of this may be planned."
