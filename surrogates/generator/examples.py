"""What a generator learns from: random fields drawn anew for every batch, or pieces of micrographs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.generator.cut_law import cut_probability
from matloop.surrogates.generator.fields import autocorrelation, gaussian_fields
from matloop.surrogates.microstructure.phases import MOST, loaded
from matloop.surrogates.microstructure.two_point import two_point_correlation, within

Phase = npt.NDArray[np.uint8]
Shape = tuple[int, int]

PICTURES = (".npy", ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".gif")


class Examples(Protocol):
    """Real two-phase microstructures to learn from.

    Attributes:
        periodic: whether what is drawn consists of unit cells; else structures go on beyond their borders.
        volume_fraction: of the inclusion, on average.
    """

    periodic: bool

    @property
    def volume_fraction(self) -> float: ...

    @property
    def notes(self) -> Mapping[str, Any]:
        """For the generator's card, JSON-able."""
        ...

    def draw(self, n: int, shape: Shape, rng: np.random.Generator, *, held_out: bool = False) -> Phase:
        """(n, H, W) uint8, 1 is the inclusion; those to learn from, or others to be judged by."""
        ...

    def fits(self, shape: Shape) -> bool:
        """Whether structures of that shape can be drawn."""
        ...

    def two_point(self, shape: Shape) -> npt.NDArray[np.float64]:
        """Mean two-point correlation of those to learn from at the lags of a unit cell of that shape, (H, W)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Periodic Gaussian fields cut at a level.

    Args:
        length: correlation length, pixels, > 0 (see `fields.autocorrelation`).
        volume_fraction: of the inclusion, on average, in (0, 1).

    Raises:
        ConfigError: one of them is out of its range.
    """

    length: float = 4.0
    volume_fraction: float = 0.5
    periodic = True

    def __post_init__(self) -> None:
        if not 0 < self.length < math.inf:
            raise ConfigError(f"expected a correlation length > 0 pixels, got {self.length}", at="length")
        if not 0 < self.volume_fraction < 1:
            raise ConfigError(
                f"expected a volume fraction between 0 and 1, got {self.volume_fraction}", at="volume_fraction"
            )

    @property
    def notes(self) -> Mapping[str, Any]:
        """See `Examples`."""
        return {"kind": "fields", "length": self.length, "volume_fraction": self.volume_fraction}

    def draw(self, n: int, shape: Shape, rng: np.random.Generator, *, held_out: bool = False) -> Phase:
        """See `Examples`; no field comes twice, so those held out are drawn like the others."""
        cut: Phase = (gaussian_fields(n, shape, self.length, rng) > norm.isf(self.volume_fraction)).astype(np.uint8)
        return cut

    def fits(self, shape: Shape) -> bool:
        """See `Examples`: any."""
        return True

    def two_point(self, shape: Shape) -> npt.NDArray[np.float64]:
        """See `Examples`: the exact law."""
        return cut_probability(autocorrelation(shape, self.length), self.volume_fraction)


