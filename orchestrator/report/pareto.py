"""Two objectives at once: the front of trials that no other beats in both."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from orchestrator.report import figure as fig
from orchestrator.report import statistics, text
from orchestrator.report.content import Figure, Section, Table
from orchestrator.report.study import Study
from orchestrator.trial import Objective, Trial, losses

POINTS = 1200
ROWS = 12


def front(study: Study) -> list[Trial]:
    """Non-dominated answered trials of a study with two objectives, best in the first objective first."""
    answered = study.answered
    return [answered[i] for i in statistics.front(losses(answered, study.objectives))]


def section(study: Study) -> Section | None:
    """Figure and table; None unless the study has two objectives and answers."""
    if len(study.objectives) != 2 or not study.answered:
        return None
    members = front(study)
    first, second = study.objectives
    svg = fig.draw(f"{study.name}: Pareto front", lambda axes: _paint(axes, study, members, first, second), height=330)
    caption = (
        f"Each point is a trial; the line joins the {text.plural(len(members), 'trial')} that no other beats in both "
        f"{text.name(first)} ({_wish(first)}) and {text.name(second)} ({_wish(second)})."
    )
    chosen = [members[i] for i in statistics.even(len(members), ROWS)]
    rows = [
        (str(t.id), text.value(first, (t.values or {})[first.name]), text.value(second, (t.values or {})[second.name]))
        for t in chosen
    ]
    shown = "The front" if len(chosen) == len(members) else f"{len(chosen)} of the front's {len(members)} trials"
    table = Table(
        ("trial", text.name(first), text.name(second)), rows, "rrr", f"{shown}, best {text.name(first)} first."
    )
    return Section("What trades against what", (Figure(svg, caption), table))


def _wish(objective: Objective) -> str:
    return "lower is better" if objective.direction == "minimise" else "higher is better"


def _paint(axes: Axes, study: Study, members: list[Trial], first: Objective, second: Objective) -> None:
    x, y = study.values(first), study.values(second)
    shown = np.union1d(statistics.thin(x, POINTS // 2), statistics.thin(y, POINTS // 2))
    tips = [
        f"trial {study.answered[i].id}: {text.value(first, float(x[i]))}, {text.value(second, float(y[i]))}"
        for i in shown
    ]
    fig.dots(axes, x[shown], y[shown], tips, color=fig.SKY, s=18, linewidths=0, label="measured", zorder=3)
    fx = [(t.values or {})[first.name] for t in members]
    fy = [(t.values or {})[second.name] for t in members]
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
