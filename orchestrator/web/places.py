"""Where the best is, in the words of the bench."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matloop.orchestrator.lab.best import CERTAIN, Best
from matloop.orchestrator.report import text
from matloop.orchestrator.report.forecast import Forecast
from matloop.orchestrator.trial import Objective, Point, Trial, goals
from matloop.orchestrator.web import plots


@dataclass(frozen=True, slots=True)
class Place:
    """One of the places where the best is, for the bench."""

    label: str
    value: str
    detail: str
    link: str = ""


def places(best: Best | None, units: Callable[[Point], str]) -> list[Place]:
    """Where the best is, in the words of the bench; `units` makes a line of a point."""
    if best is None or not best.measured:
        return []
    several = len(goals(best.objectives)) > 1 and not best.target
    found = []
    if not several:
        trial = best.measured[0]
        label = "nearest to the target" if best.target else "best measured"
        found.append(Place(label, _values(best, trial), units(trial.point), plots.link(trial)))
        if best.likely and best.likely[0][0].id != trial.id:
            likely, one = best.likely[0]
            found.append(
                Place("best of these by the model", _expected(best, one), units(likely.point), plots.link(likely))
            )
    for one in best.expected[: 3 if several else 1]:
        found.append(Place("the model expects", _expected(best, one), units(one.point) + _caution(one)))
    return found


def _values(best: Best, trial: Trial) -> str:
    return ", ".join(
        text.value(o, (trial.values or {})[o.name]) for o in best.objectives if o.name in (trial.values or {})
    )


def _expected(best: Best, one: Forecast) -> str:
    return ", ".join(spread(one, o) for o in best.objectives)


def _caution(one: Forecast) -> str:
    return (
        f" (works with a probability of {text.percent(one.works)})"
        if one.works is not None and one.works < CERTAIN
        else ""
    )


def spread(one: Forecast, objective: Objective) -> str:
    """Expected value with its interval."""
    span = one.interval.get(objective.name)
    within = f" ({text.number(span[0])} to {text.number(span[1])})" if span else ""
    return f"{text.value(objective, one.mean[objective.name])}{within}"
