"""What the page draws: progress, predictions against measurements, and one prediction among what is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from matloop.orchestrator.report import statistics, text
from matloop.orchestrator.report.interval import interval
from matloop.orchestrator.trial import Objective, Trial, keeps_limits, only_worse
from matloop.orchestrator.web.svg import Canvas, Scale, axes, padded

WIDTH, HEIGHT = 440, 270
POINTS = 400


def progress(finished: Sequence[Trial], objective: Objective, objectives: Sequence[Objective] = ()) -> Markup | None:
    """Every result as it came and the best so far; None without results.

    Args:
        finished: answered and failed trials, in the order in which they were told.
        objective: whose values are drawn.
        objectives: whose limits the best has to keep.
    """
    places = [(i, t) for i, t in enumerate(finished, 1) if t.values and objective.name in t.values]
    if not places:
        return None
    values = np.array([(t.values or {})[objective.name] for _, t in places])
    counts = [bool(keeps_limits(t, objectives)) and not only_worse(t, objective) for _, t in places]
    ranked = np.where(counts, objective.loss(1.0) * values, np.inf)
    best = objective.loss(1.0) * np.minimum.accumulate(ranked)
    canvas = Canvas(WIDTH, HEIGHT, f"{text.name(objective)} of every result, and the best so far", "progress")
    low, high = statistics.robust_limits(values)
    last = [float(best[-1])] if any(counts) else []
    y = padded(min([low, *last]), max([high, *last]), HEIGHT - 42, 26)
    x = Scale(0.5, max(len(finished), 8) + 0.5, 48, WIDTH - 10)
    axes(canvas, x, y, labels=("experiments in the order of their results", text.axis(objective)), whole=True)
    for i in statistics.thin(values, POINTS):
        place, trial = places[i]
        tip = f"experiment {trial.id}: {text.measured(objective, trial)}"
        canvas.dot(x(place), y(float(values[i])), 4.5, "dot", tip=tip, link=link(trial))
    failed = [(i, t) for i, t in enumerate(finished, 1) if t.failure is not None]
    for i in statistics.even(len(failed), POINTS):
        place, trial = failed[i]
        canvas.cross(x(place), y.start - 7, 4, "cross", tip=f"experiment {trial.id} failed", link=link(trial))
    found = [(place, float(value)) for (place, _), value in zip(places, best, strict=True) if np.isfinite(value)]
    if found:
        steps: list[tuple[float, float]] = [(x(found[0][0]), y(found[0][1]))]
        for place, value in found[1:]:
            if y(value) != steps[-1][1]:
                steps += [(x(place), steps[-1][1]), (x(place), y(value))]
        canvas.path([*steps, (x(len(finished)), steps[-1][1])], "best")
    return canvas.markup()


def predictions(finished: Sequence[Trial], objective: Objective) -> tuple[Markup, str] | None:
    """Measured against predicted, with a sentence on how many intervals held; None for fewer than three.

    Only trials that were done as planned count, because what was predicted was the plan.
    """
    rows = [
        (
            t,
            t.prediction.mean[objective.name],
            t.prediction.std.get(objective.name, np.nan),
            t.values[objective.name],
            *(t.prediction.bounds(objective.name) or (np.nan, np.nan)),
        )
        for t in finished
        if t.values
        and t.planned is None
        and t.prediction
        and objective.name in t.prediction.mean
        and objective.name in t.values
        and objective.name not in t.censored
    ]
    if len(rows) < 3:
        return None
    columns = list(zip(*rows, strict=True))[1:]
    mean, std, measured, lowest, highest = (np.array(column, dtype=np.float64) for column in columns)
    known = np.isfinite(lowest) & (highest > lowest)
    low, high = (float(f(np.concatenate([mean, measured]))) for f in (np.min, np.max))
    lowest, highest = np.where(known, lowest, mean), np.where(known, highest, mean)
    least, most = (
        max(float(lowest.min()), 1.5 * low - 0.5 * high),
        min(float(highest.max()), 1.5 * high - 0.5 * low),
    )
    canvas = Canvas(WIDTH, HEIGHT, f"{text.name(objective)} predicted and measured", "predictions")
    x, y = padded(low, high, 48, WIDTH - 10), padded(min(low, least), max(high, most), HEIGHT - 42, 26, 0.03)
    axes(canvas, x, y, labels=(f"measured {text.axis(objective)}", f"predicted {text.axis(objective)}"))
    canvas.line(x(low), y(low), x(high), y(high), "diagonal")
    for i in np.union1d(
        statistics.thin(measured - mean, POINTS // 2), statistics.even(len(rows), POINTS // 2)
    ).tolist():
        if known[i]:
            canvas.line(x(measured[i]), y(lowest[i]), x(measured[i]), y(highest[i]), "interval")
        tip = (
            f"experiment {rows[i][0].id}: predicted {text.spread(mean[i], std[i])}, measured {text.number(measured[i])}"
        )
        canvas.dot(x(measured[i]), y(mean[i]), 4.5, "dot", tip=tip, link=link(rows[i][0]))
    return canvas.markup(), _verdict(np.abs(measured - mean), ((lowest <= measured) & (measured <= highest))[known])


def _verdict(errors: statistics.Array, inside: np.typing.NDArray[np.bool_]) -> str:
    """From the error of each prediction, and of those with an interval whether it held."""
    sentence = (
        f"{text.plural(len(errors), 'prediction')}, each made before its measurement; "
        f"mean error {text.number(float(errors.mean()))}."
    )
    n, held = len(inside), int(inside.sum())
    if n < 5:
        return sentence
    low, high = statistics.wilson(held, n)
    if low <= 0.9 <= high:
        judged = "as promised, as far as so few can tell" if n < 50 else "as promised"
    else:
        judged = "too few: the model is too sure of itself" if held / n < 0.9 else "more than promised"
    return f"{sentence} {held} of {n} of the 90 % intervals held: {judged}."


def strip(trial: Trial, objective: Objective, known: Sequence[float]) -> Markup | None:
    """One prediction as a bar over the values measured so far; None if nothing was predicted.

    Args:
        trial: whose prediction it is.
        objective: of which.
        known: measured values.
    """
    span = interval(trial, objective.name)
    if trial.prediction is None or objective.name not in trial.prediction.mean or span is None:
        return None
    mean = trial.prediction.mean[objective.name]
    low, high = statistics.robust_limits(np.array(known)) if len(known) else span
    canvas = Canvas(WIDTH, 46, f"predicted {text.number(span[0])} to {text.number(span[1])}", "strip")
    x = padded(min(low, span[0]), max(high, span[1]), 8, WIDTH - 8, 0.03)
    canvas.line(x.start, 22, x.end, 22, "axis")
    for value in known if len(known) <= POINTS else np.quantile(known, np.linspace(0, 1, POINTS)):
        canvas.line(x(value), 17, x(value), 27, "known")
    canvas.rectangle(x(span[0]), 16, x(span[1]) - x(span[0]), 12, "interval")
    canvas.dot(x(mean), 22, 5.5, "dot", tip=f"expected {text.value(objective, mean)}")
    if trial.values is not None and objective.name in trial.values:
        mark, word = trial.values[objective.name], "measured"
        canvas.dot(x(mark), 22, 5.5, "measured", tip=f"measured {text.measured(objective, trial)}")
    elif known:
        mark, word = min(known, key=objective.loss), "best"
        canvas.line(x(mark), 11, x(mark), 33, "champion")
    else:
        return canvas.markup()
    canvas.text(min(max(x(mark), 60), WIDTH - 60), 45, f"{word} {text.number(mark)}", "tick", "middle")
    return canvas.markup()


def link(trial: Trial) -> str:
    """Address of an experiment's page."""
    return f"/experiments/{trial.id}"
