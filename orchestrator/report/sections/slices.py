"""How the expected value answers to the inputs: a slice along each through the best point, a map of the two that matter
most, and triangles for mixtures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure as Canvas

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.protocols import Predicting, Space
from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import shape, text
from matloop.orchestrator.report.content import Figure, Section
from matloop.orchestrator.report.forecast import forecasts
from matloop.orchestrator.report.order import centre
from matloop.orchestrator.report.response import Near, Responses, Slice, telling
from matloop.orchestrator.report.study import Study
from matloop.orchestrator.trial import Objective

COLOURS = LinearSegmentedColormap.from_list("response", ["#eaf3fa", "#a6cdeb", fig.BLUE, "#083b5c"])
"""From the lowest expected value to the highest; light to dark, so that it can be read without colours."""

FORBIDDEN = "#b9bec5"
"""What may not be planned."""

QUICK = ("", "auto", "blend", "forest", "gp")
"""Surrogates that are fitted in seconds; a report does not train networks."""

MOST_ROWS = 500
"""Results up to which a model is fitted again for the report."""

MOST_INPUTS = 8
"""Inputs that have a slice of their own: the ones that move the expected values most."""


def section(history: History, study: Study, store: ArtifactStore) -> Section | None:
    """Slices by a model of all results; None if the study's strategy has no such model, or too few results for it."""
    if not study.objectives or not study.answered or len(study.answered) > MOST_ROWS or _surrogate(study) not in QUICK:
        return None
    from matloop.orchestrator.composition.rebuilding import predicting_for

    try:
        found = predicting_for(study.name, history.sessions[-1].config, history, store)
        if found is None:
            return None
        strategy, space = found
        figures = [f for o in study.objectives[:2] for f in _figures(study, strategy, space, o)]
    except MatloopError:  # it cannot be built again, or does not know enough yet
        return None
    return Section("What the model expects", tuple(figures)) if figures else None


def _surrogate(study: Study) -> str:
    options = study.config.get("strategy")
    given = options.get("surrogate", "") if isinstance(options, Mapping) else ""
    return str(given.get("kind", "")) if isinstance(given, Mapping) else str(given or "")


def _figures(study: Study, strategy: Predicting, space: Space, objective: Objective) -> list[Figure]:
    at = centre(study.finished, objective, strategy.target)
    responses = Responses(space, lambda p: forecasts(strategy, p, study.objectives, space), study.finished)
    if at is None or not responses.inputs:
        return []
    lines = [responses.along(name, at) for name in responses.inputs if name in at]
    pair = telling(lines)
    lines = sorted(sorted(lines, key=lambda cut: -cut.influence)[:MOST_INPUTS], key=lines.index)
    maps = [] if pair is None else [responses.plane(*pair, at)]
    maps += [responses.triangle(mixture, at) for mixture, names in responses.mixtures.items() if len(names) > 2]
    name = text.name(objective)
    words = (
        f"Expected {name} along each input, the others held as in the best experiment: {text.compact(at)}. Band: "
        "90\u202f% of measurements are expected within it. Dots: experiments near it. Grey: may not be planned."
    )
    figures = [_row(study, f"{name} along", lines[i : i + 4], objective) for i in range(0, len(lines), 4)]
    figures += [_row(study, f"{name} over", [cut], objective) for cut in maps]
    return [replace(figures[0], caption=words), *figures[1:]]


def _row(study: Study, what: str, cuts: Sequence[Slice], objective: Objective) -> Figure:
    """Slices side by side."""
    names = ", ".join(one.name for cut in cuts for one in cut.inputs)

    def draw(*panels: Axes) -> None:
        for axes, cut in zip(panels, cuts, strict=True):
            paint(axes, cut, objective)

    wide = len(cuts) > 1
    size = {"width": fig.WIDE, "height": 290} if wide else {"height": 330}
    svg = fig.draw(f"{study.name}: expected {what} {names}", draw, panels=len(cuts), **size)
    caption = "" if wide else f"Expected {text.name(objective)} over {names}; the cross is the best experiment."
    return Figure(svg, caption, wide=wide)


def paint(axes: Axes, cut: Slice, objective: Objective) -> None:
    """Paint a slice of any kind."""
    if len(cut.inputs) == 3:
        triangle(axes, cut, objective)
    elif len(cut.inputs) == 2:
        plane(axes, cut, objective)
    else:
        line(axes, cut, objective)


