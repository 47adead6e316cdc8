"""What the bench shows: what to do, how far it has come, and whether to go on."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from markupsafe import Markup

from matloop.orchestrator.lab.fields import shown
from matloop.orchestrator.ledger.slips import slips
from matloop.orchestrator.report import text
from matloop.orchestrator.report.fronts import front
from matloop.orchestrator.report.interval import interval
from matloop.orchestrator.trial import Objective, Trial, best
from matloop.orchestrator.web import pareto, plots
from matloop.orchestrator.web.cards import Cards
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
        "queue": [cards.card(t) for t in trials if t.state == "running"],
        "fields": service.fields,
        "objectives": service.lab.objectives,
        "instructions": service.lab.instructions,
        "causes": causes(trials),
        "outlook": outlook(service.outlook(), service.lab.objectives[0]),
        "figures": _figures(service, trials, finished),
        "recent": [cards.card(t, strips=False) for t in latest],
        "most": MOST_RECOMMENDED,
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
    """What is to be said about going on, and its figure; nothing if nobody knows."""
    if not found:
        return []
    unit, q = f" {objective.unit}" if objective.unit else "", found["q"]
    coming = "experiment" if q == 1 else f"{q} experiments"
    return [
        (
            f"chance that something better by {text.number(found['delta'])}{unit} or more remains",
            text.percent(found["probability_better"]),
        ),
        (f"expected gain of the next {coming}", f"{text.number(found['expected_gain'])}{unit}"),
    ]


def _tiles(service: LabService, trials: list[Trial]) -> list[Tile]:
    objective, objectives = service.lab.objectives[0], service.lab.objectives
    tiles = []
    for one in objectives[:MOST_BEST]:
        champion = best(trials, one)
        if champion is not None and champion.values is not None:
            value = shown(champion.values[one.name])
            tiles.append(Tile(f"best {text.name(one)}", value, one.unit, plots.link(champion)))
    if len(objectives) > 1 and tiles:
        tiles.append(Tile("on the Pareto front", str(len(front(trials, objectives)))))
    tiles.append(Tile("measured", str(sum(t.state == "answered" for t in trials))))
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
        if t.values and t.planned is None and (span := interval(t, objective.name)) is not None
    ]
    if not spans:
        return ""
    return f"{sum(low <= value <= high for (low, high), value in spans)} of {len(spans)}"


def _figures(service: LabService, trials: list[Trial], finished: list[Trial]) -> list[Figure]:
    objectives, figures = service.lab.objectives, []
    for pair in list(combinations(objectives, 2))[:PAIRS]:
        if (drawn := pareto.pareto(trials, objectives, pair)) is not None:
            title = f"{text.name(pair[0])} against {text.name(pair[1])}"
            figures.append(Figure(f"{title[0].upper()}{title[1:]}", *drawn))
    for objective in objectives:
        better = "lower" if objective.direction == "minimise" else "higher"
        if (svg := plots.progress(finished, objective)) is not None:
            name = text.name(objective)
            figures.append(Figure(f"Progress of {name}", svg, f"The line is the best so far; {better} is better."))
        if (found := plots.predictions(finished, objective)) is not None:
            figures.append(Figure(f"Predicted and measured {text.name(objective)}", *found))
    return figures
