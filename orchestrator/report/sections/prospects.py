"""Is it worth going on? The chance that something better remains and the gain to be expected, as recorded over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import statistics
from matloop.orchestrator.report.content import Figure, Section
from matloop.orchestrator.report.study import Study

POINTS = 400
LOW = 0.05
"""A chance below which one may think of stopping; see docs/explanations.md."""


def recorded(study: Study) -> list[tuple[int, Mapping[str, Any]]]:
    """Outlooks of what the last one is about, with the number of the trial that each was recorded with, in order."""
    trials = sorted([*study.finished, *study.running, *study.cancelled], key=lambda t: t.id)
    found = [(t.number + 1, t.extra.get("outlook")) for t in trials]
    known = [(n, one) for n, one in found if isinstance(one, Mapping) and "expected_gain" in one]
    return [(n, one) for n, one in known if _about(one) == _about(known[-1][1])]


def _about(one: Mapping[str, Any]) -> tuple[Any, bool]:
    return one.get("objective"), "uncertainty" in one


def section(study: Study) -> Section | None:
    """Two panels over the experiments; None before there are three outlooks."""
    found = recorded(study)
    if len(found) < 3:
        return None
    scale = _scale(study, found[-1][1])
    svg = fig.draw(
        f"{study.name}: what there is still to be had",
        lambda left, right: _paint(left, right, found, scale),
        width=fig.WIDE,
        height=290,
        panels=2,
    )
    return Section("Is it worth going on?", (Figure(svg, _caption(found), wide=True),))


def _scale(study: Study, last: Mapping[str, Any]) -> tuple[float, str]:
    """By what a gain is multiplied to be shown, and its unit in brackets."""
    if last["objective"] == "hypervolume":
        return 100.0, " (% of the hypervolume)"
    if last["objective"] == "target":
        return 1.0, " (points in range)"
    unit = next((o.unit for o in study.objectives if o.name == last["objective"]), "spreads")
    return 1.0, f" ({unit})" if unit else ""


def _paint(left: Axes, right: Axes, found: list[tuple[int, Mapping[str, Any]]], scale: tuple[float, str]) -> None:
    shown = [found[i] for i in statistics.even(len(found), POINTS)]
    order = [n for n, _ in shown]
    factor, unit = scale
    style: dict[str, Any] = {"markersize": 4, "linewidth": 1.6, "marker": "o" if len(shown) < 80 else ""}
    if "uncertainty" in shown[-1][1]:
        left.plot(order, [factor * one["uncertainty"] for _, one in shown], color=fig.BLUE, **style)
        left.set_ylim(bottom=0)
        left.set_ylabel(f"mean uncertainty{unit}")
    else:
        left.axhspan(0, 100 * LOW, color=fig.GREEN, alpha=0.13, linewidth=0)
        left.plot(order, [100 * one["probability_better"] for _, one in shown], color=fig.BLUE, **style)
        left.set_ylim(-2, 102)
        left.set_ylabel("chance of something better (%)")
    right.plot(order, [factor * one["expected_gain"] for _, one in shown], color=fig.ORANGE, **style)
    right.set_ylim(bottom=0)
    right.set_ylabel(f"expected gain of the next{unit}")
    for axes in (left, right):
        axes.set_xlabel("experiments proposed")
        fig.ticks(axes.xaxis, logarithmic=False)
        fig.ticks(axes.yaxis, logarithmic=False)


def _caption(found: list[tuple[int, Mapping[str, Any]]]) -> str:
    last = found[-1][1]
    words = f"What the model said with each recommendation. At the last: {last['text']}. "
    band = "" if "uncertainty" in last else "In the green band the chance is below 5\u202f%. "
    trust = "" if "uncertainty" in last else "; docs/explanations.md says how often it was wrong"
    return f"{words}{band}It is the model’s word, widened where its earlier predictions missed{trust}."
