"""Is it worth going on? The chance that something better remains and the gain to be expected, as recorded over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import statistics, text
from matloop.orchestrator.report.content import Figure, Section
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective

POINTS = 400
LOW = 0.05
"""A chance below which one may think of stopping; see docs/explanations.md."""


def recorded(study: Study) -> list[tuple[int, Mapping[str, Any]]]:
    """Outlooks of the first objective with the number of the trial that each was recorded with, in order."""
    if not study.objectives:
        return []
    trials = sorted([*study.finished, *study.running, *study.cancelled], key=lambda t: t.id)
    found = [(t.number + 1, t.extra.get("outlook")) for t in trials]
    name = study.objectives[0].name
    return [(n, one) for n, one in found if isinstance(one, Mapping) and one.get("objective") == name]


def section(study: Study) -> Section | None:
    """Two panels over the experiments; None before there are three outlooks."""
    found = recorded(study)
    if len(found) < 3:
        return None
    objective = study.objectives[0]
    svg = fig.draw(
        f"{study.name}: what there is still to be had",
        lambda left, right: _paint(left, right, found, objective),
        width=fig.WIDE,
        height=290,
        panels=2,
    )
    return Section("Is it worth going on?", (Figure(svg, _caption(found, objective), wide=True),))


def _paint(left: Axes, right: Axes, found: list[tuple[int, Mapping[str, Any]]], objective: Objective) -> None:
    shown = [found[i] for i in statistics.even(len(found), POINTS)]
    order = [n for n, _ in shown]
    style: dict[str, Any] = {"markersize": 4, "linewidth": 1.6, "marker": "o" if len(shown) < 80 else ""}
    left.axhspan(0, 100 * LOW, color=fig.GREEN, alpha=0.13, linewidth=0)
    left.plot(order, [100 * one["probability_better"] for _, one in shown], color=fig.BLUE, **style)
    left.set_ylim(-2, 102)
    left.set_ylabel("chance of something better (%)")
    right.plot(order, [one["expected_gain"] for _, one in shown], color=fig.ORANGE, **style)
    right.set_ylim(bottom=0)
    unit = f" ({objective.unit})" if objective.unit else ""
    right.set_ylabel(f"expected gain of the next{unit}")
    for axes in (left, right):
        axes.set_xlabel("experiments proposed")
        fig.ticks(axes.xaxis, logarithmic=False)
        fig.ticks(axes.yaxis, logarithmic=False)


def _caption(found: list[tuple[int, Mapping[str, Any]]], objective: Objective) -> str:
    last = found[-1][1]
    per_cost = last["expected_gain_per_cost"]
    words = str(last["text"])
    return (
        f"What the model said with each recommendation. At the last: {words}"
        f" (per unit of cost {text.value(objective, float(per_cost))}). "
        "In the green band the chance is below 5\u202f%. It is the model’s word, widened where its earlier predictions "
        "missed; docs/explanations.md says how often it was wrong."
    )
