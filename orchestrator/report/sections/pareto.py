"""Several objectives at once: the front of trials that no other beats in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import statistics, structures, text
from matloop.orchestrator.report.content import Figure, Gallery, Section, Table
from matloop.orchestrator.report.fronts import Pair, expected, front
from matloop.orchestrator.report.interval import interval
from matloop.orchestrator.report.sections import images
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective, Trial, comparable, complete, goals, limited

POINTS = 1200
ROWS = 12
PICTURES = 8
PANELS = 3
"""Pairs of objectives that are drawn: all of three objectives, the first ones of more."""


def section(study: Study, store: ArtifactStore) -> Section | None:
    """Figure, table and the structures along the front; None unless the study has several objectives and answers."""
    sought = goals(study.objectives)
    pairs = list(combinations(sought, 2))[:PANELS]
    if not pairs or not all(any(complete(t, pair) for t in study.answered) for pair in pairs):
        return None
    members = front(study.finished, study.objectives)

    def paint(*panels: Axes) -> None:
        for axes, pair in zip(panels, pairs, strict=True):
            paint_pair(axes, [*study.finished, *study.running], study.objectives, pair)

    wide = len(pairs) > 1
    size = {"width": fig.WIDE, "height": 340} if wide else {"height": 330}
    svg = fig.draw(f"{study.name}: Pareto front", paint, panels=len(pairs), **size)
    chosen = [members[i] for i in statistics.even(len(members), ROWS)]
    rows = [(str(t.id), *(text.measured(o, t) for o in study.objectives)) for t in chosen]
    shown = "The front" if len(chosen) == len(members) else f"{len(chosen)} of the front's {len(members)} trials"
    table = Table(
        ("trial", *map(text.name, study.objectives)),
        rows,
        "r" * (1 + len(study.objectives)),
        f"{shown}, best {text.name(study.objectives[0])} first.",
    )
    strip = _strip(study, members, store)
    return Section("What trades against what", (Figure(svg, _caption(study, members), wide=wide), table, *strip))


def _strip(study: Study, members: list[Trial], store: ArtifactStore) -> list[Gallery]:
    """Structures along the front, from its one end to the other; nothing where trials left none."""
    pictured = [t for t in members if structures.kind_of(t)]
    chosen = [pictured[i] for i in statistics.even(len(pictured), PICTURES)]
    sought = goals(study.objectives)
    shown = images.pictures(chosen, sought, store)
    if not shown:
        return []
    which = "The structures" if len(chosen) == len(members) else f"{len(chosen)} of the structures"
    words = f"{which} on the front, from the best {text.name(sought[0])} to the best {text.name(sought[-1])}."
    return [Gallery("Along the front", shown, f"{words} Each image shows 2 × 2 periods.", wide=True)]


def _caption(study: Study, members: list[Trial]) -> str:
    sought = goals(study.objectives)
    waiting = len(expected(study.running, (sought[0], sought[1])))
    under_way = f" Rings: what is expected of {waiting} under way, with 90\u202f% intervals." if waiting else ""
    n, named = len(members), [f"{text.name(o)} ({_wish(o)})" for o in sought]
    under_way += "".join(f" On the front {text.name(o)} is {o.limits}." for o in limited(study.objectives))
    partial = sum(not complete(t, study.objectives) for t in study.answered)
    under_way += f" Of {text.plural(partial, 'trial')} some values are still to come." if partial else ""
    if not members:
        return f"Each point is a trial; none has kept all limits yet, so there is no front.{under_way}"
    if len(named) == 2:
        return (
            f"Each point is a trial; the line joins the {text.plural(n, 'trial')} that no other beats in both "
            f"{named[0]} and {named[1]}.{under_way}"
        )
    return (
        f"Each point is a trial; the {n:,} blue ones are those that no other beats in all of "
        f"{', '.join(named[:-1])} and {named[-1]} at once. A panel shows two of these, so that a blue point may look "
        f"beaten where it is ahead in another.{under_way}"
    )


def _wish(objective: Objective) -> str:
    return "lower is better" if objective.direction == "minimise" else "higher is better"


def paint_pair(axes: Axes, trials: Sequence[Trial], objectives: Sequence[Objective], pair: Pair) -> None:
    """Two objectives against each other: measured trials, the front, and what is expected of those under way.

    Args:
        axes: to paint on.
        trials: with at least one among them that has values of both.
        objectives: all of them, by which the front is chosen.
        pair: horizontal and vertical.
    """
    answered = [t for t in comparable(trials) if complete(t, pair)]
    members, waiting = front(trials, objectives), expected(trials, pair)
    x, y = (np.array([(t.values or {})[o.name] for t in answered]) for o in pair)
    shown = np.union1d(statistics.thin(x, POINTS // 2), statistics.thin(y, POINTS // 2))
    tips = [
        f"trial {answered[i].id}: {text.measured(pair[0], answered[i])}, {text.measured(pair[1], answered[i])}"
        for i in shown
    ]
    fig.dots(axes, x[shown], y[shown], tips, color=fig.SKY, s=18, linewidths=0, label="measured", zorder=3)
    fx, fy = ([(t.values or {})[o.name] for t in members] for o in pair)
    if len(goals(objectives)) == 2 and members:
        axes.step(fx, fy, where="post", color=fig.BLUE, linewidth=1.4, zorder=4)
    axes.plot(fx, fy, "o", color=fig.BLUE, markersize=5.5, label="front", zorder=5)
    axes.grid(axis="x")
    for values, axis, scale in ((x, axes.xaxis, axes.set_xscale), (y, axes.yaxis, axes.set_yscale)):
        logarithmic = not waiting and bool(values.min() > 0 and values.max() / values.min() > 50)
        if logarithmic:
            scale("log")
        fig.ticks(axis, logarithmic=logarithmic)
    _paint_expected(axes, waiting, pair)
    axes.set_xlabel(text.axis(pair[0]))
    axes.set_ylabel(text.axis(pair[1]))
    fig.legend(axes)


def _paint_expected(axes: Axes, waiting: Sequence[tuple[Trial, tuple[float, float]]], pair: Pair) -> None:
    """Rings at the predictions with bars for their 90 % intervals."""
    for i, (trial, centre) in enumerate(waiting):
        spans = [interval(trial, o.name) or (mean, mean) for o, mean in zip(pair, centre, strict=True)]
        bars = [
            [[max(0.0, mean - low)], [max(0.0, high - mean)]] for mean, (low, high) in zip(centre, spans, strict=True)
        ]
        axes.errorbar(
            *centre,
            xerr=bars[0],
            yerr=bars[1],
            fmt="o",
            color=fig.ORANGE,
            markerfacecolor=fig.PAPER,
            markersize=5.5,
            elinewidth=1.2,
            label="expected" if i == 0 else None,
            zorder=6,
        )
