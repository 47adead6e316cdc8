"""Microstructures as GDSII: one cell is one period, in µm, with pixels merged into polygons.

GDSII knows no holes, so a polygon with a hole is cut open along a line of no width, as all programs do. Coordinates are
whole numbers of the file's unit: 1 nm where all corners of pixels lie on it, else 1 pm, to which they are rounded.
x grows with the columns and y with the rows, as in the simulation, and y points up: a viewer shows the first row at the
bottom, where pictures have it on top.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import MatloopError, MissingExtra

if TYPE_CHECKING:
    import gdstk

CELL, ARRAY = "period", "array"
FARTHEST = 2**31 - 1
"""Units from the origin; coordinates are 32-bit."""

REPEATS, LAYER = 2**15 - 1, 2**16 - 1
"""Most periods along a side, and the last layer; both are 16-bit, the first with a sign."""

CORNERS = 4000
"""Of a polygon, at most; the format holds 8,191, and larger ones are cut."""


def write(
    path: Path,
    labels: npt.ArrayLike,
    period_nm: tuple[float, float],
    *,
    layer: int = 1,
    repeats: int = 1,
) -> list[int]:
    """Write the phases from 1 on, each into a layer of its own.

    Args:
        path: of the file.
        labels: (H, W) of 0, 1, ….
        period_nm: sides of the cell along x and y, nm.
        layer: of phase 1, from 0; phase 2 is on the next, and so on.
        repeats: periods along x and along y; above 1 there is a second cell, an array of references to the first.

    Returns:
        Layers that have polygons.

    Raises:
        MissingExtra: gdstk is not installed.
        MatloopError: the array is too large for the format's coordinates, a pixel is too small for them, or there are
            more periods or layers than it can number.
    """
    try:
        import gdstk
    except ModuleNotFoundError as error:
        raise MissingExtra("gdstk") from error
    pixels = np.asarray(labels)
    width, height = period_nm
    sides = width / pixels.shape[1], height / pixels.shape[0]
    unit_nm = 1.0 if all(abs(side - round(side)) < 1e-9 for side in sides) else 1e-3
    _check(period_nm, sides, unit_nm, layer + max(0, int(pixels.max(initial=0)) - 1), repeats)
    library = gdstk.Library(unit=1e-6, precision=unit_nm * 1e-9)
    cell = library.new_cell(CELL)
    layers = []
    for phase in range(1, int(pixels.max(initial=0)) + 1):
        polygons = merged(pixels == phase)
        for polygon in polygons:
            corners = np.array(polygon) * np.array(sides) / unit_nm
            cell.add(gdstk.Polygon(np.rint(corners) * unit_nm / 1000, layer=layer + phase - 1))
        layers += [layer + phase - 1] if polygons else []
    if repeats > 1:
        spacing = (width / 1000, height / 1000)
        library.new_cell(ARRAY).add(gdstk.Reference(cell, columns=repeats, rows=repeats, spacing=spacing))
    library.write_gds(path, max_points=CORNERS, timestamp=datetime(2000, 1, 1))  # equal structures, equal files
    return layers


def _check(period_nm: tuple[float, float], sides: tuple[float, float], unit_nm: float, last: int, repeats: int) -> None:
    """Refuse what the format's whole numbers cannot hold, and gdstk writes all the same."""
    if repeats > REPEATS:
        raise MatloopError(f"expected at most {REPEATS} periods along a side, got {repeats}; give fewer with --tiles")
    if repeats * max(period_nm) / unit_nm > FARTHEST:
        raise MatloopError(
            f"expected an array of at most {FARTHEST * unit_nm / 1000:g} µm, got {repeats} periods of "
            f"{max(period_nm) / 1000:g} µm; give fewer with --tiles"
        )
    if min(sides) < unit_nm:
        raise MatloopError(f"expected pixels of at least {unit_nm:g} nm, got {min(sides):g} nm; give a larger --period")
    if last > LAYER:
        raise MatloopError(f"expected layers up to {LAYER}, got {last} for the last phase; give a lower --layer")


def merged(phase: npt.NDArray[np.bool_]) -> list[Any]:
    """Outlines of a phase, holes cut open, with corners in pixels.

    Args:
        phase: (H, W).
    """
    import gdstk

    strips = [gdstk.rectangle((start, row), (end, row + 1)) for row, start, end in _runs(phase)]
    found: list[gdstk.Polygon] = gdstk.boolean(strips, [], "or", precision=1e-3)
    return [polygon.points for polygon in found]


def _runs(phase: npt.NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Row, first column and the column after the last of each stretch of a phase along the rows."""
    edges = np.diff(np.pad(phase, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)
    return [(int(row), int(start), int(end)) for (row, start), (_, end) in zip(starts, ends, strict=True)]
