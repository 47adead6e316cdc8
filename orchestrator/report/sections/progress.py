"""Best so far: every result as it came, and the best of them as a line that only ever improves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from matloop.orchestrator.protocols import wants_gradient
from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import statistics, structures, text
from matloop.orchestrator.report.content import Figure, Section
from matloop.orchestrator.report.study import RANDOM, Study, bound_of
from matloop.orchestrator.trial import Objective, keeps_limits, limited, rankable

POINTS = 1200


@dataclass(frozen=True, slots=True)
class Progress:
    """Results of one study in the order in which they were recorded.

    Attributes:
        order: (n,) place of each answered trial among the finished ones, from 1; where gradients were asked for, what
            had been spent by then, in calls.
        value: (n,) measured values, objective's unit.
        best: (n,) best value up to and including each, within all limits; NaN while there is none.
        failed: (f,) places of the failed ones.
        tips: one line about each answered trial.
        broken: (n,) whether each breaks a limit of its driver or strategy (see `structures.violations`).
        in_calls: whether places are calls.
    """

    order: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]
    best: npt.NDArray[np.float64]
    failed: npt.NDArray[np.float64]
    tips: list[str]
    broken: npt.NDArray[np.bool_]
    in_calls: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """A value to be drawn across, such as the bound of what can be reached."""

    name: str
    value: float
    bound: bool = False


def progress(study: Study, objective: Objective) -> Progress:
    """Fold the results of a study that has answers."""
    measured = study.measured(objective)
    counts = {t.id for t in rankable(measured, (objective,)) if keeps_limits(t, study.objectives)}
    shown = {t.id for t in measured}
    answered = np.array([t.id in shown for t in study.finished], dtype=bool)
    failed = np.array([t.values is None for t in study.finished], dtype=bool)
    in_calls = any(map(wants_gradient, study.finished))
    places = np.cumsum([t.cost if in_calls and t.cost is not None else 1.0 for t in study.finished])
    value = study.values(objective)
    sign = objective.loss(1.0)
    ranked = np.where([t.id in counts for t in measured], sign * value, np.inf)
    best = np.minimum.accumulate(ranked) if len(ranked) else ranked
    return Progress(
        order=places[answered],
        value=value,
        best=np.where(np.isfinite(best), sign * best, np.nan),
        failed=places[failed],
        tips=["; ".join([f"trial {t.id}: {text.measured(objective, t)}", *structures.faults(t)]) for t in measured],
        broken=np.array([bool(structures.violations(t)) for t in measured], dtype=bool),
        in_calls=in_calls,
    )


def levels(study: Study, objective: Objective, found: Sequence[Study]) -> list[Level]:
    """Marks of the campaign file, and the best of the study that is named as the bound.

    Args:
        study: that has them.
        objective: whose values they are.
        found: all studies of the campaign.
    """
    marks = [Level(str(name), float(value)) for name, value in study.marks.items() if np.isfinite(value)]
    bound = bound_of(study, objective, found)
    return marks if bound is None else [*marks, Level(f"bound: {study.bound}", bound, bound=True)]


def section(study: Study, baseline: Study | None, found: Sequence[Study] = ()) -> Section | None:
    """Figure for the first objective, beside the baseline and what the campaign file names; None without answers."""
    if not study.objectives or not study.measured(study.objectives[0]):
        return None
    objective = study.objectives[0]
    data = progress(study, objective)
    reference = baseline.values(objective) if baseline and objective in baseline.objectives else np.array([])
    lines = levels(study, objective, found)
    svg = fig.draw(
        f"{study.name}: best {text.name(objective)} so far",
        lambda axes: _paint(axes, data, objective, reference, baseline, lines),
        width=fig.WIDE,
        height=320,
    )
    return Section(
        "Best so far", (Figure(svg, _caption(study, data, objective, reference, baseline, lines), wide=True),)
    )


def _paint(
    axes: Axes,
    data: Progress,
    objective: Objective,
    reference: npt.NDArray[np.float64],
    baseline: Study | None,
    lines: Sequence[Level],
) -> None:
    limits = _limits(axes, data, np.concatenate([reference, [line.value for line in lines]]))
    if len(reference) and baseline:
        _across(axes, reference, objective, baseline)
    for i, line in enumerate(lines):
        colour, dashes = (fig.GREEN, (0, (6, 2, 1, 2))) if line.bound else (fig.PURPLE, (0, (1 + i, 2)))
        axes.axhline(line.value, color=colour, linewidth=1.4, linestyle=dashes, label=line.name)
    last = float(max([*data.order, *data.failed]))
    shown = statistics.thin(data.value, POINTS)
    inside = shown[(data.value[shown] >= limits[0]) & (data.value[shown] <= limits[1])]
    beyond = np.setdiff1d(shown, inside)
    style: dict[str, Any] = {"s": 20 if last < 400 else 9, "zorder": 3}
    whole, rings = inside[~data.broken[inside]], inside[data.broken[inside]]
    tips = [data.tips[i] for i in whole]
    fig.dots(axes, data.order[whole], data.value[whole], tips, color=fig.SKY, linewidths=0, label="measured", **style)
    look: dict[str, Any] = {"facecolors": "none", "edgecolors": fig.SKY, "label": "breaks a limit", **style}
    fig.dots(axes, data.order[rings], data.value[rings], [data.tips[i] for i in rings], **look)
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
    axes.set_xlabel("calls" if data.in_calls else "results, in the order in which they were recorded")
    axes.set_ylabel(text.axis(objective))
    fig.legend(axes, 5)


def _limits(axes: Axes, data: Progress, others: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Scale the vertical axis, before anything is drawn that matplotlib would seek limits for."""
    everything = np.concatenate([data.value, others])
    logarithmic = bool(everything.min() > 0 and everything.max() / everything.min() > 50)
    if logarithmic:
        axes.set_yscale("log")
        limits = (float(everything.min()) * 0.93, float(everything.max()) * 1.07)
    else:
        low, high = statistics.robust_limits(data.value)
        kept = [*data.best[-1:][np.isfinite(data.best[-1:])], *others]
        low, high = min([low, *kept]), max([high, *kept])
        pad = 0.06 * (high - low or abs(high) or 1.0)
        limits = (low - pad, high + pad)
    axes.set_ylim(*limits)
    fig.ticks(axes.yaxis, logarithmic=logarithmic)
    return limits


