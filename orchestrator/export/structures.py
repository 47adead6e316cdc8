"""The microstructure of a trial as a file: picture (PNG), array (NPY), layout (GDS) or closed surface (STL)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.export import gds, stl
from matloop.orchestrator.export.studies import having
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.report import text
from matloop.orchestrator.report.sections import again
from matloop.orchestrator.report.structures import KINDS, Array, Labels, Size, grey, kind_of, labels, load, size
from matloop.orchestrator.report.study import studies
from matloop.orchestrator.trial import Trial

PIXELS, VOXELS = 2**25, 2**22
"""Of a tiled picture or array, and of a tiled solid, at most; more would need gigabytes of memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a structure is to be written.

    Attributes:
        tiles: periods along each side, >= 1.
        period_nm: side of one period along x, nm, where the driver does not say or to write another size; pixels are
            then square.
        thickness_nm: of a film that becomes a solid, nm, where the driver does not say.
        layer: of phase 1 in a layout; phase 2 is on the next, and so on.
        phase: that becomes a solid.
    """

    tiles: int = 1
    period_nm: float | None = None
    thickness_nm: float | None = None
    layer: int = 1
    phase: int = 1


@dataclass(frozen=True, slots=True)
class Found:
    """A trial's structure."""

    trial: Trial
    array: Array
    size: Size | None

    @property
    def labels(self) -> Labels:
        """Its phases.

        Raises:
            MatloopError: it holds grey values.
        """
        found = labels(self.array)
        if found is None:
            raise MatloopError(
                f"expected the structure of trial {self.trial.id} to be of phases, got grey values; "
                "write it as FILE.npy"
            )
        return found


def find(history: History, store: ArtifactStore, study: str | None = None, trial: int | None = None) -> Found:
    """The structure of a trial, by default of the best.

    The best of a study that measured others' winners again is the best by its closest measurement.

    Args:
        history: of the campaign.
        store: of its artifacts.
        study: which; None where only one is meant (see `having`).
        trial: its id.

    Raises:
        MatloopError: there is no such trial, or it left no structure that can be read.
    """
    chosen = _trial(history, trial, study) if trial is not None else _best(history, study)
    array = load(store, chosen)
    if array is None:
        raise MatloopError(
            f"the structure of trial {chosen.id} cannot be read: "
            f"{store.path(chosen.artifacts[kind_of(chosen) or KINDS[0]])} is missing or damaged"
        )
    return Found(chosen, array, size(history, store, chosen))


