"""Small drawings as SVG without inline styles, which the page's content policy forbids: classes name what things are,
and the style sheet says how they look in light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from matloop.orchestrator.report import text


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values to pixels: `low` is drawn at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Pixel of a value; values beyond the ends are drawn at the ends."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """Round values within the range, evenly spaced."""
        raw = (self.high - self.low) / most
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= raw * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def padded(low: float, high: float, start: float, end: float, pad: float = 0.07) -> Scale:
    """A scale with some room on either side; a single value gets room of its own size."""
    room = (high - low) * pad or abs(high) * 0.1 or 1.0
    return Scale(low - room, high + room, start, end)


class Canvas:
    """Collects the elements of one drawing.

    Args:
        width, height: of the coordinate system; the page scales it to the column.
        title: what a screen reader says.
        kind: class of the drawing.
    """

    def __init__(self, width: float, height: float, title: str, kind: str) -> None:
        self._parts = [
            f'<svg class="plot {kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}">'
        ]

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """A straight line."""
        self._parts.append(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def path(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A line through points."""
        d = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self._parts.append(f'<path class="{kind}" d="M{d}"/>')

    def rectangle(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """A rectangle with slightly round corners."""
        self._parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" rx="2"/>'
        )

    def dot(self, x: float, y: float, radius: float, kind: str, *, tip: str = "", link: str = "") -> None:
        """A disc that shows a line of text under the pointer and may lead somewhere."""
        disc = f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}">{_title(tip)}</circle>'
        self._parts.append(_linked(disc, link))

    def cross(self, x: float, y: float, size: float, kind: str, *, tip: str = "", link: str = "") -> None:
        """A diagonal cross, likewise."""
        d = f"M{x - size:.1f} {y - size:.1f}l{2 * size:g} {2 * size:g}m0 {-2 * size:g}l{-2 * size:g} {2 * size:g}"
        self._parts.append(_linked(f'<path class="{kind}" d="{d}">{_title(tip)}</path>', link))

    def text(self, x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> None:
        """A line of text, its foot at y."""
        self._parts.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'
        )

    def markup(self) -> Markup:
        """The drawing."""
        return Markup("".join([*self._parts, "</svg>"]))


def axes(canvas: Canvas, x: Scale, y: Scale, *, labels: tuple[str, str], whole: bool = False) -> None:
    """Horizontal grid with values at the left, a line with values below, and what they are.

    Args:
        canvas: to draw on.
        x: horizontal.
        y: vertical.
        labels: of the horizontal axis (below, at the right) and of the vertical one (above, at the left).
        whole: whether the horizontal axis counts things.
    """
    ticks = y.ticks(5)
    for value, label in zip(ticks, labelled(ticks), strict=True):
        canvas.line(x.start, y(value), x.end, y(value), "grid")
        canvas.text(x.start - 6, y(value) + 4, label, "tick", "end")
    canvas.line(x.start, y.start, x.end, y.start, "axis")
    ticks = [value for value in x.ticks(6) if not whole or (value == round(value) and value >= 1)]
    for value, label in zip(ticks, labelled(ticks), strict=True):
        canvas.text(x(value), y.start + 16, label, "tick", "middle")
    canvas.text(x.end, y.start + 32, labels[0], "label", "end")
    canvas.text(4, 13, labels[1], "label")


def labelled(ticks: Sequence[float]) -> list[str]:
    """Evenly spaced values in words, all with as many decimals as the most exact one needs."""
    size = max(map(abs, ticks), default=0.0)
    if not 1e-3 <= size < 1e6:
        return [text.number(value) for value in ticks]
    decimals = next(d for d in range(10) if all(abs(round(v, d) - v) < 1e-6 * size for v in ticks))
    return [f"{value + 0.0:.{decimals}f}".replace("-", "−") for value in ticks]


def _title(tip: str) -> str:
    return f"<title>{escape(tip)}</title>" if tip else ""


def _linked(element: str, link: str) -> str:
    return f'<a href="{escape(link)}">{element}</a>' if link else element
