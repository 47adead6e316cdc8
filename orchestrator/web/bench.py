"""What the bench shows: what to do, how far it has come, and whether to go on."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from markupsafe import Markup

from matloop.orchestrator.lab.fields import shown
from matloop.orchestrator.report import text
from matloop.orchestrator.report.fronts import front
from matloop.orchestrator.report.interval import interval
from matloop.orchestrator.strategies.advice.slips import slips
from matloop.orchestrator.trial import Objective, Trial, best, goals, keeps_limits, limited, missing
from matloop.orchestrator.web import asking, pareto, plots
from matloop.orchestrator.web.cards import Cards
from matloop.orchestrator.web.places import places
from matloop.orchestrator.web.schemas import MOST_RECOMMENDED
from matloop.orchestrator.web.service import LabService

LATEST = 6

MOST_BEST = 3
"""Objectives whose best value has a tile of its own."""

PAIRS = 3
"""Pairs of objectives that are drawn against each other: all of three objectives, the first ones of more."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the summary."""

    label: str
    value: str
    unit: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One drawing and what to see in it."""

    title: str
    svg: Markup
    caption: str = ""


def content(service: LabService) -> dict[str, Any]:
    """All that the template needs besides the visitor."""
    trials = service.lab.trials()
    finished = in_order(service, trials)
    cards = cards_of(service, trials)
    latest = finished[: -LATEST - 1 : -1]
    return {
        "tiles": _tiles(service, trials),
        "unfinished": [cards.card(t, strips=False) for t in trials if missing(t, service.lab.objectives)],
        "queue": [cards.card(t) for t in trials if t.state == "running"],
        "fields": service.fields,
        "objectives": service.lab.objectives,
        "instructions": service.lab.instructions,
        "causes": causes(trials),
        "outlook": outlook(service.outlook(), service.lab.objectives[0]),
        "places": places(service.best(), cards.line),
        "figures": _figures(service, trials, finished),
        "recent": [cards.card(t, strips=False) for t in latest],
        "most": MOST_RECOMMENDED,
        "wishes": [(field, asking.names(field, i)) for i, field in enumerate(service.fields)],
        "shared": range(2, asking.MOST_SHARED + 1),
        "submission": secrets.token_hex(8),
        "undecided": len(service.lab.undecided()),
        "doubts": slips(trials, service.lab.objectives),
    }


def cards_of(service: LabService, trials: list[Trial]) -> Cards:
    """The maker of cards of these trials."""
    return Cards(service.fields, service.lab.objectives, trials, list(service.lab.history.amendments))


def in_order(service: LabService, trials: list[Trial]) -> list[Trial]:
    """Finished trials in the order in which their results were told."""
    by_id = {t.id: t for t in trials if t.state != "running"}
    return [by_id[i] for i in list(service.lab.history.finished) if i in by_id]


def causes(trials: list[Trial]) -> list[str]:
    """Reasons of failures so far, each once, the latest first."""
    return list(dict.fromkeys(t.failure.message for t in reversed(trials) if t.failure))[:30]


def outlook(found: Mapping[str, Any], objective: Objective) -> list[tuple[str, str]]:
    """What is to be said about going on, and its figure; nothing if nobody knows.

    Args:
        found: see `Lab.outlook`.
        objective: the first.
    """
    if not found:
        return []
    q = found["q"]
    coming = "experiment" if q == 1 else f"{q} experiments"
    if "uncertainty" in found:
        unit = f" {objective.unit}" if objective.unit and found["objective"] == objective.name else ""
        gain = f"{text.number(found['expected_gain'])}{unit}"
        return [
            ("mean uncertainty of the model", f"{text.number(found['uncertainty'])}{unit}"),
            (f"the next {coming} should lower it by", gain),
        ]
    chance = text.percent(found["probability_better"])
    if found["objective"] == "target":
        return [
            ("chance that an untried point lies within the target range", chance),
            (f"expected to lie within, of the next {coming}", text.number(found["expected_gain"])),
        ]
    if found["objective"] == "hypervolume":
        return [
            (f"chance that an untried point adds {_share(found['delta'])} or more to the hypervolume", chance),
            (f"expected growth by the next {coming}", _share(found["expected_gain"])),
        ]
    unit = f" {objective.unit}" if objective.unit else ""
    return [
        (f"chance that something better by {text.number(found['delta'])}{unit} or more remains", chance),
        (f"expected gain of the next {coming}", f"{text.number(found['expected_gain'])}{unit}"),
    ]


def least(found: Mapping[str, Any], several: bool) -> str:
    """What counts as a gain if nobody says it; empty where everything or nothing does."""
    if "uncertainty" in found or found.get("objective") == "target":
        return ""
    return "0.01 of the hypervolume" if several else "of the size of the noise"


def _share(value: float) -> str:
    return f"{text.number(100 * value)}\u202f%"


def _tiles(service: LabService, trials: list[Trial]) -> list[Tile]:
    objective, objectives = service.lab.objectives[0], service.lab.objectives
    tiles = []
    for one in goals(objectives)[:MOST_BEST]:
        champion = best(trials, one, objectives)
        if champion is not None and champion.values is not None:
            sign = text.SIGNS.get(champion.censored.get(one.name, ""), "")
            value = f"{sign} {shown(champion.values[one.name])}".strip()
            tiles.append(Tile(f"best {text.name(one)}", value, one.unit, plots.link(champion)))
    for one in limited(objectives):
        kept = sum(bool(keeps_limits(t, (one,))) for t in trials if t.values)
        tiles.append(Tile(f"{text.name(one)} {one.limits}", str(kept)))
    if len(goals(objectives)) > 1 and tiles:
        tiles.append(Tile("on the Pareto front", str(len(front(trials, objectives)))))
    tiles.append(Tile("measured", str(sum(t.state == "answered" for t in trials))))
    if partial := sum(bool(missing(t, objectives)) for t in trials):
        tiles.append(Tile("of these in part", str(partial)))
    if failed := sum(t.state == "failed" for t in trials):
        tiles.append(Tile("failed", str(failed)))
    if held := _held(trials, objective):
        tiles.append(Tile("90\u202f% intervals held", held))
    if service.planned is not None:
        tiles.append(Tile("planned in all", str(service.planned)))
    return tiles


def _held(trials: list[Trial], objective: Objective) -> str:
    spans = [
        (span, t.values[objective.name])
        for t in trials
        if t.values
        and t.planned is None
        and objective.name in t.values
        and objective.name not in t.censored
        and (span := interval(t, objective.name)) is not None
    ]
    if not spans:
        return ""
    return f"{sum(low <= value <= high for (low, high), value in spans)} of {len(spans)}"


def _figures(service: LabService, trials: list[Trial], finished: list[Trial]) -> list[Figure]:
    objectives, figures = service.lab.objectives, []
    for pair in list(combinations(goals(objectives), 2))[:PAIRS]:
        if (drawn := pareto.pareto(trials, objectives, pair)) is not None:
            title = f"{text.name(pair[0])} against {text.name(pair[1])}"
            figures.append(Figure(f"{title[0].upper()}{title[1:]}", *drawn))
    for objective in objectives:
        better = "lower" if objective.direction == "minimise" else "higher"
        if (svg := plots.progress(finished, objective, objectives)) is not None:
            name = text.name(objective)
            figures.append(Figure(f"Progress of {name}", svg, f"The line is the best so far; {better} is better."))
        if (found := plots.predictions(finished, objective)) is not None:
            figures.append(Figure(f"Predicted and measured {text.name(objective)}", *found))
    return figures