def write(found: Found, path: Path, shape: Shape) -> str:
    """Write it in the format that the file's name says.

    Args:
        found: the structure.
        path: FILE.png, FILE.npy, FILE.gds or FILE.stl; its folder is made.
        shape: how.

    Returns:
        What was written, in a line.

    Raises:
        MatloopError: another format, the structure does not fit into this one, or its size is not known.
        MissingExtra: gdstk is not installed.
    """
    if (writer := WRITERS.get(path.suffix.lower())) is None:
        raise MatloopError(f"expected a structure's file to end in {', '.join(WRITERS)}, got {str(path)!r}")
    if shape.tiles < 1:
        raise MatloopError(f"expected --tiles N with N >= 1, got {shape.tiles}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"structure of trial {found.trial.id} ({found.trial.study}), {writer(found, path, shape)} → {path}"


def _png(found: Found, path: Path, shape: Shape) -> str:
    from matplotlib.image import imsave

    if found.array.ndim != 2:
        raise MatloopError("expected a structure in a plane for FILE.png, got one in space; write FILE.stl or FILE.npy")
    pixels = _tiled(grey(found.array), shape.tiles, PIXELS)
    imsave(path, pixels, cmap="gray", vmin=0, vmax=255, format="png", metadata={"Software": "matloop"})
    return f"{pixels.shape[1]} × {pixels.shape[0]} pixels"


def _npy(found: Found, path: Path, shape: Shape) -> str:
    array = _tiled(found.array, shape.tiles, PIXELS)
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    return f"{array.dtype} of shape {array.shape}"


def _gds(found: Found, path: Path, shape: Shape) -> str:
    if found.array.ndim != 2:
        raise MatloopError("expected a structure in a plane for FILE.gds, got one in space; write FILE.stl or FILE.npy")
    width, height = _periods(found, shape) or (0.0, 0.0)
    if not width:
        raise MatloopError(
            f"the driver of study {found.trial.study!r} does not say how large a period is; give "
            "--period NM for FILE.gds"
        )
    layers = gds.write(path, found.labels, (width, height), layer=shape.layer, repeats=shape.tiles)
    repeated = f", {shape.tiles} × {shape.tiles} times" if shape.tiles > 1 else ""
    on = f"layer {', '.join(map(str, layers))}" if layers else "no polygons"
    return f"period {width / 1000:g} × {height / 1000:g} µm on {on}{repeated}"


def _stl(found: Found, path: Path, shape: Shape) -> str:
    solid = found.labels == shape.phase
    if not solid.any():
        raise MatloopError(f"trial {found.trial.id} has nothing of phase {shape.phase}; choose another with --phase")
    film, periods = solid.ndim == 2, _periods(found, shape)
    if film and shape.thickness_nm is not None and periods is None:
        raise MatloopError(
            f"expected --period NM with --thickness NM, since the driver of study {found.trial.study!r} does not say "
            "how large a period is; give both, or neither for lengths in pixels"
        )
    side = (1.0, 1.0) if periods is None else (periods[0] / solid.shape[-1], periods[1] / solid.shape[-2])
    voxels = _tiled(solid, shape.tiles, VOXELS)
    high = _thickness(found, shape, side[0]) if film else side[0]
    number = stl.write(path, voxels[None] if film else voxels, (*side, high))
    unit = "pixels" if periods is None else "nm"
    thick = f", a film of thickness {text.number(high)}" if film else ""
    return f"{number:,} triangles, lengths in {unit}{thick}"


def _tiled(array: Array, tiles: int, most: int) -> Array:
    """Periods beside each other along all sides."""
    if tiles > 1 and (size := array.size * tiles**array.ndim) > most:
        raise MatloopError(f"expected at most {most:,} pixels, got {size:,}; give fewer periods with --tiles")
    return np.tile(array, (tiles,) * array.ndim)


def _thickness(found: Found, shape: Shape, pixel: float) -> float:
    """Of a film; where nobody knows it, a pixel."""
    known = found.size.thickness_nm if found.size else None
    return shape.thickness_nm or known or pixel


def _periods(found: Found, shape: Shape) -> tuple[float, float] | None:
    """Along x and y, nm."""
    if shape.period_nm is not None:
        height, width = found.array.shape[-2:]
        return shape.period_nm, shape.period_nm * height / width
    return found.size.period_nm if found.size else None


Writer = Callable[[Found, Path, Shape], str]
WRITERS: Mapping[str, Writer] = {".png": _png, ".npy": _npy, ".gds": _gds, ".stl": _stl}
"""By suffix."""


def _trial(history: History, number: int, study: str | None) -> Trial:
    known = {t.id: t for t in history.trials if t.study and study in (None, t.study)}
    if number not in known:
        where = f" of study {study!r}" if study else ""
        raise MatloopError(f"expected the id of a trial{where}, got {number}; `matloop export --csv FILE` lists them")
    if kind_of(known[number]) is None:
        left = [t.id for t in known.values() if kind_of(t)]
        listed = ", ".join(map(str, left[:20])) + (", …" if len(left) > 20 else "")
        raise MatloopError(f"trial {number} left no structure; those of trials {listed or 'none'} can be written")
    return known[number]


def _best(history: History, named: str | None) -> Trial:
    left, candidates = having(history, KINDS, named)
    if not left:
        raise MatloopError("no trial has left a structure yet; `matloop status` shows how far the campaign is")
    if named and named not in left:
        raise MatloopError(f"study {named!r} has left no structure; name one that has with --study: {', '.join(left)}")
    if len(candidates) != 1:
        raise MatloopError(f"expected one study with structures, got {', '.join(candidates)}; name one with --study")
    study = next(s for s in studies(history) if s.name == candidates[0])
    ranked = again.ranking(study) if study.objectives else []
    pictured = [t for t in (again.winner(study), *ranked) if t is not None and kind_of(t)]
    if not pictured:
        raise MatloopError(f"no trial of study {study.name!r} with a structure keeps the limits; name one with --trial")
    return pictured[0]
