"""Several objectives at once: the front of trials that no other beats in all of them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from matplotlib.axes import Axes

from orchestrator.report import figure as fig
from orchestrator.report import statistics, text
from orchestrator.report.content import Figure, Section, Table
from orchestrator.report.study import Study
from orchestrator.trial import Objective, Trial, losses

POINTS = 1200
ROWS = 12
PANELS = 3
"""Pairs of objectives that are drawn: all of three objectives, the first ones of more."""


def front(study: Study) -> list[Trial]:
    """Non-dominated answered trials, best in the first objective first."""
    answered = study.answered
    return [answered[i] for i in statistics.front(losses(answered, study.objectives))]


def section(study: Study) -> Section | None:
    """Figure and table; None unless the study has several objectives and answers."""
    if len(study.objectives) < 2 or not study.answered:
        return None
    members = front(study)
    pairs = list(combinations(study.objectives, 2))[:PANELS]

    def paint(*panels: Axes) -> None:
        for axes, (first, second) in zip(panels, pairs, strict=True):
            _paint(axes, study, members, first, second)

    wide = len(pairs) > 1
    size = {"width": fig.WIDE, "height": 340} if wide else {"height": 330}
    svg = fig.draw(f"{study.name}: Pareto front", paint, panels=len(pairs), **size)
    chosen = [members[i] for i in statistics.even(len(members), ROWS)]
    rows = [(str(t.id), *(text.value(o, (t.values or {})[o.name]) for o in study.objectives)) for t in chosen]
    shown = "The front" if len(chosen) == len(members) else f"{len(chosen)} of the front's {len(members)} trials"
    table = Table(
        ("trial", *map(text.name, study.objectives)),
        rows,
        "r" * (1 + len(study.objectives)),
        f"{shown}, best {text.name(study.objectives[0])} first.",
    )
    return Section("What trades against what", (Figure(svg, _caption(study, members), wide=wide), table))


def _caption(study: Study, members: list[Trial]) -> str:
    n, named = len(members), [f"{text.name(o)} ({_wish(o)})" for o in study.objectives]
    if len(named) == 2:
        return (
            f"Each point is a trial; the line joins the {text.plural(n, 'trial')} that no other beats in both "
            f"{named[0]} and {named[1]}."
        )
    return (
        f"Each point is a trial; the {n:,} blue ones are those that no other beats in all of "
        f"{', '.join(named[:-1])} and {named[-1]} at once. A panel shows two of these, so that a blue point may look "
        "beaten where it is ahead in another."
    )


def _wish(objective: Objective) -> str:
    return "lower is better" if objective.direction == "minimise" else "higher is better"


def _paint(axes: Axes, study: Study, members: list[Trial], first: Objective, second: Objective) -> None:
    answered, x, y = study.answered, study.values(first), study.values(second)
    shown = np.union1d(statistics.thin(x, POINTS // 2), statistics.thin(y, POINTS // 2))
    tips = [
        f"trial {answered[i].id}: {text.value(first, float(x[i]))}, {text.value(second, float(y[i]))}" for i in shown
    ]
    fig.dots(axes, x[shown], y[shown], tips, color=fig.SKY, s=18, linewidths=0, label="measured", zorder=3)
    fx = [(t.values or {})[first.name] for t in members]
    fy = [(t.values or {})[second.name] for t in members]
    if len(study.objectives) == 2:
        axes.step(fx, fy, where="post", color=fig.BLUE, linewidth=1.4, zorder=4)
    axes.plot(fx, fy, "o", color=fig.BLUE, markersize=5.5, label="front", zorder=5)
    axes.grid(axis="x")
    for values, axis, scale in ((x, axes.xaxis, axes.set_xscale), (y, axes.yaxis, axes.set_yscale)):
        logarithmic = bool(values.min() > 0 and values.max() / values.min() > 50)
        if logarithmic:
            scale("log")
        fig.ticks(axis, logarithmic=logarithmic)
    axes.set_xlabel(text.axis(first))
    axes.set_ylabel(text.axis(second))
    fig.legend(axes)
