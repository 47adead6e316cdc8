"""Where the best came from: its ancestors, what was done to them, and what each step gained."""

from __future__ import annotations

import heapq

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import glyph, text
from matloop.orchestrator.report.content import Figure, Section, Table
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective, Trial

ANCESTORS = 80
ROWS = 12
MARKERS = {
    "random": ("o", fig.MUTED),
    "recipe": ("P", fig.BLUE),
    "mutation": ("^", fig.ORANGE),
    "crossover": ("D", fig.GREEN),
    "promotion": ("v", fig.SKY),
    "other": ("s", fig.PURPLE),
}


def ancestors(history: History, trial: Trial, limit: int = ANCESTORS) -> list[Trial]:
    """The trial and its youngest ancestors, oldest first."""
    seen, queue = {trial.id}, [-trial.id]
    found: list[Trial] = []
    while queue and len(found) < limit:
        one = history.trials[-heapq.heappop(queue)]
        found.append(one)
        for parent in one.parents:
            if parent not in seen and 0 <= parent < len(history.trials):
                seen.add(parent)
                heapq.heappush(queue, -parent)
    return sorted(found, key=lambda t: t.id)


def main_line(history: History, trial: Trial, objective: Objective) -> list[Trial]:
    """From a founder to the trial, through the better parent of each."""
    line = [trial]
    while line[-1].parents:
        parents = [history.trials[i] for i in line[-1].parents if 0 <= i < line[-1].id]
        if not parents:
            break
        line.append(min(parents, key=lambda t: _loss(t, objective)))
    return line[::-1]


def section(history: History, study: Study) -> Section | None:
    """Figure and table; None unless the best has parents or is a network."""
    best = study.best()
    if best is None or not (best.parents or glyph.is_network(best.point)):
        return None
    objective = study.objectives[0]
    line = main_line(history, best, objective)
    family = ancestors(history, best)
    blocks: list[Figure | Table] = []
    if len(line) > 1:
        svg = fig.draw(
            f"{study.name}: lineage of trial {best.id}",
            lambda axes: _paint(axes, family, line, objective),
            width=fig.WIDE,
            height=300,
        )
        blocks.append(Figure(svg, _caption(study, best, family, line, objective), wide=True))
    blocks.append(_table(study, line, objective))
    return Section(f"The best {study.noun[0]} and where it came from", tuple(blocks))


def _caption(study: Study, best: Trial, family: list[Trial], line: list[Trial], objective: Objective) -> str:
    gained = _value(line[0], objective)
    start = f"from {text.value(objective, gained)} " if gained is not None else ""
    return (
        f"Trial {best.id} (right) and {text.plural(len(family) - 1, 'ancestor')}, joined to their parents. The blue "
        f"line follows the better parent: in {text.plural(len(line) - 1, 'step')} it leads {start}"
        f"to {text.value(objective, _value(best, objective) or 0.0)}."
    )


def _table(study: Study, line: list[Trial], objective: Objective) -> Table:
    shown = line if len(line) <= ROWS else [line[0], *line[-(ROWS - 1) :]]
    rows: list[tuple[str, ...]] = []
    networks = all(glyph.is_network(trial.point) for trial in shown)
    old: list[glyph.Chip] | None = None
    for trial in shown:
        if networks:
            new = glyph.chips(trial.point)
            what, old = glyph.html(new, old), new
        else:
            what = Markup.escape(text.compact(trial.point))
        value = _value(trial, objective)
        measured = text.number(value) if value is not None else "failed"
        rows.append((str(trial.id), str(trial.extra.get("origin", "–")), measured, what))
    caption = "" if len(line) == 1 else "The blue line, step by step."
    if networks and len(line) > 1:
        caption += (
            " What a step changed or added is outlined, what it removed is struck out, and settings stand where they"
            " changed."
        )
    if len(shown) < len(line):
        left_out = len(line) - len(shown)
        caption += f" {text.plural(left_out, 'step')} after the first {'is' if left_out == 1 else 'are'} left out."
    if networks:
        caption = f"{caption} {glyph.legend(line[-1].point)}".strip()
    return Table(("trial", "origin", text.axis(objective), study.noun[0]), rows, "rlrl", caption, wide=True)


def _paint(axes: Axes, family: list[Trial], line: list[Trial], objective: Objective) -> None:
    y = {t.id: v for t in family if (v := _value(t, objective)) is not None}
    x = {t.id: t.number for t in family}
    for trial in family:
        for parent in trial.parents:
            if parent in y and trial.id in y:
                axes.plot([x[parent], x[trial.id]], [y[parent], y[trial.id]], color=fig.MUTED, linewidth=0.8, alpha=0.6)
    followed = [t.id for t in line if t.id in y]
    axes.plot([x[i] for i in followed], [y[i] for i in followed], color=fig.BLUE, linewidth=2.2, zorder=3)
    for origin, (marker, colour) in MARKERS.items():
        members = [t for t in family if _origin(t) == origin and t.id in y]
        tips = [f"trial {t.id}, {origin}: {text.value(objective, y[t.id])}" for t in members]
        style = {"marker": marker, "color": colour, "label": origin, "s": 54, "linewidths": 0.8, "zorder": 4}
        fig.dots(axes, [x[t.id] for t in members], [y[t.id] for t in members], tips, edgecolors=fig.PAPER, **style)
    values = np.array(list(y.values()))
    if values.min() > 0 and values.max() / values.min() > 10:
        axes.set_yscale("log")
        fig.ticks(axes.yaxis, logarithmic=True)
    axes.set_xlabel("trial of the study, in order of proposal")
    axes.set_ylabel(text.axis(objective))
    fig.legend(axes)


def _origin(trial: Trial) -> str:
    origin = trial.extra.get("origin", "other" if trial.parents else "random")
    return origin if origin in MARKERS else "other"


def _value(trial: Trial, objective: Objective) -> float | None:
    return None if trial.values is None else trial.values.get(objective.name)


def _loss(trial: Trial, objective: Objective) -> float:
    value = _value(trial, objective)
    return np.inf if value is None else objective.loss(value)
