"""Slices through what the model expects, as drawings of the page: along one input, over two, over three components."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from markupsafe import Markup

from matloop.orchestrator.lab.fields import shown
from matloop.orchestrator.report import shape, text
from matloop.orchestrator.report.inputs import Input
from matloop.orchestrator.report.response import Near, Slice
from matloop.orchestrator.trial import Objective
from matloop.orchestrator.web.plots import HEIGHT, WIDTH, link
from matloop.orchestrator.web.svg import Canvas, Scale, labelled, padded

LEFT, RIGHT, TOP, FOOT = 48, 10, 26, 42
"""Room around a drawing, px."""

SHADES = 9
"""Of the expected value in a map; classes h0 (lowest) to h8."""


class Axis:
    """An input from one end to the other, on its own scale."""

    def __init__(self, one: Input, values: Sequence[float], start: float, end: float) -> None:
        self.input, self._log = one, one.log
        self._scale = Scale(self._of(min(values)), self._of(max(values)), start, end)

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        return self._scale(self._of(max(value, 1e-300) if self._log else value))

    def holds(self, value: float) -> bool:
        """Whether a value is within the drawing."""
        slack = 1e-9 * (self._scale.high - self._scale.low)
        return not (self._log and value <= 0) and (
            self._scale.low - slack <= self._of(value) <= self._scale.high + slack
        )

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Round values with their labels."""
        if not self._log:
            values = self._scale.ticks(most)
            return list(zip(values, labelled(values), strict=True))
        low, high = math.floor(self._scale.low), math.ceil(self._scale.high)
        digits = (1, 2, 5) if self._scale.high - self._scale.low <= 2.3 else (1,)
        values = [digit * 10.0**power for power in range(low, high + 1) for digit in digits]
        return [(value, shown(value)) for value in values if self.holds(value)]

    def _of(self, value: float) -> float:
        return math.log10(value) if self._log else value


def draw(cut: Slice, objective: Objective) -> Markup:
    """A slice of any kind."""
    if len(cut.inputs) == 3:
        return triangle(cut, objective)
    return plane(cut, objective) if len(cut.inputs) == 2 else line(cut, objective)


def line(cut: Slice, objective: Objective) -> Markup:
    """Expected values along one input with their 90 % band, and measured points near it."""
    one, mean, (low, high) = cut.inputs[0], cut.mean(objective.name), cut.bounds(objective.name)
    known = [n for n in cut.near if objective.name in (n.trial.values or {}) and one.name in n.trial.point]
    measured = [(n.trial.values or {})[objective.name] for n in known]
    canvas = Canvas(WIDTH, HEIGHT, _words(cut, objective), "slice")
    y = padded(min([*low, *measured]), max([*high, *measured]), HEIGHT - FOOT, TOP)
    ticks = y.ticks(5)
    for value, label in zip(ticks, labelled(ticks), strict=True):
        canvas.line(LEFT, y(value), WIDTH - RIGHT, y(value), "grid")
        canvas.text(LEFT - 6, y(value) + 4, label, "tick", "end")
    if one.kind == "choice":
        _choices(canvas, cut, y, (mean, low, high), list(zip(known, measured, strict=True)), objective)
    else:
        _numbers(canvas, cut, y, (mean, low, high), list(zip(known, measured, strict=True)), objective)
    canvas.line(LEFT, y.start, WIDTH - RIGHT, y.start, "axis")
    canvas.text(WIDTH - RIGHT, y.start + 32, one.title, "label", "end")
    canvas.text(4, 13, text.axis(objective), "label")
    return canvas.markup()


Curves = tuple[shape.Array, shape.Array, shape.Array]
"""Mean, low and high, each (n,)."""


def _numbers(
    canvas: Canvas, cut: Slice, y: Scale, curves: Curves, known: Sequence[tuple[Near, float]], objective: Objective
) -> None:
    one, values = cut.inputs[0], [float(value) for value in cut.values(0)]
    x = Axis(one, values, LEFT, WIDTH - RIGHT)
    mean, low, high = ([(x(v), y(float(c))) for v, c in zip(values, curve, strict=True)] for curve in curves)
    for start, end in shape.stretches(cut.greyed, np.array(values)):
        _polygon(canvas, [(x(start), TOP), (x(end), TOP), (x(end), y.start), (x(start), y.start)], "forbidden")
    _polygon(canvas, [*high, *low[::-1]], "band")
    canvas.path(mean, "best")
    canvas.line(x(float(cut.at[one.name])), TOP, x(float(cut.at[one.name])), y.start, "here")
    for value, label in x.ticks(5):
        canvas.text(x(value), y.start + 16, label, "tick", "middle")
    for near, value in known:
        if x.holds(place := float(near.trial.point[one.name])):
            canvas.dot(x(place), y(value), 4, "near", tip=_tip(near, objective), link=link(near.trial))