def _across(axes: Axes, reference: npt.NDArray[np.float64], objective: Objective, baseline: Study) -> None:
    """The baseline: mean and deviation, and its best."""
    mean, std = float(reference.mean()), float(reference.std(ddof=1)) if len(reference) > 1 else 0.0
    axes.axhspan(mean - std, mean + std, color=fig.MUTED, alpha=0.13, linewidth=0, label=f"{baseline.name}: mean ± std")
    axes.axhline(mean, color=fig.MUTED, linewidth=1.2)
    random = baseline.kind("strategy") in RANDOM
    name = f"best of {len(reference):,} random" if random else f"{baseline.name}: best"
    axes.axhline(_best(reference, objective), color=fig.MUTED, linewidth=1.2, linestyle=(0, (4, 3)), label=name)


def _best(values: npt.NDArray[np.float64], objective: Objective) -> float:
    return objective.loss(float(min(objective.loss(1.0) * values)))


def _gain(value: float, reference: npt.NDArray[np.float64], lines: Sequence[Level]) -> str:
    """What the best is worth: against the baseline's mean, in its standard deviations, and of the bound's gain."""
    mean = float(reference.mean())
    parts = [f"{text.percent((value - mean) / abs(mean), sign=True)} against the mean"] if mean else []
    std = float(reference.std(ddof=1)) if len(reference) > 1 else 0.0
    if std > 1e-12 * abs(mean):
        parts.append(f"{text.number(abs(value - mean) / std)} standard deviations")
    for line in lines:
        if line.bound and line.value != mean:
            parts.append(f"{text.percent((value - mean) / (line.value - mean))} of what the bound gains")
            if (value - line.value) * (line.value - mean) > 0:
                parts[-1] += ", so that the search for the bound ended too early"
    return f" The best is {', '.join(parts)}." if parts else ""


def _caption(
    study: Study,
    data: Progress,
    objective: Objective,
    reference: npt.NDArray[np.float64],
    baseline: Study | None,
    lines: Sequence[Level],
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
            + (_gain((best.values or {})[objective.name], reference, lines) if best is not None else "")
        )
    if lines:
        parts.append(f"Lines: {', '.join(f'{line.name} {text.value(objective, line.value)}' for line in lines)}.")
    if study.bound and not any(line.bound for line in lines):
        parts.append(f"There is no line for the bound: “{study.bound}” has measured nothing to its end yet.")
    if data.in_calls:
        gradients = sum(map(wants_gradient, study.finished))
        parts.append(f"A call is one simulation; {text.plural(gradients, 'trial')} took a gradient too and cost more.")
    if data.broken.any():
        n = int(data.broken.sum())
        parts.append(f"Rings: {text.plural(n, 'result')} that {'breaks' if n == 1 else 'break'} a limit.")
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