def line(axes: Axes, cut: Slice, objective: Objective) -> None:
    """Expected values along one input with their 90 % band, measured points near it, and the point cut through."""
    one, mean, (low, high) = cut.inputs[0], cut.mean(objective.name), cut.bounds(objective.name)
    known = [near for near in cut.near if shape.measured(near, objective) is not None and one.name in near.trial.point]
    measured = [shape.measured(near, objective) for near in known]
    if one.kind == "choice":
        order = {str(choice): i for i, choice in enumerate(one.choices)}
        x = np.array([order[str(value)] for value in cut.values(0)], dtype=np.float64)
        colours = [FORBIDDEN if grey else fig.BLUE for grey in cut.greyed]
        axes.vlines(x, low, high, color=fig.SKY, alpha=0.45, linewidth=9)
        axes.scatter(x, mean, color=colours, s=42, zorder=3)
        axes.set_xticks(range(len(one.choices)), [text.clip(str(choice), 14) for choice in one.choices])
        axes.set_xlim(-0.6, len(one.choices) - 0.4)
        places = [order.get(str(near.trial.point[one.name]), np.nan) + 0.18 for near in known]
    else:
        x = np.array(cut.values(0), dtype=np.float64)
        axes.fill_between(x, low, high, color=fig.SKY, alpha=0.3, linewidth=0)
        axes.plot(x, mean, color=fig.BLUE)
        for start, end in shape.stretches(cut.greyed, x):
            axes.axvspan(start, end, color=FORBIDDEN, alpha=0.4, linewidth=0)
        places = [float(near.trial.point[one.name]) for near in known]
        axes.axvline(float(cut.at[one.name]), color=fig.MUTED, linewidth=1, linestyle=":")
        if one.log:
            axes.set_xscale("log")
        axes.set_xlim(x.min(), x.max())
        fig.ticks(axes.xaxis, logarithmic=one.log, most=5)
    tips = [shape.tip(near, objective) for near in known]
    fig.dots(axes, places, measured, tips, color=fig.ORANGE, edgecolors=fig.PAPER, linewidths=0.6, s=26, zorder=4)
    axes.set_xlabel(one.title)
    axes.set_ylabel(text.axis(objective))
    fig.ticks(axes.yaxis, logarithmic=False)


def plane(axes: Axes, cut: Slice, objective: Objective) -> None:
    """Expected values over two inputs as a map with contours, what may not be planned in grey, measured points."""
    first, second = cut.inputs
    x, y = (np.array(cut.values(i), dtype=np.float64).reshape(cut.shape) for i in (0, 1))
    mean = cut.mean(objective.name).reshape(cut.shape)
    forbidden = cut.greyed.reshape(cut.shape)
    levels = np.linspace(mean.min(), mean.max() + 1e-12 * (1 + abs(mean.max())), 11)
    axes.contourf(x, y, mean, levels=levels, cmap=COLOURS)
    if forbidden.any():
        axes.contourf(x, y, forbidden.astype(float), levels=[0.5, 1.5], colors=[FORBIDDEN])
    for one, scale in ((first, axes.set_xscale), (second, axes.set_yscale)):
        if one.log:
            scale("log")
    axes.set_xlim(x.min(), x.max())
    axes.set_ylim(y.min(), y.max())
    known = [n for n in cut.near if first.name in n.trial.point and second.name in n.trial.point]
    _dots(
        axes, [(float(n.trial.point[first.name]), float(n.trial.point[second.name])) for n in known], known, objective
    )
    axes.plot([float(cut.at[first.name])], [float(cut.at[second.name])], "+", color=fig.INK, markersize=11, zorder=5)
    fig.ticks(axes.xaxis, logarithmic=first.log, most=5)
    fig.ticks(axes.yaxis, logarithmic=second.log, most=5)
    axes.grid(False)
    axes.set_xlabel(first.title)
    axes.set_ylabel(second.title)
    _bar(axes, mean, objective)


def triangle(axes: Axes, cut: Slice, objective: Objective) -> None:
    """Expected values over three components: each corner is one alone, as far as the others in the mixture allow."""
    shares = shape.barycentric(cut, cut.points)
    x, y = shape.corner_coordinates(shares)
    mean = cut.mean(objective.name)
    levels = np.linspace(mean.min(), mean.max() + 1e-12 * (1 + abs(mean.max())), 11)
    axes.tricontourf(x, y, mean, levels=levels, cmap=COLOURS)
    if cut.greyed.any():
        axes.tricontourf(x, y, cut.greyed.astype(float), levels=[0.5, 1.5], colors=[FORBIDDEN])
    axes.plot([0, 1, 0.5, 0], [0, 0, shape.HEIGHT, 0], color=fig.MUTED, linewidth=1)
    places = np.array(shape.corner_coordinates(shape.barycentric(cut, [n.trial.point for n in cut.near]))).T
    _dots(axes, [(float(a), float(b)) for a, b in places], list(cut.near), objective)
    here = shape.corner_coordinates(shape.barycentric(cut, [cut.at]))
    axes.plot(*here, "+", color=fig.INK, markersize=11, zorder=5)
    corners = ((0, -0.02, "top"), (1, -0.02, "top"), (0.5, shape.HEIGHT + 0.02, "bottom"))
    for words, (px, py, side) in zip(shape.corner_names(cut), corners, strict=True):
        axes.text(px, py, words, ha="center", va=side, color=fig.MUTED)
    axes.set_xlim(-0.08, 1.08)
    axes.set_ylim(-0.1, shape.HEIGHT + 0.1)
    axes.set_aspect("equal")
    axes.grid(False)
    axes.set_axis_off()
    _bar(axes, mean, objective)


def _dots(axes: Axes, places: Sequence[tuple[float, float]], known: Sequence[Near], objective: Objective) -> None:
    x, y = [place[0] for place in places], [place[1] for place in places]
    tips = [shape.tip(near, objective) for near in known]
    fig.dots(axes, x, y, tips, color=fig.ORANGE, edgecolors=fig.PAPER, linewidths=0.6, s=26, zorder=4, clip_on=False)


def _bar(axes: Axes, mean: Any, objective: Objective) -> None:
    """The scale of the colours."""
    canvas = axes.figure
    assert isinstance(canvas, Canvas)
    scale = ScalarMappable(Normalize(float(mean.min()), float(mean.max())), COLOURS)
    bar = canvas.colorbar(scale, ax=axes, shrink=0.8, aspect=24)
    bar.set_label(text.axis(objective))
    bar.outline.set_visible(False)
