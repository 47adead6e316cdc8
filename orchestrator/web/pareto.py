"""What trades against what: two objectives of every experiment, the front, and what is expected of those to do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from matloop.orchestrator.report import statistics, text
from matloop.orchestrator.report.fronts import Pair, expected, front
from matloop.orchestrator.report.interval import interval
from matloop.orchestrator.trial import Objective, Trial, comparable, complete, goals
from matloop.orchestrator.web.plots import HEIGHT, POINTS, WIDTH, link
from matloop.orchestrator.web.svg import Canvas, Scale, axes, padded


def pareto(trials: Sequence[Trial], objectives: Sequence[Objective], pair: Pair) -> tuple[Markup, str] | None:
    """Two of the objectives against each other, with a sentence on how to read it; None without results.

    Args:
        trials: of the study.
        objectives: all of them, by which the front is chosen.
        pair: those that are drawn: horizontal, vertical.
    """
    measured, members = [t for t in comparable(trials) if complete(t, pair)], front(trials, objectives)
    if not measured:
        return None
    waiting = expected(trials, pair)
    values = [_values(t, pair) for t in measured]
    best = [_values(t, pair) for t in members]
    centres = [centre for _, centre in waiting]
    canvas = Canvas(WIDTH, HEIGHT, f"{text.name(pair[0])} against {text.name(pair[1])}", "pareto")
    x = _scale([v[0] for v in values], [v[0] for v in [*best, *centres]], 48, WIDTH - 10)
    y = _scale([v[1] for v in values], [v[1] for v in [*best, *centres]], HEIGHT - 42, 26)
    axes(canvas, x, y, labels=(_label(pair[0]), _label(pair[1])))
    sought = goals(objectives)
    if len(sought) == 2 and best:
        canvas.path(_stairs(best, pair, x, y), "best")
    for trial, centre in waiting:
        _draw_expected(canvas, trial, pair, centre, x, y)
    shown = np.array(values)
    for i in np.union1d(statistics.thin(shown[:, 0], POINTS // 2), statistics.thin(shown[:, 1], POINTS // 2)).tolist():
        canvas.dot(x(values[i][0]), y(values[i][1]), 4, "dot", tip=_tip(measured[i], pair), link=link(measured[i]))
    for trial, value in zip(members, best, strict=True):
        canvas.dot(x(value[0]), y(value[1]), 6.5, "front", tip=_tip(trial, pair), link=link(trial))
    return canvas.markup(), _caption(len(members), len(waiting), len(sought))


def _values(trial: Trial, pair: Pair) -> tuple[float, float]:
    assert trial.values is not None
    return trial.values[pair[0].name], trial.values[pair[1].name]


def _scale(values: list[float], kept: list[float], start: float, end: float) -> Scale:
    """Shows all that is kept and whatever else is no gross outlier."""
    low, high = statistics.robust_limits(np.array(values))
    return padded(min(low, *kept), max(high, *kept), start, end)


def _stairs(best: Sequence[tuple[float, float]], pair: Pair, x: Scale, y: Scale) -> list[tuple[float, float]]:
    """Edge of what is beaten: through the front, and on to the sides where things are worse."""
    worst_x = x.end if pair[0].direction == "minimise" else x.start
    worst_y = y.end if pair[1].direction == "minimise" else y.start
    corners = [(x(best[0][0]), worst_y)]
    for value in best:
        corners += [(x(value[0]), corners[-1][1]), (x(value[0]), y(value[1]))]
    return [*corners[1:], (worst_x, corners[-1][1])]


def _draw_expected(canvas: Canvas, trial: Trial, pair: Pair, centre: tuple[float, float], x: Scale, y: Scale) -> None:
    spans = [interval(trial, o.name) for o in pair]
    if spans[0] is not None:
        canvas.line(x(spans[0][0]), y(centre[1]), x(spans[0][1]), y(centre[1]), "expected")
    if spans[1] is not None:
        canvas.line(x(centre[0]), y(spans[1][0]), x(centre[0]), y(spans[1][1]), "expected")
    words = [
        text.value(o, mean) if span is None else f"{text.value(o, mean)} ({_between(span)})"
        for o, mean, span in zip(pair, centre, spans, strict=True)
    ]
    tip = f"experiment {trial.id}, to do: expected {', '.join(words)}"
    canvas.dot(x(centre[0]), y(centre[1]), 5, "expected", tip=tip, link=link(trial))


def _between(span: tuple[float, float]) -> str:
    return f"90 %: {text.number(span[0])} to {text.number(span[1])}"


def _tip(trial: Trial, pair: Pair) -> str:
    return f"experiment {trial.id}: {', '.join(text.measured(o, trial) for o in pair)}"


def _label(objective: Objective) -> str:
    return f"{text.axis(objective)}, {'lower' if objective.direction == 'minimise' else 'higher'} is better"


def _caption(members: int, waiting: int, objectives: int) -> str:
    large = f"Large: the {text.plural(members, 'experiment')} that no other beats"
    sentence = (
        f"{large} in both; what lies beyond the line would be an advance."
        if objectives == 2
        else f"{large} in all {objectives} objectives at once, so that one may look beaten here."
    )
    if not waiting:
        return sentence
    rings = "Ring: what is expected of the one" if waiting == 1 else f"Rings: what is expected of the {waiting}"
    return f"{sentence} {rings} to do, with 90\u202f% intervals."
