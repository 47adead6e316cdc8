"""Microstructures by filtered white noise: a Gaussian field cut at a level, whose two-point statistics are exact.

The latent vector is the noise itself, one standard normal number a pixel. Nothing is trained, any size and volume
fraction will do, and the mean two-point correlation is known: it is what a trained generator has to beat. It is that of
a Gaussian autocorrelation, or the one of a micrograph.
Sources: Dietrich & Newsam, SIAM J. Sci. Comput. 18 (1997) 1088 (synthesis by FFT); Torquato, Random Heterogeneous
Materials (2002), section 8.1 (cut Gaussian fields); Quiblier, J. Colloid Interface Sci. 98 (1984) 84 (from a given
two-point correlation).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import norm
from torch import nn

from matloop.orchestrator.errors import ConfigError
from matloop.surrogates.generator.cut_law import Lags, cut_probability, field_correlation
from matloop.surrogates.generator.examples import Micrographs
from matloop.surrogates.generator.fields import autocorrelation
from matloop.surrogates.generator.interface import SOFTNESS, Distribution, Latents

LIMIT = 5.0
"""Bound of each latent number; one standard normal number in two million lies beyond."""


class GaussianField(nn.Module):
    """White noise to soft microstructures; differentiable, periodic, in the precision of its buffers.

    Args:
        size: side of the image in pixels, or the sides (H, W), or (D, H, W) of a volume.
        length: correlation length in pixels, up to the longest side: the field's autocorrelation is
            exp(-(r / length)^2). 4 if left out.
        volume_fraction: of the inclusion, on average, in (0, 1); 1/2, or that of the micrograph, if left out.
        micrograph: a label map (.npy) or picture whose two-point correlation the images have, in place of a length;
            lags that it is too small for are taken for those of no order. Images are (H, W).
        phase: label of the micrograph's inclusion; the highest one if left out.
        threshold: grey value of the micrograph above which is the inclusion.

    Attributes:
        field_correlation: (*sides) float64 by lag, autocorrelation of the field.

    Raises:
        ConfigError: an option is out of range.
    """

    distribution: Distribution = "normal"

    def __init__(
        self,
        *,
        size: int | Sequence[int] = 64,
        length: float | None = None,
        volume_fraction: float | None = None,
        micrograph: str | Path | None = None,
        phase: int | None = None,
        threshold: float | None = None,
    ) -> None:
        super().__init__()
        sides = _sides(size)
        if volume_fraction is not None and not (_is_number(volume_fraction) and 0 < volume_fraction < 1):
            raise ConfigError(
                f"expected a volume_fraction between 0 and 1, got {volume_fraction!r}", at="volume_fraction"
            )
        self.shape = (1, *sides)
        self.dimension = math.prod(sides)
        self._origin: dict[str, Any] = {}
        if micrograph is None:
            if phase is not None or threshold is not None:
                name = "threshold" if phase is None else "phase"
                raise ConfigError(f"expected a micrograph along with a {name}, got none", at=name)
            length = 4.0 if length is None else length
            if not (_is_number(length) and 0 < length <= max(sides)):
                raise ConfigError(
                    f"expected a correlation length above 0 and up to the longest side, {max(sides)} pixels, got "
                    f"{length!r}",
                    at="length",
                )
            self.volume_fraction = float(volume_fraction or 0.5)
            self._origin["length"] = float(length)
            wanted = autocorrelation(sides, float(length))
        else:
            if not isinstance(micrograph, str | Path):
                raise ConfigError(f"expected the path of a micrograph, got {micrograph!r}", at="micrograph")
            if length is not None or len(sides) != 2:
                raise ConfigError("expected a micrograph and an image (H, W), got a length or a volume, too", at="size")
            pictures = Micrographs.read(Path(micrograph), phase=phase, threshold=threshold, mirrors=False)
            self.volume_fraction = float(volume_fraction or pictures.volume_fraction)
            self._origin["micrograph"] = pictures.names
            wanted = _correlation_of(pictures, sides)
        spectrum = np.fft.rfftn(wanted).real.clip(min=0)  # a micrograph's, and rounding, may leave some below 0
        found = np.fft.irfftn(spectrum, s=sides, axes=tuple(range(len(sides))))
        spectrum /= found.flat[0]
        self.field_correlation: Lags = found / found.flat[0]
        self.level = float(norm.isf(self.volume_fraction))
        # steepness as that of trained generators, so that gradients of both reach equally far
        self.steepness = SOFTNESS / _median_distance(self.level)
        self.register_buffer("filter", torch.from_numpy(np.sqrt(spectrum)))

    @property
    def bounds(self) -> Latents:
        """(2, d) float64: -LIMIT and LIMIT."""
        return np.array([[-LIMIT], [LIMIT]]) * np.ones(self.dimension)

    @property
    def two_point(self) -> Lags:
        """(*sides) float64 by lag: the exact mean two-point correlation of the microstructures."""
        return cut_probability(self.field_correlation, self.volume_fraction)

    @property
    def card(self) -> Mapping[str, Any]:
        """See `MicrostructureGenerator`."""
        return {
            "kind": "field",
            "size": list(self.shape[1:]),
            **self._origin,
            "volume_fraction": self.volume_fraction,
            "latent": f"{self.dimension} standard normal numbers, one a pixel",
        }

    def sample(self, n: int, rng: np.random.Generator) -> Latents:
        """Standard normal numbers, (n, d) float64; the very few beyond the bounds are put on them."""
        return rng.standard_normal((n, self.dimension)).clip(-LIMIT, LIMIT)

    def field(self, z: torch.Tensor) -> torch.Tensor:
        """Gaussian field of variance 1 of the noise (..., d), as (..., *shape)."""
        if z.shape[-1:] != (self.dimension,):
            raise ValueError(f"expected z of shape (..., {self.dimension}), got {tuple(z.shape)}")
        sides = self.shape[1:]
        axes = tuple(range(-len(sides), 0))
        noise = torch.fft.rfftn(z.reshape(*z.shape[:-1], *sides), dim=axes)
        field: torch.Tensor = torch.fft.irfftn(noise * self.filter, s=sides, dim=axes)
        return field.unsqueeze(-1 - len(sides))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Render (..., d) as (..., *shape) in (0, 1), the dtype of z; above 1/2 is the inclusion phase."""
        return torch.sigmoid(self.steepness * (self.field(z) - self.level))


def _correlation_of(pictures: Micrographs, sides: tuple[int, ...]) -> Lags:
    """Autocorrelation of the field whose cut has the two-point correlation of micrographs."""
    inner = tuple(min(n, *(p.shape[axis] for p in pictures.learned)) for axis, n in enumerate(sides))
    known = field_correlation(pictures.two_point((inner[0], inner[1])), pictures.volume_fraction)
    rho = np.zeros(sides)
    rho[np.ix_(*((np.fft.fftfreq(n) * n).round().astype(int) % m for n, m in zip(inner, sides, strict=True)))] = known
    return rho


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _sides(size: object) -> tuple[int, ...]:
    sides = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else ()
    if len(sides) not in (2, 3) or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 2 for n in sides):
        raise ConfigError(f"expected a side, or two or three sides, of at least 2 pixels, got {size!r}", at="size")
    return sides


def _median_distance(level: float) -> float:
    """Median of |x - level| for a standard normal x."""
    from scipy.optimize import brentq

    return float(brentq(lambda t: norm.cdf(level + t) - norm.cdf(level - t) - 0.5, 0, abs(level) + 2))
