"""How far a structure is like the data: volume fraction, two-point correlation, speckle, and the smallest feature.

Optimisation leads out of the data, where neither the generator nor a process that makes such materials has been. So a
search keeps each statistic where most of the data have theirs. Limits are taken from single structures of the data, so
they allow for how much these differ among themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.threads import limited
from matloop.surrogates.microstructure.arrays import axes
from matloop.surrogates.microstructure.two_point import without_fraction

TOO_FINE = 0.01
"""Share of pixels in features smaller than asked that is let pass: a digital edge has corners."""

ROUNDING = 1e-9

NAMES = ("volume_fraction", "two_point_distance", "speckle", "too_fine")


class Likeness:
    """Limits of a structure's statistics, and by how much they are exceeded.

    `volume_fraction` lies where the middle `share` of the data has it. `two_point_distance` is the root mean square
    difference over all lags between the structure's autocovariance, divided by its variance, and the mean of the data,
    over the root mean square of that mean; it is at most what `share` of the data have. So is `speckle`, the share of
    pixels that differ from all but at most one of their neighbours. `too_fine`, the share of pixels that belong to no
    disc of the smallest feature within their phase, is at most `TOO_FINE`.

    Args:
        data: (n, H, W) or (n, D, H, W), labels 0 and 1 of n structures.
        share: of the data within each limit, in (0, 1); None for no limits by the data.
        smallest_feature: pixels that every part of a phase is wide; 0 for no such limit.

    Raises:
        ConfigError: an option is out of range, or all data are of one phase.
    """

    def __init__(self, data: npt.NDArray[Any], *, share: float | None = 0.95, smallest_feature: int = 0) -> None:
        if share is not None and not 0 < share < 1:
            raise ConfigError(f"expected like_data between 0 and 1, or null for no limits, got {share}", at="like_data")
        if smallest_feature < 0:
            raise ConfigError(f"expected smallest_feature >= 0 pixels, got {smallest_feature}", at="smallest_feature")
        if 2 * smallest_feature > max(data.shape[1:]):
            raise ConfigError(
                f"expected smallest_feature of at most {max(data.shape[1:]) // 2} pixels, half a side, so that two "
                f"phases that wide have room, got {smallest_feature}",
                at="smallest_feature",
            )
        self.share, self.smallest_feature = share, smallest_feature
        self._dimensions = data.ndim - 1
        self._footprint = _disc(smallest_feature, self._dimensions)
        with torch.no_grad(), limited(1):
            images = torch.as_tensor(np.asarray(data, dtype=np.float64))
            self._mean = without_fraction(images, dimensions=self._dimensions).mean(0)
            self._size = self._mean.square().mean().sqrt()
            if not self._size > 0:
                raise ConfigError(
                    f"expected structures of two phases, got {len(data)} of one phase alone from the generator; "
                    "give it another volume fraction or a larger size",
                    at="space",
                )
            found = dict(zip(NAMES, self._statistics(images).numpy().T, strict=True))
        kept = 1.0 if share is None else share
        low, high = np.quantile(found["volume_fraction"], [(1 - kept) / 2, (1 + kept) / 2])
        self.limits: Mapping[str, tuple[float, float]] = {
            "volume_fraction": (float(low), float(high)),
            "two_point_distance": (0.0, float(np.quantile(found["two_point_distance"], kept, method="higher"))),
            "speckle": (0.0, float(np.quantile(found["speckle"], kept, method="higher"))),
            "too_fine": (0.0, TOO_FINE if smallest_feature else 1.0),
        }
        self._bound = [smallest_feature > 0 if name == "too_fine" else share is not None for name in NAMES]
        self._low, self._high = (torch.tensor([self.limits[n][k] for n in NAMES], dtype=torch.float64) for k in (0, 1))

    @property
    def limited(self) -> bool:
        """Whether anything is refused."""
        return any(self._bound)

    def holds(self, labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """(n, *sides) -> (n,): whether all limits are kept."""
        if not self.limited:
            return np.ones(len(labels), dtype=bool)
        with torch.no_grad(), limited(1):
            excess = self.excess(torch.as_tensor(np.asarray(labels, dtype=np.float64)))
        kept: npt.NDArray[np.bool_] = (excess <= ROUNDING).all(dim=1).numpy()
        return kept

    def excess(self, images: torch.Tensor) -> torch.Tensor:
        """By how much each statistic lies outside, over half the width of what is allowed; 0 within.

        Args:
            images: (n, *sides) float64 in [0, 1]; differentiable.

        Returns:
            (n, 4), as `NAMES`; 0 for what has no limit.
        """
        found = self._statistics(images)
        half = ((self._high - self._low) / 2).clamp_min(1e-3)
        beyond = torch.relu(torch.maximum(self._low - found, found - self._high)) / half
        return beyond * torch.tensor(self._bound, dtype=torch.float64)

    def of(self, labels: npt.NDArray[Any]) -> dict[str, float]:
        """Statistics of one structure, (*sides), by name; `too_fine` only if a smallest feature is asked for."""
        with torch.no_grad(), limited(1):
            values = self._statistics(torch.as_tensor(np.asarray(labels, dtype=np.float64)[None]))[0].tolist()
        found = dict(zip(NAMES, values, strict=True))
        return found if self.smallest_feature else {name: v for name, v in found.items() if name != "too_fine"}

    def broken(self, statistics: Mapping[str, float]) -> list[str]:
        """Names of those that lie outside their limits."""
        pairs = [(name, *self.limits[name]) for name, bound in zip(NAMES, self._bound, strict=True) if bound]
        return [name for name, low, high in pairs if not low - ROUNDING <= statistics[name] <= high + ROUNDING]

    def _statistics(self, images: torch.Tensor) -> torch.Tensor:
        """(n, *sides) -> (n, 4)."""
        over = axes(self._dimensions)
        distance = (without_fraction(images, dimensions=self._dimensions) - self._mean).square().mean(
            dim=over
        ).sqrt() / self._size
        return torch.stack([images.mean(dim=over), distance, self._speckle(images), self._too_fine(images)], dim=1)

    def _speckle(self, images: torch.Tensor) -> torch.Tensor:
        """Of labels 0 and 1 the share of pixels that differ from all but at most one neighbour.

        A pixel that differs from all counts once, too, but its slope remains: it is the first that ought to go.
        """
        over = axes(self._dimensions)
        differing = sum((images - torch.roll(images, step, axis)).abs() for axis in over for step in (1, -1))
        apart = torch.relu(torch.as_tensor(differing) - (2 * self._dimensions - 2))
        return (apart + (apart.clamp_max(1.0) - apart).detach()).mean(dim=over)

    def _too_fine(self, images: torch.Tensor) -> torch.Tensor:
        if not self.smallest_feature:
            return images.new_zeros(len(images))
        lost = (phase - self._opened(phase) for phase in (images, 1 - images))
        return sum(one.mean(dim=axes(self._dimensions)) for one in lost)  # type: ignore[return-value]

    def _opened(self, phase: torch.Tensor) -> torch.Tensor:
        """What discs that lie within the phase cover."""
        over = axes(self._dimensions)
        eroded = reduce(torch.minimum, (torch.roll(phase, [-i for i in at], over) for at in self._footprint))
        return reduce(torch.maximum, (torch.roll(eroded, at, over) for at in self._footprint))


def _disc(width: int, dimensions: int) -> list[tuple[int, ...]]:
    """Pixels of a disc (ball) of so many pixels across."""
    middle = (width - 1) / 2
    inside = (
        at for at in product(range(width), repeat=dimensions) if math.dist(at, (middle,) * dimensions) <= width / 2
    )
    return list(inside)
