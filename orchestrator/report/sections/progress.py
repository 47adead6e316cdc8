"""Best so far: every result as it came, and the best of them as a line that only ever improves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import statistics, text
from matloop.orchestrator.report.content import Figure, Section
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective, keeps_limits, limited, rankable

POINTS = 1200


@dataclass(frozen=True, slots=True)
class Progress:
    """Results of one study in the order in which they were recorded.

    Attributes:
        order: (n,) place of each answered trial among the finished ones, from 1.
        value: (n,) measured values, objective's unit.
        best: (n,) best value up to and including each, within all limits; NaN while there is none.
        failed: (f,) places of the failed ones.
        tips: one line about each answered trial.
    """

    order: npt.NDArray[np.int_]
    value: npt.NDArray[np.float64]
    best: npt.NDArray[np.float64]
    failed: npt.NDArray[np.int_]
    tips: list[str]


def progress(study: Study, objective: Objective) -> Progress:
    """Fold the results of a study that has answers."""
    measured = study.measured(objective)
    counts = {t.id for t in rankable(measured, (objective,)) if keeps_limits(t, study.objectives)}
    shown = {t.id for t in measured}
    answered = np.array([t.id in shown for t in study.finished], dtype=bool)
    failed = np.array([t.values is None for t in study.finished], dtype=bool)
    places = np.arange(1, len(study.finished) + 1)
    value = study.values(objective)
    sign = objective.loss(1.0)
    ranked = np.where([t.id in counts for t in measured], sign * value, np.inf)
    best = np.minimum.accumulate(ranked) if len(ranked) else ranked
    return Progress(
        order=places[answered],
        value=value,
        best=np.where(np.isfinite(best), sign * best, np.nan),
        failed=places[failed],
        tips=[f"trial {t.id}: {text.measured(objective, t)}" for t in measured],
    )


def section(study: Study, baseline: Study | None) -> Section | None:
    """Figure for the first objective; None without answers."""
    if not study.objectives or not study.measured(study.objectives[0]):
        return None
    objective = study.objectives[0]
    data = progress(study, objective)
    reference = baseline.values(objective) if baseline and objective in baseline.objectives else np.array([])
    svg = fig.draw(
        f"{study.name}: best {text.name(objective)} so far",
        lambda axes: _paint(axes, data, objective, reference, baseline.name if baseline else ""),
        width=fig.WIDE,
        height=320,
    )
    return Section("Best so far", (Figure(svg, _caption(study, data, objective, reference, baseline), wide=True),))


def _paint(axes: Axes, data: Progress, objective: Objective, reference: npt.NDArray[np.float64], name: str) -> None:
    everything = np.concatenate([data.value, reference])
    logarithmic = bool(everything.min() > 0 and everything.max() / everything.min() > 50)
    last = int(max([*data.order, *data.failed]))
    limits = _limits(axes, data, reference, logarithmic)
    if len(reference):
        mean, std = float(reference.mean()), float(reference.std(ddof=1)) if len(reference) > 1 else 0.0
        axes.axhspan(mean - std, mean + std, color=fig.MUTED, alpha=0.13, linewidth=0, label=f"{name}: mean ± std")
        axes.axhline(mean, color=fig.MUTED, linewidth=1.2)
        extreme = objective.loss(float(min(objective.loss(1.0) * reference)))
        axes.axhline(extreme, color=fig.MUTED, linewidth=1.2, linestyle=(0, (4, 3)), label=f"{name}: best")
    shown = statistics.thin(data.value, POINTS)
    inside = shown[(data.value[shown] >= limits[0]) & (data.value[shown] <= limits[1])]
    beyond = np.setdiff1d(shown, inside)
    style = {"s": 20 if last < 400 else 9, "linewidths": 0, "zorder": 3}
    tips = [data.tips[i] for i in inside]
    fig.dots(axes, data.order[inside], data.value[inside], tips, color=fig.SKY, label="measured", **style)
    edge = np.clip(data.value[beyond], *limits)
    high_side = data.value[beyond] > limits[1]
    for side, marker in ((high_side, "^"), (~high_side, "v")):
        tips = [data.tips[i] for i in beyond[side]]
        fig.dots(axes, data.order[beyond][side], edge[side], tips, color=fig.SKY, marker=marker, s=30, clip_on=False)
    crosses = data.failed[statistics.even(len(data.failed), POINTS // 4)]
    if len(crosses):
        at_foot: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False, "zorder": 4}
        axes.scatter(
            crosses, np.full(len(crosses), 0.02), marker="x", s=26, color=fig.VERMILION, label="failed", **at_foot
        )
    known = np.isfinite(data.best)
    if known.any():
        order, best = data.order[known], data.best[known]
        steps = np.flatnonzero(np.r_[True, np.diff(best) != 0])
        x, y = np.r_[order[steps], last], np.r_[best[steps], best[-1]]
        axes.step(x, y, where="post", color=fig.BLUE, linewidth=2.2, label="best so far", zorder=5)
        axes.plot(order[steps[-1]], best[-1], "o", color=fig.BLUE, markersize=6.5, zorder=6)
    axes.set_xlim(0.5 - 0.01 * last, last + 0.5 + 0.01 * last)
    axes.set_xlabel("results, in the order in which they were recorded")
    axes.set_ylabel(text.axis(objective))
    fig.legend(axes, 5)


def _limits(axes: Axes, data: Progress, reference: npt.NDArray[np.float64], logarithmic: bool) -> tuple[float, float]:
    """Scale the vertical axis, before anything is drawn that matplotlib would seek limits for."""
    if logarithmic:
        axes.set_yscale("log")
        everything = np.concatenate([data.value, reference])
        limits = (float(everything.min()) * 0.93, float(everything.max()) * 1.07)
    else:
        low, high = statistics.robust_limits(data.value)
        kept = [*data.best[-1:][np.isfinite(data.best[-1:])], *reference]
        low, high = min([low, *kept]), max([high, *kept])
        pad = 0.06 * (high - low or abs(high) or 1.0)
        limits = (low - pad, high + pad)
    axes.set_ylim(*limits)
    fig.ticks(axes.yaxis, logarithmic=logarithmic)
    return limits


def _caption(
    study: Study, data: Progress, objective: Objective, reference: npt.NDArray[np.float64], baseline: Study | None
) -> str:
    best = study.best()
    better = "lower" if objective.direction == "minimise" else "higher"
    within = "".join(f", {text.name(o)} {o.limits}" for o in limited(study.objectives))
    parts = [f"No result so far is the best: {'none has' + within[1:] if within else 'all are limits only'}."]
    if best is not None:
        place = 1 + [t.id for t in study.finished].index(best.id)
        parts = [
            f"The blue line is the best {text.name(objective)} so far ({better} is better{within}): "
            f"{text.measured(objective, best)}, found as result {place:,} of {len(study.finished):,} "
            f"(trial {best.id})."
        ]
    if len(reference) and baseline:
        std = float(reference.std(ddof=1)) if len(reference) > 1 else 0.0
        parts.append(
            f"Grey: the {len(reference):,} answers of “{baseline.name}”, {text.spread(float(reference.mean()), std)}, "
            f"the dashed line their best."
        )
    if waiting := len(study.answered) - len(data.value):
        parts.append(f"{text.name(objective).capitalize()} of {text.plural(waiting, 'result')} is still to come.")
    if partial := len(study.finished) - len(study.answered) - len(data.failed):
        parts.append(
            f"{text.plural(partial, 'result').capitalize()} of lower fidelity are left out, not being comparable."
        )
    if len(data.failed):
        parts.append(f"Crosses at the foot: {text.plural(len(data.failed), 'failure')}.")
    if len(data.value) > POINTS:
        parts.append(f"Of {len(data.value):,} points those that mark the outline are drawn.")
    return " ".join(parts)
