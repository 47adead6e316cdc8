"""Predicted against measured: predictions were recorded before the measurement, so this is what a user could trust."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import statistics, text
from matloop.orchestrator.report.content import Figure, Section, Table
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective

POINTS = 600


@dataclass(frozen=True, slots=True)
class Pairs:
    """Predictions that met their measurement, in the order of the results.

    Attributes:
        ids: trials.
        mean, std, measured: (n,) objective's unit; std is NaN where the model gave none.
        deviation: (n,) errors in standard deviations, see `Prediction.deviation`; NaN where the model gave none.
    """

    ids: list[int]
    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    measured: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]

    @property
    def z(self) -> npt.NDArray[np.float64]:
        """(k,) errors in standard deviations, of the k predictions that have one."""
        return self.deviation[np.isfinite(self.deviation)]


def pairs(study: Study, objective: Objective) -> Pairs:
    """Collect predictions and measurements of one objective.

    Where a person measured another point than the one predicted, the two have nothing to do with each other.
    """
    found = [
        (
            t.id,
            t.prediction.mean[objective.name],
            t.prediction.std.get(objective.name, np.nan),
            (value := (t.values or {})[objective.name]),
            np.nan if (z := t.prediction.deviation(objective.name, value)) is None else z,
        )
        for t in study.measured(objective)
        if objective.name not in t.censored
        and t.planned is None
        and t.prediction
        and objective.name in t.prediction.mean
    ]
    columns = np.array([row[1:] for row in found], dtype=np.float64).reshape(len(found), 4)
    return Pairs([row[0] for row in found], *columns.T)


def sections(study: Study) -> list[Section]:
    """One section for each objective that was predicted at least three times."""
    found = [(o, pairs(study, o)) for o in study.objectives]
    return [_section(study, o, p) for o, p in found if len(p.ids) >= 3]


def _section(study: Study, objective: Objective, data: Pairs) -> Section:
    error = np.abs(data.measured - data.mean)
    title = f"{study.name}: {text.name(objective)} predicted and measured"
    svg = fig.draw(title, lambda axes: _scatter(axes, data, objective), height=400)
    caption = (
        f"{text.plural(len(data.ids), 'prediction')}, each recorded before its measurement; on the line it was right. "
        f"Mean absolute error {text.number(float(error.mean()))}"
        + (f" {objective.unit}" if objective.unit else "")
        + ("; bars are ± one predicted standard deviation." if len(data.z) else ".")
    )
    heading = "Predicted against measured" + (f": {text.name(objective)}" if len(study.objectives) > 1 else "")
    if len(data.z) < 3:
        return Section(heading, (Figure(svg, caption),))
    curve = fig.draw(f"{title}, coverage", lambda axes: _coverage(axes, data.z), height=400)
    area = statistics.miscalibration_area(data.z)
    return Section(
        heading,
        (Figure(svg, caption), Figure(curve, _verdict(data.z, area)), _history(data, objective, title), _table(data.z)),
    )


def _history(data: Pairs, objective: Objective, title: str) -> Figure:
    svg = fig.draw(f"{title}, errors over time", lambda axes: _errors(axes, data, objective), height=260)
    window = _window(len(data.ids))
    caption = (
        f"Errors in the order of the results; the blue line is their mean over the last {window}, the orange line the "
        "error that the predictions gave themselves (mean of √(2/π) standard deviations). An honest model’s lines meet."
    )
    return Figure(svg, caption)


def _window(n: int) -> int:
    return max(3, min(50, n // 5))


def trailing_mean(values: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """(n,) mean of each value and up to `window` - 1 before it."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    begin = np.maximum(0, end - window)
    return np.asarray((total[end] - total[begin]) / (end - begin), dtype=np.float64)


def _errors(axes: Axes, data: Pairs, objective: Objective) -> None:
    error, order = np.abs(data.measured - data.mean), np.arange(1, len(data.ids) + 1)
    shown, window = statistics.thin(error, POINTS), _window(len(error))
    tips = [f"trial {data.ids[i]}: error {text.number(float(error[i]))}" for i in shown]
    fig.dots(axes, order[shown], error[shown], tips, color=fig.SKY, s=14, linewidths=0)
    known, line = np.isfinite(data.std), statistics.even(len(error), POINTS)
    if known.any():
        promised = np.where(known, data.std, data.std[known].mean()) * np.sqrt(2 / np.pi)
        axes.plot(order[line], trailing_mean(promised, window)[line], color=fig.ORANGE, label="promised")
    axes.plot(order[line], trailing_mean(error, window)[line], color=fig.BLUE, label="made")
    axes.set_ylim(0, 1.06 * statistics.robust_limits(error)[1] or 1.0)
    axes.set_xlabel("predictions, in the order of the results")
    axes.set_ylabel(f"absolute error{f' ({objective.unit})' if objective.unit else ''}")
    fig.legend(axes)


