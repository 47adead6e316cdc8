"""Drawings as inline SVG in one restrained style: text stays text, colours follow the page's light or dark scheme.

Colours are Okabe and Ito's, distinguishable with any colour vision. Each becomes a CSS variable with itself as the
fallback, so that one drawing serves both schemes and still shows when it is cut out of the page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

INK, MUTED, GRID, PAPER = "#1c2025", "#68707b", "#e2e5e9", "#fefefe"
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9"
CYCLE = (BLUE, GREEN, PURPLE, SKY, ORANGE)
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--card",
    BLUE: "--blue",
    VERMILION: "--vermilion",
    GREEN: "--green",
    ORANGE: "--orange",
    PURPLE: "--purple",
    SKY: "--sky",
}
HALF, WIDE = 500, 1040
"""Widths of a drawing in CSS pixels: half of the page's column, or all of it."""

STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.size": 12.0,
    "axes.titlesize": 12.0,
    "axes.labelsize": 12.0,
    "legend.fontsize": 11.5,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 1.0,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.4,
    "legend.borderaxespad": 0.2,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


def draw(name: str, paint: Callable[..., None], *, width: int = HALF, height: int = 310, panels: int = 1) -> Markup:
    """Paint on fresh axes and return the drawing as SVG; equal input gives equal text.

    Args:
        name: unique on the page; prefixes every id in the SVG.
        paint: called with the axes, `panels` of them.
        width: CSS pixels.
        height: CSS pixels.
        panels: axes side by side.
    """
    from matplotlib import style

    with style.context(["default", STYLE | {"svg.hashsalt": name}]):
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)
        paint(*axes.flat)
        buffer = io.StringIO()
        empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=empty)
    return Markup(_inline(buffer.getvalue(), name))


def legend(axes: Axes, columns: int = 3) -> None:
    """Legend above the axes, flush left."""
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=columns)


def ticks(axis: Axis, *, logarithmic: bool, most: int = 6) -> None:
    """Few ticks, with plain numbers; logarithmic ones at 1, 2 and 5 where there are not many decades."""
    if not logarithmic:
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
        return
    low, high = axis.get_view_interval()
    subs = (1.0, 2.0, 5.0) if high < 300 * low else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.10g}" if 1e-4 <= value < 1e7 else f"{value:.0e}")
    )
    axis.set_minor_formatter(NullFormatter())


def dots(axes: Axes, x: Any, y: Any, tips: list[str], **options: Any) -> None:
    """Scatter whose points show a line of text under the pointer."""
    if len(tips):
        points = axes.scatter(x, y, **options)
        points.set_urls([f"tip:{tip}" for tip in tips])


def _inline(svg: str, name: str) -> str:
    """Cut the SVG down to what an HTML page needs and make it the page's own."""
    prefix = re.sub(r"[^A-Za-z0-9]+", "-", name)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<a xlink:href="tip:([^"]*)"[^>]*>(.*?)</a>', r"<g><title>\1</title>\2</g>", svg, flags=re.DOTALL)
    svg = re.sub(r' id="([^"]+)"', rf' id="{prefix}-\1"', svg)
    svg = re.sub(r'xlink:href="#', f'href="#{prefix}-', svg)
    svg = svg.replace("url(#", f"url(#{prefix}-")
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r'(?<= )(d|x|y|width|height|transform)="[^"]*"', _round, svg)
    svg = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(f": {colour}", f": var({variable}, {colour})")
    head = re.compile(r'<svg xmlns:xlink="[^"]*" width="([\d.]+)pt" height="([\d.]+)pt"([^>]*?) xmlns="[^"]*"[^>]*>')
    return head.sub(rf'<svg\3 style="max-width: \1px" role="img" aria-label="{escape(name)}">', svg, count=1)


def _round(attribute: re.Match[str]) -> str:
    """Two decimals of a place; more of what a picture is scaled by, whose pixels add up."""
    digits = 6 if "matrix" in attribute.group() or "scale" in attribute.group() else 2
    return re.sub(rf"(\.\d{{{digits}}})\d+", r"\1", attribute.group())
