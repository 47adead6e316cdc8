"""Drawings of a lab's record for notebooks, as matplotlib figures in the style of the report."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from matloop.orchestrator.composition.source import suggest
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.lab.tables import Layout
from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import text
from matloop.orchestrator.report.fronts import Pair
from matloop.orchestrator.report.interval import interval
from matloop.orchestrator.report.response import Slice
from matloop.orchestrator.report.sections import pareto as trade
from matloop.orchestrator.report.sections import slices
from matloop.orchestrator.trial import Objective, Trial, complete

SIZE = (7.0, 4.2)
"""Of a figure, inches."""


class Drawing(Figure):
    """A figure that a notebook shows by itself: made without pyplot, it needs no backend and is never kept open."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png", dpi=110)
        return out.getvalue()


def chosen(objectives: Sequence[Objective], name: str | None) -> Objective:
    """The objective of that name; the first if none is given.

    Raises:
        MatloopError: there is none of that name.
    """
    found = {objective.name: objective for objective in objectives}
    if name is None:
        return objectives[0]
    if name not in found:
        raise MatloopError(f"there is no objective {name!r}; {suggest(name, found)}")
    return found[name]


def progress(trials: Sequence[Trial], objective: Objective) -> Figure:
    """Every measured value in order of the results, the best so far, and failures along the bottom."""
    finished = sorted((t for t in trials if t.finished_at is not None), key=lambda t: t.finished_at or 0.0)
    finished = [t for t in finished if t.state != "cancelled"]

    def paint(axes: Axes) -> None:
        order = np.arange(1, len(finished) + 1)
        values = np.array([_value(t, objective) for t in finished], dtype=np.float64)
        noise = np.array([t.noise.get(objective.name, 0.0) for t in finished])
        good = np.isfinite(values)
        if good.any():
            axes.errorbar(order[good], values[good], noise[good], fmt="o", color=fig.SKY, ms=5, label="measured")
            losses = np.where(good, [objective.loss(v) for v in values], np.inf)
            leading = np.minimum.accumulate(losses)
            known = np.isfinite(leading)
            axes.step(
                order[known],
                [objective.loss(v) for v in leading[known]],
                where="post",
                color=fig.BLUE,
                label="best so far",
            )
        _failures(axes, order[~good])
        axes.set_xlabel("experiments, in the order of the results")
        axes.set_ylabel(text.axis(objective))
        _legend(axes)

    return _draw(paint)


def predictions(trials: Sequence[Trial], objective: Objective) -> Figure:
    """Measured values against what had been predicted, with 90 % intervals.

    Trials of which somebody deviated are left out: their prediction was for another point.
    """
    pairs = [
        (_value(t, objective), t.prediction.mean[objective.name], interval(t, objective.name))
        for t in trials
        if t.values and t.prediction and t.planned is None and objective.name in t.prediction.mean
    ]

    def paint(axes: Axes) -> None:
        if not pairs:
            axes.text(0.5, 0.5, "no prediction has met its measurement yet", ha="center", transform=axes.transAxes)
            return
        measured, mean = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
        low, high = min(measured.min(), mean.min()), max(measured.max(), mean.max())
        pad = 0.06 * ((high - low) or abs(high) or 1.0)
        axes.plot((low - pad, high + pad), (low - pad, high + pad), color=fig.MUTED, linewidth=1.2)
        for value, _, bounds in pairs:
            if bounds is not None:
                axes.vlines(value, *bounds, color=fig.SKY, linewidth=1.4)
        axes.plot(measured, mean, "o", color=fig.BLUE, ms=5)
        held = [bounds[0] <= value <= bounds[1] for value, _, bounds in pairs if bounds is not None]
        if held:
            axes.set_title(f"{sum(held)} of {len(held)} measurements within their 90 % interval", loc="left")
        axes.set_xlabel(f"measured {text.axis(objective)}")
        axes.set_ylabel(f"predicted {text.axis(objective)}")

    return _draw(paint)


def pareto(trials: Sequence[Trial], objectives: Sequence[Objective], pair: Pair) -> Figure:
    """Two objectives against each other: what was measured, the front, and what is expected of pending ones.

    Raises:
        MatloopError: it is twice the same objective.
    """
    if pair[0] == pair[1]:
        raise MatloopError(f"expected two different objectives, got {pair[0].name!r} twice; name another one")

    def paint(axes: Axes) -> None:
        if any(complete(t, pair) for t in trials):
            trade.paint_pair(axes, trials, objectives, pair)
        else:
            axes.text(0.5, 0.5, "nothing has been measured yet", ha="center", transform=axes.transAxes)

    return _draw(paint)


def parameter(trials: Sequence[Trial], layout: Layout, name: str, objective: Objective) -> Figure:
    """Measured values against one input, failures along the bottom, pending ones as lines.

    Raises:
        MatloopError: there is no input of that name.
    """
    known = [field.name for field in layout.fields]
    if name not in known:
        raise MatloopError(f"there is no input {name!r}; {suggest(name, known)}")
    field = layout.fields[known.index(name)]
    shown = [t for t in trials if name in t.point and t.state != "cancelled"]

    def place(trial: Trial) -> float:
        value = trial.point[name]
        return float(field.choices.index(value) if field.choices else value)

    def paint(axes: Axes) -> None:
        answered = [t for t in shown if t.values and objective.name in t.values]
        x, y = [place(t) for t in answered], [_value(t, objective) for t in answered]
        noise = [t.noise.get(objective.name, 0.0) for t in answered]
        axes.errorbar(x, y, noise, fmt="o", color=fig.BLUE, ms=5, label="measured")
        _failures(axes, [place(t) for t in shown if t.failure])
        for i, trial in enumerate(t for t in shown if t.state == "running"):
            label = "waiting for results" if i == 0 else None
            axes.axvline(place(trial), color=fig.MUTED, linewidth=1, linestyle=":", label=label)
        if field.choices:
            axes.set_xticks(range(len(field.choices)), [str(choice) for choice in field.choices])
        axes.set_xlabel(layout.title(name))
        axes.set_ylabel(text.axis(objective))
        _legend(axes)

    return _draw(paint)


def slice_(cut: Slice, objective: Objective) -> Figure:
    """What the model expects along the inputs of a slice."""
    return _draw(lambda axes: slices.paint(axes, cut, objective))


def _draw(paint: Callable[[Axes], None]) -> Figure:
    with style.context(["default", fig.STYLE]):
        figure = Drawing(figsize=SIZE, layout="constrained")
        paint(figure.subplots())
    return figure


def _value(trial: Trial, objective: Objective) -> float:
    return (trial.values or {}).get(objective.name, np.nan)


def _failures(axes: Axes, places: Any) -> None:
    if len(places):
        axes.plot(
            places,
            np.full(len(places), 0.02),
            "x",
            color=fig.VERMILION,
            transform=axes.get_xaxis_transform(),
            label="failed",
            clip_on=False,
        )


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[1]:
        fig.legend(axes, columns=4)