def _verdict(z: npt.NDArray[np.float64], area: float) -> str:
    low, high = statistics.wilson(int(np.sum(statistics.levels(z) <= 0.9)), len(z))
    share = float(np.mean(statistics.levels(z) <= 0.9))
    if low <= 0.9 <= high:
        judged = "which agrees with the promise"
    else:
        judged = "too few: the model was too sure" if share < 0.9 else "too many: the model was too cautious"
    return (
        f"Share of measurements that fell within the interval that promised to hold them; the grey band is what chance "
        f"allows. The 90\u202f% intervals held {text.percent(share)}, {judged}. Miscalibration area {area:.3f} "
        "(0 is perfect)."
    )


def _table(z: npt.NDArray[np.float64]) -> Table:
    inside = statistics.levels(z)
    rows = []
    for level in statistics.LEVELS:
        hits = int(np.sum(inside <= level))
        low, high = statistics.wilson(hits, len(z))
        rows.append(
            (
                text.percent(level),
                f"{hits:,} of {len(z):,}",
                text.percent(hits / len(z), decimals=1),
                f"{text.percent(low)} to {text.percent(high)}",
            )
        )
    return Table(
        ("promised", "held", "share", "95\u202f% interval"),
        rows,
        "rrrr",
        "Coverage of the intervals (Wilson interval).",
    )


def _scatter(axes: Axes, data: Pairs, objective: Objective) -> None:
    shown = np.union1d(
        statistics.thin(data.measured - data.mean, POINTS // 2), statistics.thin(data.measured, POINTS // 2)
    )
    mean, std, measured = data.mean[shown], data.std[shown], data.measured[shown]
    low, high = float(min(mean.min(), measured.min())), float(max(mean.max(), measured.max()))
    pad = 0.06 * (high - low or abs(high) or 1.0)
    limits = (low - pad, high + pad)
    axes.plot(limits, limits, color=fig.MUTED, linewidth=1.2, zorder=2)
    known = np.isfinite(std)
    axes.vlines(
        measured[known], (mean - std)[known], (mean + std)[known], color=fig.SKY, linewidth=1.1, alpha=0.75, zorder=3
    )
    tips = [
        f"trial {data.ids[i]}: predicted {text.spread(data.mean[i], data.std[i])}, "
        f"measured {text.number(float(data.measured[i]))}"
        for i in shown
    ]
    fig.dots(axes, measured, mean, tips, color=fig.BLUE, s=20 if len(shown) < 300 else 9, linewidths=0, zorder=4)
    axes.set_xlim(*limits)
    axes.set_ylim(*limits)
    axes.set_aspect("equal", adjustable="box")
    axes.grid(axis="x")
    fig.ticks(axes.xaxis, logarithmic=False)
    fig.ticks(axes.yaxis, logarithmic=False)
    axes.set_xlabel(f"measured {text.axis(objective)}")
    axes.set_ylabel(f"predicted {text.axis(objective)}")


def _coverage(axes: Axes, z: npt.NDArray[np.float64]) -> None:
    promised = np.linspace(0, 1, 101)
    inside = np.sort(statistics.levels(z))
    held = np.searchsorted(inside, promised, side="right") / len(z)
    scatter = 1.96 * np.sqrt(promised * (1 - promised) / len(z))
    low, high = np.clip(promised - scatter, 0, 1), np.clip(promised + scatter, 0, 1)
    axes.fill_between(promised, low, high, color=fig.MUTED, alpha=0.15, linewidth=0, label="chance, 95 %")
    axes.plot([0, 1], [0, 1], color=fig.MUTED, linewidth=1.2)
    axes.step(promised, held, where="post", color=fig.BLUE, label="held")
    marks = np.array(statistics.LEVELS)
    axes.plot(marks, np.searchsorted(inside, marks, side="right") / len(z), "o", color=fig.BLUE, markersize=6)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)
    axes.set_aspect("equal", adjustable="box")
    axes.grid(axis="x")
    axes.set_xlabel("promised by the prediction")
    axes.set_ylabel("share of measurements held")
    fig.legend(axes)
