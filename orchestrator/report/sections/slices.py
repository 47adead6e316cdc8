"""How the expected value answers to the inputs: a slice along each through the best point, a map of the two that matter
most, and triangles for mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure as Canvas

from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import text
from matloop.orchestrator.report.response import Near, Slice
from matloop.orchestrator.trial import Objective

COLOURS = LinearSegmentedColormap.from_list("response", ["#eaf3fa", "#a6cdeb", fig.BLUE, "#083b5c"])
"""From the lowest expected value to the highest; light to dark, so that it can be read without colours."""

FORBIDDEN = "#b9bec5"
"""What may not be planned."""

HEIGHT = np.sqrt(3) / 2
"""Of a triangle with an edge of one."""


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
    allowed = np.array(cut.allowed)
    known = [near for near in cut.near if _measured(near, objective) is not None and one.name in near.trial.point]
    measured = [_measured(near, objective) for near in known]
    if one.kind == "choice":
        order = {str(choice): i for i, choice in enumerate(one.choices)}
        x = np.array([order[str(value)] for value in cut.values(0)], dtype=np.float64)
        colours = [fig.BLUE if here else FORBIDDEN for here in allowed]
        axes.vlines(x, low, high, color=fig.SKY, alpha=0.45, linewidth=9)
        axes.scatter(x, mean, color=colours, s=42, zorder=3)
        axes.set_xticks(range(len(one.choices)), [text.clip(str(choice), 14) for choice in one.choices])
        axes.set_xlim(-0.6, len(one.choices) - 0.4)
        places = [order.get(str(near.trial.point[one.name]), np.nan) + 0.18 for near in known]
    else:
        x = np.array(cut.values(0), dtype=np.float64)
        axes.fill_between(x, low, high, color=fig.SKY, alpha=0.3, linewidth=0)
        axes.plot(x, mean, color=fig.BLUE)
        for start, end in stretches(allowed, x):
            axes.axvspan(start, end, color=FORBIDDEN, alpha=0.4, linewidth=0)
        places = [float(near.trial.point[one.name]) for near in known]
        axes.axvline(float(cut.at[one.name]), color=fig.MUTED, linewidth=1, linestyle=":")
        if one.log:
            axes.set_xscale("log")
        axes.set_xlim(x.min(), x.max())
        fig.ticks(axes.xaxis, logarithmic=one.log, most=5)
    tips = [tip(near, objective) for near in known]
    fig.dots(axes, places, measured, tips, color=fig.ORANGE, edgecolors=fig.PAPER, linewidths=0.6, s=26, zorder=4)
    axes.set_xlabel(one.title)
    axes.set_ylabel(text.axis(objective))
    fig.ticks(axes.yaxis, logarithmic=False)


def plane(axes: Axes, cut: Slice, objective: Objective) -> None:
    """Expected values over two inputs as a map with contours, what may not be planned in grey, measured points."""
    first, second = cut.inputs
    x, y = (np.array(cut.values(i), dtype=np.float64).reshape(cut.shape) for i in (0, 1))
    mean = cut.mean(objective.name).reshape(cut.shape)
    forbidden = ~np.array(cut.allowed).reshape(cut.shape)
    levels = np.linspace(mean.min(), mean.max() + 1e-12 * (1 + abs(mean.max())), 11)
    axes.contourf(x, y, mean, levels=levels, cmap=COLOURS)
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
    shares = barycentric(cut, cut.points)
    x, y = corner_coordinates(shares)
    mean, allowed = cut.mean(objective.name), np.array(cut.allowed)
    levels = np.linspace(mean.min(), mean.max() + 1e-12 * (1 + abs(mean.max())), 11)
    axes.tricontourf(x, y, mean, levels=levels, cmap=COLOURS)
    if not allowed.all():
        axes.tricontourf(x, y, (~allowed).astype(float), levels=[0.5, 1.5], colors=[FORBIDDEN])
    axes.plot([0, 1, 0.5, 0], [0, 0, HEIGHT, 0], color=fig.MUTED, linewidth=1)
    places = np.array(corner_coordinates(barycentric(cut, [n.trial.point for n in cut.near]))).T
    _dots(axes, [(float(a), float(b)) for a, b in places], list(cut.near), objective)
    here = corner_coordinates(barycentric(cut, [cut.at]))
    axes.plot(*here, "+", color=fig.INK, markersize=11, zorder=5)
    corners = ((0, -0.02, "top"), (1, -0.02, "top"), (0.5, HEIGHT + 0.02, "bottom"))
    for words, (px, py, side) in zip(corner_names(cut), corners, strict=True):
        axes.text(px, py, words, ha="center", va=side, color=fig.MUTED)
    axes.set_xlim(-0.08, 1.08)
    axes.set_ylim(-0.1, HEIGHT + 0.1)
    axes.set_aspect("equal")
    axes.grid(False)
    axes.set_axis_off()
    _bar(axes, mean, objective)


def barycentric(cut: Slice, points: Sequence[Any]) -> np.typing.NDArray[np.float64]:
    """(n, 3) float64: shares of the three components in what they have beyond their least amounts."""
    amounts = np.array([[float(point[one.name]) - one.low for one in cut.inputs] for point in points]).reshape(-1, 3)
    total = amounts.sum(axis=1, keepdims=True)
    shares: np.typing.NDArray[np.float64] = np.where(total > 0, amounts / np.where(total > 0, total, 1), np.nan)
    return shares


def corner_coordinates(shares: np.typing.NDArray[np.float64]) -> tuple[Any, Any]:
    """x and y, each (n,), in a triangle with corners (0, 0), (1, 0) and (1/2, `HEIGHT`)."""
    return shares[:, 1] + shares[:, 2] / 2, HEIGHT * shares[:, 2]


def corner_names(cut: Slice) -> list[str]:
    """What each corner is: its component with the amount that it has there."""
    most = [max(float(point[one.name]) for point in cut.points) for one in cut.inputs]
    return [
        f"{one.name} {text.number(amount)} {one.unit}".rstrip() for one, amount in zip(cut.inputs, most, strict=True)
    ]


def stretches(allowed: Any, x: Any) -> list[tuple[float, float]]:
    """Ends of the stretches along x in which nothing is allowed, half way to the neighbours that are."""
    edges = np.concatenate([[x[0]], (x[1:] + x[:-1]) / 2, [x[-1]]])
    changes = np.flatnonzero(np.diff(np.concatenate([[0], (~allowed).astype(int), [0]])))
    return [(float(edges[a]), float(edges[b])) for a, b in changes.reshape(-1, 2)]


def tip(near: Near, objective: Objective) -> str:
    """A line about a measured point."""
    value = _measured(near, objective)
    return f"trial {near.trial.id}: {text.value(objective, value) if value is not None else 'not measured'}"


def _measured(near: Near, objective: Objective) -> float | None:
    return (near.trial.values or {}).get(objective.name)


def _dots(axes: Axes, places: Sequence[tuple[float, float]], known: Sequence[Near], objective: Objective) -> None:
    x, y = [place[0] for place in places], [place[1] for place in places]
    tips = [tip(near, objective) for near in known]
    fig.dots(axes, x, y, tips, color=fig.ORANGE, edgecolors=fig.PAPER, linewidths=0.6, s=26, zorder=4, clip_on=False)


def _bar(axes: Axes, mean: Any, objective: Objective) -> None:
    """The scale of the colours."""
    canvas = axes.figure
    assert isinstance(canvas, Canvas)
    scale = ScalarMappable(Normalize(float(mean.min()), float(mean.max()) or 1.0), COLOURS)
    bar = canvas.colorbar(scale, ax=axes, shrink=0.8, aspect=24)
    bar.set_label(text.axis(objective))
    bar.outline.set_visible(False)
