"""The best structure: three by three periods with a scale, its spectrum among random ones, limits that it breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.report import figure as fig
from matloop.orchestrator.report import statistics, structures, text
from matloop.orchestrator.report.content import Block, Figure, Prose, Section
from matloop.orchestrator.report.sections import again
from matloop.orchestrator.report.study import NO_DESIGN, Study, random_of
from matloop.orchestrator.trial import Trial

TITLE = "The best structure"
TILES = 3
SPECTRUM = "spectrum"
COLUMNS = {"reflectance": 1, "transmittance": 2, "absorption": 3}
"""Of the artifact `spectrum`, whose first column is the wavelength in nm."""

LEAST, MOST = 10, 400
"""Random spectra that make a band, and that are read."""

BAND = (0.05, 0.95)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spectra:
    """What a structure does to light of each wavelength, beside random structures.

    Attributes:
        quantity: absorption, reflectance or transmittance.
        wavelengths_nm: (w,).
        best: (w,) of the structure.
        random: (n, w) of random ones, at the same wavelengths.
    """

    quantity: str
    wavelengths_nm: Array
    best: Array
    random: Array


def section(history: History, study: Study, found: Sequence[Study], store: ArtifactStore) -> Section | None:
    """Picture and spectrum; None for studies that look for no best, and where the best left no structure."""
    best = again.winner(study)
    if study.kind("strategy") in NO_DESIGN or best is None or structures.kind_of(best) is None:
        return None
    if (array := structures.load(store, best)) is None:
        lost = (
            f"The structure of trial {best.id} cannot be read: its file is missing or damaged, or holds no structure."
        )
        return Section(TITLE, (Prose(lost),))
    size = structures.size(history, store, best)
    name = f"{study.name}: the best structure"
    picture = fig.draw(name, lambda axes: _tiles(axes, structures.grey(array), size), height=400)
    blocks: list[Block] = [*_broken(study, best), Figure(picture, _caption(study, best, array, size))]
    if spectra := spectra_of(study, best, random_of(study, found), store):
        svg = fig.draw(f"{name}, spectrum", lambda axes: _spectrum(axes, spectra), height=400)
        blocks.append(Figure(svg, _told(spectra)))
    return Section(TITLE, tuple(blocks))


def spectra_of(study: Study, best: Trial, random: Study | None, store: ArtifactStore) -> Spectra | None:
    """Spectra of the first objective, or of the absorption where that is none of them; None if the best left none."""
    own = _spectrum_of(best, store)
    if own is None:
        return None
    sought = [o.name for o in study.objectives if o.name in COLUMNS]
    quantity = sought[0] if sought else "absorption"
    trials = random.answered if random else []
    chosen = (trials[i] for i in statistics.even(len(trials), MOST))
    others = [one for t in chosen if (one := _spectrum_of(t, store)) is not None]
    alike = [one[:, COLUMNS[quantity]] for one in others if np.array_equal(one[:, 0], own[:, 0])]
    return Spectra(quantity, own[:, 0], own[:, COLUMNS[quantity]], np.array(alike).reshape(len(alike), len(own)))


def _spectrum_of(trial: Trial, store: ArtifactStore) -> Array | None:
    """(w, 4) by rising wavelength; None if there is none, or it is something else."""
    if SPECTRUM not in trial.artifacts:
        return None
    try:
        array = np.asarray(store.load(trial.artifacts[SPECTRUM]))
    except (OSError, ValueError, EOFError):
        return None
    if array.ndim != 2 or array.shape[1] != 4 or len(array) < 2 or array.dtype.kind not in "iuf":
        return None
    return np.asarray(array[np.argsort(array[:, 0])], dtype=np.float64) if np.isfinite(array).all() else None


def _tiles(axes: Axes, pixels: npt.NDArray[np.uint8], size: structures.Size | None) -> None:
    width, height = (float(n) for n in pixels.shape[::-1]) if size is None else size.period_nm
    picture = np.tile(pixels, (TILES, TILES))
    extent = (0.0, TILES * width, TILES * height, 0.0)
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="none")
    axes.add_patch(Rectangle((width, height), width, height, fill=False, edgecolor=fig.ORANGE, linewidth=2.5))
    unit = "pixels" if size is None else "nm"
    axes.set_xlabel(f"x ({unit})")
    axes.set_ylabel(f"y ({unit})")
    axes.grid(False)
    axes.set_xticks([i * width for i in range(TILES + 1)])
    axes.set_yticks([i * height for i in range(TILES + 1)])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: text.number(value))


def _caption(study: Study, best: Trial, array: structures.Array, size: structures.Size | None) -> str:
    objective = study.objectives[0]
    parts = [f"Trial {best.id}, {text.name(objective)} {text.measured(objective, best)}: {TILES} × {TILES} periods"]
    parts[0] += ", one of them outlined." if array.ndim == 2 else " of its middle plane, one of them outlined."
    sides = " × ".join(str(n) for n in array.shape[::-1])
    if size is None:
        return f"{parts[0]} A period has {sides} pixels; its size in nm is not known."
    lengths = " × ".join(text.number(length) for length in dict.fromkeys(size.period_nm))
    pixel = size.period_nm[0] / array.shape[-1]
    thick = f", the film is {text.number(size.thickness_nm)} nm thick" if size.thickness_nm and array.ndim == 2 else ""
    square = " square" if len(set(size.period_nm)) == 1 else ""
    return f"{parts[0]} A period is {lengths} nm{square}, {sides} pixels of {text.number(pixel)} nm{thick}."


def _broken(study: Study, best: Trial) -> list[Prose]:
    """What the best breaks, and how many of all break something."""
    noted = [t for t in study.answered if structures.violations(t) or structures.outside(t)]
    if not noted:
        return []
    faults = structures.faults(best)
    own = f"The best structure {_joined(faults)}." if faults else "The best structure breaks no limit."
    verbs = ("breaks", "is") if len(noted) == 1 else ("break", "are")
    counted = f"Of {len(study.answered):,} structures {len(noted):,} {verbs[0]} a limit or {verbs[1]} unlike the data."
    return [Prose(f"{own} {counted}")]


def _joined(faults: Sequence[str]) -> str:
    return "; it ".join(f"is {fault}" if fault.startswith("outside") else fault for fault in faults)


def _spectrum(axes: Axes, spectra: Spectra) -> None:
    x = spectra.wavelengths_nm
    if len(spectra.random) >= LEAST:
        low, middle, high = np.quantile(spectra.random, [BAND[0], 0.5, BAND[1]], axis=0)
        axes.fill_between(x, low, high, color=fig.MUTED, alpha=0.18, linewidth=0, label="random, 5–95 %")
        axes.plot(x, middle, color=fig.MUTED, linewidth=1.2, label="random, median")
    axes.plot(x, spectra.best, "o-", color=fig.BLUE, markersize=5, label="best", clip_on=False)
    axes.set_xlim(float(x[0]), float(x[-1]))
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("wavelength (nm)")
    axes.set_ylabel(spectra.quantity)
    fig.ticks(axes.xaxis, logarithmic=False)
    fig.ticks(axes.yaxis, logarithmic=False)
    fig.legend(axes)


def _told(spectra: Spectra) -> str:
    words = f"{spectra.quantity.capitalize()} by wavelength."
    if len(spectra.random) < LEAST:
        return f"{words} There are too few random structures at these wavelengths for a band."
    low, high = np.quantile(spectra.random, BAND, axis=0)
    n, above, below = len(low), int(np.sum(spectra.best > high)), int(np.sum(spectra.best < low))
    place = f"It lies above the band at {above} of {n} wavelengths" + (f" and below it at {below}." if below else ".")
    return f"{words} Band: 5–95 % of {len(spectra.random):,} random structures. {place}"