class Micrographs:
    """Pieces of micrographs at random places.

    Where there are five micrographs or more, every fifth is held out; of fewer, those to be judged by come from the
    same micrographs.

    Args:
        pictures: two-phase, each (H, W) of 0 and 1.
        mirrors: whether mirror images are as likely, so that pieces are mirrored at random.
        turns: whether quarter turns are, too; then pieces have to be square.
        names: of the pictures, for the record.
    """

    periodic = False

    def __init__(
        self, pictures: Sequence[Phase], *, mirrors: bool = True, turns: bool = False, names: Sequence[str] = ()
    ) -> None:
        if not pictures:
            raise ConfigError("expected at least one micrograph, got none")
        self.mirrors, self.turns, self.names = mirrors, turns, list(names)
        apart = len(pictures) >= 5
        self.learned = [p for i, p in enumerate(pictures) if not apart or i % 5 != 4]
        self.judging = [p for i, p in enumerate(pictures) if i % 5 == 4] if apart else self.learned

    @classmethod
    def read(
        cls,
        path: Path,
        *,
        phase: int | None = None,
        threshold: float | None = None,
        mirrors: bool = True,
        turns: bool = False,
    ) -> Micrographs:
        """Read a picture or label map, or all in a folder.

        Args:
            path: .npy, or a picture; or a folder of these.
            phase: label of the inclusion in a label map; the highest one if left out.
            threshold: grey value above which is the inclusion.
            mirrors: see the class.
            turns: likewise.

        Raises:
            ConfigError: there is none, or it is not clear what its inclusion is.
        """
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURES) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise ConfigError(f"expected a micrograph ({', '.join(PICTURES)}) or a folder of them, got {path}")
        pictures = [two_phases(_values(f), phase=phase, threshold=threshold, name=f.name) for f in files]
        return cls(pictures, mirrors=mirrors, turns=turns, names=[f.name for f in files])

    @property
    def volume_fraction(self) -> float:
        """Share of the inclusion in all pixels to learn from."""
        return sum(int(p.sum()) for p in self.learned) / sum(p.size for p in self.learned)

    @property
    def notes(self) -> Mapping[str, Any]:
        """See `Examples`."""
        return {
            "kind": "micrographs",
            "names": self.names,
            "digest": self._digest(),
            "volume_fraction": round(self.volume_fraction, 4),
            "mirrors": self.mirrors,
            "turns": self.turns,
            "judged_by": "others" if self.judging is not self.learned else "pieces of the same micrographs",
        }

    def draw(self, n: int, shape: Shape, rng: np.random.Generator, *, held_out: bool = False) -> Phase:
        """See `Examples`. Larger micrographs are taken more often, by their pixels.

        Raises:
            ConfigError: a micrograph is smaller than the shape.
        """
        self._check_fits(shape)
        pictures = self.judging if held_out else self.learned
        weights = np.array([p.size for p in pictures], dtype=float)
        return np.stack(
            [self._piece(pictures[i], shape, rng) for i in rng.choice(len(pictures), n, p=weights / weights.sum())]
        )

    def fits(self, shape: Shape) -> bool:
        """See `Examples`: no more than the smallest micrograph."""
        return all(n <= side for p in self.learned + self.judging for n, side in zip(shape, p.shape, strict=True))

    def _check_fits(self, shape: Shape) -> None:
        if not self.fits(shape):
            smallest = min((p.shape for p in self.learned + self.judging), key=min)
            raise ConfigError(f"expected micrographs of at least {shape} pixels, got one of {smallest}", at="size")

    def _digest(self) -> str:
        """Of all pixels, so that a training is not taken up again with other pictures under the same names."""
        digest = hashlib.sha256()
        for picture in [*self.learned, *self.judging]:
            digest.update(f"{picture.shape}".encode() + np.ascontiguousarray(picture).tobytes())
        return digest.hexdigest()[:16]

    def _piece(self, picture: Phase, shape: Shape, rng: np.random.Generator) -> Phase:
        row, column = (int(rng.integers(side - n + 1)) for side, n in zip(picture.shape, shape, strict=True))
        piece = picture[row : row + shape[0], column : column + shape[1]]
        if self.mirrors:
            piece = piece[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        return np.rot90(piece, int(rng.integers(4))) if self.turns else piece

    def two_point(self, shape: Shape) -> npt.NDArray[np.float64]:
        """See `Examples`: of whole micrographs, made symmetric as the pieces are.

        Raises:
            ConfigError: a micrograph is smaller than the shape.
        """
        self._check_fits(shape)
        each = [within(two_point_correlation(p, periodic=False), shape) for p in self.learned]
        found: npt.NDArray[np.float64] = np.average(each, axis=0, weights=[p.size for p in self.learned])
        found = (found + _reversed(_reversed(found, 0), 1)) / 2  # at half of an even side lags j and -j are one
        if self.mirrors:
            found = (found + _reversed(found, 0)) / 2
        if self.turns:
            found = (found + _reversed(found.T, 0)) / 2
        return found


def _reversed(correlation: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    """By lag -j along an axis where it was by lag j."""
    return np.roll(np.flip(correlation, axis), 1, axis)


def two_phases(values: npt.NDArray[Any], *, phase: int | None, threshold: float | None, name: str) -> Phase:
    """A picture or label map as (H, W) uint8 of 0 and 1; see `Micrographs.read`.

    Raises:
        ConfigError: it is no picture, one of its phases is missing, or it is not clear what the inclusion is.
    """
    if values.ndim != 2 or not values.size:
        raise ConfigError(f"expected {name} to be a picture (H, W), got the shape {values.shape}")
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise ConfigError(f"expected {name} to hold finite numbers, got others ({values.dtype})")
    if threshold is not None and phase is not None:
        raise ConfigError(f"expected a phase or a threshold, got both, {phase} and {threshold:g}", at="threshold")
    if threshold is not None:
        found = values > threshold
    else:
        labels = np.unique(values)
        if len(labels) > MOST:
            raise ConfigError(
                f"expected {name} to hold at most {MOST} labels, got {len(labels)} grey values; give the one above "
                f"which is the inclusion, such as --threshold {otsu(values):.4g}"
            )
        found = values == (labels[-1] if phase is None else phase)
    if found.all() or not found.any():
        given = (
            ""
            if phase is threshold is None
            else f" at phase {phase}"
            if threshold is None
            else (f" at threshold {threshold:g}")
        )
        raise ConfigError(
            f"expected two phases in {name}, got one{given}; its values lie from {values.min():g} to {values.max():g}"
        )
    return found.astype(np.uint8)


def otsu(values: npt.NDArray[Any]) -> float:
    """Threshold between two classes whose means are furthest apart, by their weights.

    Source: Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62.
    """
    counts, edges = np.histogram(values, bins=256)
    weight = np.cumsum(counts)[:-1]
    moment = np.cumsum(counts * (edges[:-1] + edges[1:]) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = moment[:-1] / weight - (moment[-1] - moment[:-1]) / (weight[-1] + counts[-1] - weight)
    between = weight * (counts.sum() - weight) * apart**2
    return float(edges[1:-1][np.nanargmax(between)])


def _values(path: Path) -> npt.NDArray[Any]:
    try:
        if path.suffix.lower() == ".npy":
            return loaded(path)
        from PIL import Image

        with Image.open(path) as image:
            grey = image.mode in ("1", "L", "P", "I", "F") or image.mode.startswith("I;16")
            return np.asarray(image if grey else image.convert("L"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"expected a picture or a label map, got {path}, which cannot be read: {error}") from error
