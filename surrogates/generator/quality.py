"""How well generated microstructures match real ones: structure, variety, and the spread of the volume fraction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.surrogates.generator.examples import Examples
from matloop.surrogates.generator.interface import phases
from matloop.surrogates.generator.network import Generator
from matloop.surrogates.microstructure.distances import pairwise_distances
from matloop.surrogates.microstructure.errors import covariance_error, lineal_path_error, s2_error
from matloop.surrogates.microstructure.lineal_path import lineal_path
from matloop.surrogates.microstructure.speckle import speckle
from matloop.surrogates.microstructure.two_point import two_point_correlation

PLACES: Mapping[str, float] = {"inside": 1.0, "corners": 0.25, "doubled": 0.5}
"""Where latent vectors are examined, and what each counts in the choice of a checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Statistics of generated microstructures against real ones; those of a second real set show the noise.

    Attributes:
        s2_error: RMS over lags of the difference of mean two-point correlations, over the RMS of the real one.
        covariance_error: the same with the squared mean volume fraction taken off first. Far lags carry little of
            it, so this is several times larger and the stricter figure.
        lineal_path_error: difference of mean lineal paths summed over lags, over their sum; of the worse phase.
        diversity: mean distance (share of differing pixels) of two generated structures, over that of two real ones.
        nearest: mean distance of a structure to its nearest neighbour in its own set, over that of the real set;
            near 0 when the generator repeats itself.
        speckle: pixels that stand out from their neighbours, over those of the real ones (1 is right).
        volume_fraction_mean: of the generated structures.
        volume_fraction_spread: standard deviation from structure to structure, over that of the real ones.
    """

    s2_error: float
    covariance_error: float
    lineal_path_error: float
    diversity: float
    nearest: float
    speckle: float
    volume_fraction_mean: float
    volume_fraction_spread: float

    @property
    def score(self) -> float:
        """One figure to choose a checkpoint by, 0 is best: structure, clean edges, variety and spread weigh alike."""
        structure = self.covariance_error + self.lineal_path_error
        return structure + sum(abs(1 - ratio) for ratio in (self.speckle, self.nearest, self.volume_fraction_spread))


def compare(generated: npt.NDArray[Any], real: npt.NDArray[Any], *, periodic: bool = True) -> Quality:
    """Compare two sets of two-phase structures.

    Args:
        generated: (n, H, W), 0 or 1.
        real: (n, H, W), of equal n, for distances to a nearest neighbour depend on it.
        periodic: whether all are unit cells; else pieces, within whose borders all is counted.
    """
    if generated.shape != real.shape:
        raise ValueError(f"expected sets of one shape (n, H, W), got {generated.shape} and {real.shape}")
    correlation, reference = (two_point_correlation(a, periodic=periodic).mean(axis=0) for a in (generated, real))
    fractions, fractions_real = (a.mean(axis=(1, 2)) for a in (generated, real))
    (mean, nearest), (mean_real, nearest_real) = (_distances(a) for a in (generated, real))
    specks, specks_real = (speckle(a if periodic else _unfolded(a)) + 1 / real.size for a in (generated, real))
    return Quality(
        s2_error=s2_error(correlation, reference),
        covariance_error=covariance_error(
            correlation, reference, float(fractions.mean()) ** 2, float(fractions_real.mean()) ** 2
        ),
        lineal_path_error=max(_path_error(generated == k, real == k, periodic) for k in (0, 1)),
        diversity=mean / mean_real,
        nearest=nearest / nearest_real,
        speckle=specks / specks_real,  # with a little more, for the real ones may have none
        volume_fraction_mean=float(fractions.mean()),
        volume_fraction_spread=float(fractions.std() / fractions_real.std()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """Latent vectors from three places, and real structures that those of each are held against.

    Attributes:
        latents: by place, (n, d): "inside" are drawn from the latent distribution; at "corners" each number is -1 or
            1; "doubled" are drawn for twice the latent grid, unless the examples are too small for it.
        real: by place, (n, H, W).
        periodic: whether the real ones are unit cells; else the latent vectors are those of larger images, of which
            pieces of the same size are compared.
    """

    latents: Mapping[str, npt.NDArray[np.float64]]
    real: Mapping[str, npt.NDArray[np.uint8]]
    periodic: bool

    @classmethod
    def of(cls, generator: Generator, examples: Examples, n: int, rng: np.random.Generator) -> Examination:
        """Draw n latent vectors and real structures; of the larger ones, which cost more, a half of n."""
        height, width = generator.architecture.size
        real = examples.draw(n, (height, width), rng, held_out=True)
        drawn = cls._rendering(generator, (height, width), examples.periodic)
        latents = {"inside": drawn.sample(n, rng), "corners": np.sign(drawn.sample(n, rng))}
        pictures = dict.fromkeys(PLACES, real)
        twice = (2 * height, 2 * width)
        if examples.fits(twice):
            latents["doubled"] = cls._rendering(generator, twice, examples.periodic).sample(n // 2, rng)
            pictures["doubled"] = examples.draw(n // 2, twice, rng, held_out=True)
        return cls(latents=latents, real=pictures, periodic=examples.periodic)

    @staticmethod
    def _rendering(generator: Generator, size: tuple[int, int], periodic: bool) -> Generator:
        fitting = generator.resized(size)
        return fitting if periodic else fitting.with_margin()

    def qualities(self, generator: Generator) -> dict[str, Quality]:
        """Quality of a generator on the CPU, by place."""
        found = {}
        for place, z in self.latents.items():
            height, width = self.real[place].shape[1:]
            made = phases(self._rendering(generator, (height, width), self.periodic), z)
            found[place] = compare(made[:, :height, :width], self.real[place], periodic=self.periodic)
        return found


def total(qualities: Mapping[str, Quality]) -> float:
    """The scores of all places as one, 0 is best."""
    return sum(PLACES[place] * quality.score for place, quality in qualities.items())


def _path_error(generated: npt.NDArray[np.bool_], real: npt.NDArray[np.bool_], periodic: bool) -> float:
    """Of the mean lineal path along both axes, up to half of the shorter side."""
    longest = min(real.shape[1:]) // 2 - 1
    found, wanted = (lineal_path(a, periodic=periodic, longest=longest).mean(axis=(0, 1)) for a in (generated, real))
    return lineal_path_error(found, wanted)


def _unfolded(pieces: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Unit cells of pieces (n, H, W) and their mirror images, without seams where they meet."""
    return np.pad(pieces, ((0, 0), (0, pieces.shape[1] - 2), (0, pieces.shape[2] - 2)), mode="reflect")


def _distances(phase: npt.NDArray[Any]) -> tuple[float, float]:
    """Mean distance of two different structures, and mean distance of one to its nearest neighbour."""
    distances = pairwise_distances(phase)
    n = len(distances)
    mean = float(distances.sum() / (n * (n - 1)))
    np.fill_diagonal(distances, np.inf)
    return mean, float(distances.min(axis=1).mean())