def _choices(
    canvas: Canvas, cut: Slice, y: Scale, curves: Curves, known: Sequence[tuple[Near, float]], objective: Objective
) -> None:
    one = cut.inputs[0]
    places = padded(0, max(len(one.choices) - 1, 1), LEFT, WIDTH - RIGHT, 0.12)
    order = {str(choice): i for i, choice in enumerate(one.choices)}
    longest = max(4, 60 // max(len(one.choices), 1))
    for choice, mean, low, high, grey in zip(cut.values(0), *curves, cut.greyed, strict=True):
        x = places(order[str(choice)])
        canvas.rectangle(x - 5, y(float(high)), 10, y(float(low)) - y(float(high)), "interval")
        tip = f"{choice}: {text.value(objective, float(mean))}{', not allowed here' if grey else ''}"
        canvas.dot(x, y(float(mean)), 5.5, "forbidden" if grey else "front", tip=tip)
        canvas.text(x, y.start + 16, text.clip(str(choice), longest), "tick", "middle")
    for near, value in known:
        if (name := str(near.trial.point[one.name])) in order:
            place = places(order[name]) + 12
            canvas.dot(place, y(value), 4, "near", tip=_tip(near, objective), link=link(near.trial))


def plane(cut: Slice, objective: Objective) -> Markup:
    """Expected values over two inputs as shades, what may not be planned in grey, and measured points."""
    first, second = cut.inputs
    columns = [[float(v) for v in dict.fromkeys(cut.values(i))] for i in (0, 1)]
    canvas = Canvas(WIDTH, HEIGHT + 20, _words(cut, objective), "slice map")
    x, y = Axis(first, columns[0], LEFT, WIDTH - RIGHT), Axis(second, columns[1], HEIGHT - FOOT + 20, TOP + 20)
    shades = np.array(_shades(cut, objective)).reshape(cut.shape)
    edges = [_edges([axis(v) for v in column]) for axis, column in ((x, columns[0]), (y, columns[1]))]
    for j in range(cut.shape[1]):  # a row of equal shades is one rectangle
        starts = [0, *(i for i in range(1, cut.shape[0]) if shades[i, j] != shades[i - 1, j]), cut.shape[0]]
        for a, b in pairwise(starts):
            left, right, foot, head = edges[0][a], edges[0][b], edges[1][j], edges[1][j + 1]
            _polygon(canvas, [(left, foot), (right, foot), (right, head), (left, head)], str(shades[a, j]))
    for value, label in x.ticks(5):
        canvas.text(x(value), HEIGHT - FOOT + 36, label, "tick", "middle")
    for value, label in y.ticks(5):
        canvas.text(LEFT - 6, y(value) + 4, label, "tick", "end")
    canvas.text(WIDTH - RIGHT, HEIGHT - FOOT + 52, first.title, "label", "end")
    canvas.text(4, 33, second.title, "label")
    _bar(canvas, cut, objective)
    for near in cut.near:
        across, up = near.trial.point.get(first.name), near.trial.point.get(second.name)
        if across is not None and up is not None and x.holds(float(across)) and y.holds(float(up)):
            canvas.dot(x(float(across)), y(float(up)), 4, "near", tip=_tip(near, objective), link=link(near.trial))
    _cross(canvas, x(float(cut.at[first.name])), y(float(cut.at[second.name])))
    return canvas.markup()


def triangle(cut: Slice, objective: Objective) -> Markup:
    """Expected values over three components as shades of small triangles."""
    canvas = Canvas(WIDTH, HEIGHT + 90, _words(cut, objective), "slice map")
    size, left, foot = WIDTH - 120.0, 60.0, HEIGHT + 64.0

    def at(points: Sequence[object]) -> list[tuple[float, float]]:
        across, up = shape.corner_coordinates(shape.barycentric(cut, points))
        return [(left + size * float(a), foot - size * float(b)) for a, b in zip(across, up, strict=True)]

    places, edge = at(cut.points), cut.shape[0]
    order = {ij: n for n, ij in enumerate((i, j) for i in range(edge) for j in range(edge - i))}
    corners = [((i, j), (i + 1, j), (i, j + 1)) for i, j in order if i + j < edge - 1]
    corners += [((i + 1, j), (i, j + 1), (i + 1, j + 1)) for i, j in order if i + j < edge - 2]
    numbers = [[order[corner] for corner in three] for three in corners]
    for three, shade in zip(numbers, _shades(cut, objective, numbers), strict=True):
        _polygon(canvas, [places[n] for n in three], shade)
    ends = [
        (left, foot + 18, "middle"),
        (left + size, foot + 18, "middle"),
        (left + size / 2, foot - size * 0.87 - 8, "middle"),
    ]
    for words, (px, py, anchor) in zip(shape.corner_names(cut), ends, strict=True):
        canvas.text(px, py, words, "label", anchor)
    _bar(canvas, cut, objective)
    for near, (px, py) in zip(cut.near, at([n.trial.point for n in cut.near]), strict=True):
        if math.isfinite(px) and math.isfinite(py):
            canvas.dot(px, py, 4, "near", tip=_tip(near, objective), link=link(near.trial))
    _cross(canvas, *at([cut.at])[0])
    return canvas.markup()


def _shades(cut: Slice, objective: Objective, groups: Iterable[Sequence[int]] | None = None) -> list[str]:
    """Class of each point, or of each group of points by their mean; forbidden where most of them are."""
    mean = cut.mean(objective.name)
    low, span = float(mean.min()), float(np.ptp(mean)) or 1.0
    found = []
    for group in ([i] for i in range(len(mean))) if groups is None else groups:
        share = (float(mean[list(group)].mean()) - low) / span
        grey = cut.greyed[list(group)].mean() > 0.5
        found.append("forbidden" if grey else f"h{min(int(share * SHADES), SHADES - 1)}")
    return found


def _edges(pixels: Sequence[float]) -> list[float]:
    """Borders of cells about pixels: half way to the next, and the outer ones at the ends."""
    return [pixels[0], *((a + b) / 2 for a, b in pairwise(pixels)), pixels[-1]]


def _polygon(canvas: Canvas, points: Sequence[tuple[float, float]], kind: str) -> None:
    canvas.path([*points, points[0]], kind)


def _cross(canvas: Canvas, x: float, y: float) -> None:
    canvas.line(x - 7, y, x + 7, y, "here")
    canvas.line(x, y - 7, x, y + 7, "here")


def _bar(canvas: Canvas, cut: Slice, objective: Objective) -> None:
    """What the shades mean, above the map."""
    mean = cut.mean(objective.name)
    canvas.text(4, 13, text.axis(objective), "label")
    for i in range(SHADES):
        left = WIDTH - RIGHT - 60 - 12 * (SHADES - i)
        _polygon(canvas, [(left, 4), (left + 12, 4), (left + 12, 15), (left, 15)], f"h{i}")
    canvas.text(WIDTH - RIGHT - 66 - 12 * SHADES, 14, text.number(float(mean.min())), "tick", "end")
    canvas.text(WIDTH - RIGHT - 54, 14, text.number(float(mean.max())), "tick")


def _tip(near: Near, objective: Objective) -> str:
    return shape.tip(near, objective).replace("trial", "experiment", 1)


def _words(cut: Slice, objective: Objective) -> str:
    """What a screen reader says: what is drawn, and where the expected value is lowest and highest."""
    mean = cut.mean(objective.name)
    ends = []
    for word, i in (("lowest", int(mean.argmin())), ("highest", int(mean.argmax()))):
        place = ", ".join(f"{one.name} {shown(cut.points[i][one.name])} {one.unit}".rstrip() for one in cut.inputs)
        ends.append(f"{word} {text.value(objective, float(mean[i]))} at {place}")
    names = ", ".join(one.name for one in cut.inputs)
    return f"expected {text.name(objective)} by {names}: {'; '.join(ends)}"
