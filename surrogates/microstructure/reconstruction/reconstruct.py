"""Reconstruct: from one micrograph to new structures with its statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from matloop.surrogates.microstructure.agreement import Agreement, agreement
from matloop.surrogates.microstructure.phases import label_map
from matloop.surrogates.microstructure.reconstruction.annealing import annealed
from matloop.surrogates.microstructure.reconstruction.relaxation import relaxed
from matloop.surrogates.microstructure.reconstruction.rounding import rounded
from matloop.surrogates.microstructure.reconstruction.swaps import State, measured, swapped
from matloop.surrogates.microstructure.reconstruction.target import Target, target_of, with_neighbours

Method = Literal["descriptors", "annealing", "gram", "vgg"]

USUAL: Mapping[str, tuple[int, int]] = {
    "descriptors": (4000, 3),
    "annealing": (1500, 1),
    "gram": (150, 1),
    "vgg": (40, 1),
}
"""Steps and starts by method."""

MOVES = 5000
"""Exchanges of pixels at the end, at most; few hundreds are usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much work is done.

    Attributes:
        steps: of descent (descriptors), of L-BFGS (gram, vgg), or of hundreds of exchanges tried (annealing); as many
            as take about two seconds for 64 x 64 pixels, if left out.
        starts: structures from different noise, of which the best is kept; 3 of descriptors and 1 else, if left out.
        path_weight: of lineal paths beside correlations, >= 0 (descriptors).
        weights: file with the weights of VGG-19 (vgg); see `gram.vgg`.
    """

    steps: int | None = None
    starts: int | None = None
    path_weight: float = 5.0
    weights: Path | None = None

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: a number is out of its range.
        """
        if any(n is not None and n < 1 for n in (self.steps, self.starts)):
            raise ValueError(f"expected steps and starts >= 1, got {self.steps} and {self.starts}")
        if not (self.path_weight >= 0 and math.isfinite(self.path_weight)):
            raise ValueError(f"expected path_weight >= 0, got {self.path_weight}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """A structure made from a micrograph.

    Attributes:
        labels: (H, W) or (D, H, W) uint8, periodic. Phases are numbered 0, 1, … in the rising order of the
            micrograph's values: of 0, 2 and 7, phase 1 is what was 2.
        agreement: of its statistics with the micrograph's; for a volume from a plane, that of all its slices in three
            directions.
        likeness: how much it is a copy: 0 for an independent structure, 1 for the micrograph itself, moved or
            mirrored; NaN where the shapes differ.
    """

    labels: npt.NDArray[np.uint8]
    agreement: Agreement
    likeness: float


def reconstruct(
    micrograph: npt.NDArray[Any],
    *,
    shape: tuple[int, ...] | None = None,
    periodic: bool = False,
    method: Method = "descriptors",
    seed: int = 0,
    settings: Settings | None = None,
) -> Reconstruction:
    """Make a periodic structure with the statistics of a micrograph; the same seed gives the same one.

    Args:
        micrograph: (H, W) or (D, H, W) labels, 2 to 8 different values (see `phases.cut` for grey values).
        shape: of the structure; the micrograph's if left out. Three numbers make a volume of a plane.
        periodic: whether the micrograph is a unit cell. If not, nothing is taken to go on at its borders.
        method: descriptors (correlations and lineal paths, by descent and exchanges of pixels), annealing
            (Yeong-Torquato), gram (random filters) or vgg.
        seed: >= 0.
        settings: how much work is done.

    Raises:
        ValueError: the micrograph is none, or the method cannot make what is asked for.
    """
    if method not in get_args(Method):
        raise ValueError(f"expected a method among {', '.join(get_args(Method))}, got {method!r}")
    settings = settings or Settings()
    labels = label_map(micrograph)
    wanted = checked_shape(labels.shape, shape)
    target = target_of(labels, wanted, periodic=periodic)
    rng = np.random.default_rng(seed)
    usual = USUAL[method]
    steps, starts = settings.steps or usual[0], settings.starts or usual[1]
    found = [_made(labels, target, method, rng, steps, settings) for _ in range(starts)]
    best = min(found, key=lambda state: state.value).labels
    return Reconstruction(
        labels=best, agreement=compared(best, labels, periodic=periodic), likeness=likeness(best, labels)
    )


def checked_shape(micrograph: tuple[int, ...], shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """The shape of a structure from a micrograph of another shape, or of the same one if left out.

    Raises:
        ValueError: no structure of that shape can be made.
    """
    wanted = tuple(shape or micrograph)
    if len(wanted) not in (len(micrograph), 3) or min(wanted) < 2:
        raise ValueError(f"expected a shape like {micrograph} or of three sides, all sides >= 2, got {wanted}")
    if len(wanted) > len(micrograph) and len(set(wanted)) > 1:
        raise ValueError(f"expected three equal sides of a volume from a plane, got {wanted}")
    return wanted


def _made(
    labels: npt.NDArray[np.uint8],
    target: Target,
    method: Method,
    rng: np.random.Generator,
    steps: int,
    settings: Settings,
) -> State:
    if method == "descriptors":
        start = rounded(relaxed(target, rng, steps=steps), target.counts)
        return swapped(with_neighbours(target), start, rng, moves=MOVES, path_weight=settings.path_weight)
    if method == "annealing":
        return measured(target, annealed(target, rng, swaps=100 * steps), settings.path_weight)
    from matloop.surrogates.microstructure.reconstruction import gram

    if method == "vgg" and settings.weights is None:
        raise ValueError("expected a file with the weights of VGG-19 for the method vgg; set `weights`")
    filters = gram.vgg(settings.weights) if settings.weights and method == "vgg" else gram.random_filters(target.phases)
    soft = gram.by_gram_matrices(labels, target, filters, rng, steps=steps)
    return measured(target, rounded(soft, target.counts), settings.path_weight)


def compared(made: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], *, periodic: bool) -> Agreement:
    """Agreement of a structure with its micrograph; of a volume's slices in three directions with a plane."""
    if made.ndim == labels.ndim:
        return agreement(made, labels, dimensions=labels.ndim, periodic=periodic)
    slices = np.concatenate([np.moveaxis(made, axis, 0) for axis in range(3)])
    return agreement(slices, labels, dimensions=2, periodic=periodic)


def likeness(made: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> float:
    """See `Reconstruction`: the largest overlap with the micrograph over all shifts and mirrorings along the axes.

    It is the correlation coefficient of the pixels, over all phases together.
    """
    if made.shape != labels.shape:
        return math.nan
    over = tuple(range(made.ndim))
    overlap = np.zeros((2**made.ndim, *made.shape))
    size = 0.0
    for phase in range(1 + int(labels.max())):
        a, b = ((of == phase) - (of == phase).mean() for of in (made, labels))
        spectrum = np.fft.rfftn(a)
        size += float(np.sqrt((a**2).sum() * (b**2).sum()))
        for way in range(2**made.ndim):
            mirrored = np.flip(b, tuple(axis for axis in over if way >> axis & 1))
            overlap[way] += np.fft.irfftn(spectrum.conj() * np.fft.rfftn(mirrored), s=made.shape, axes=over)
    return float(overlap.max() / size) if size else 1.0
