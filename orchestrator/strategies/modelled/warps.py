"""Monotone scales on which a model may see an objective's values: as they are, logarithms, powers, inverse sinh.

A property that spans decades is one number and much near nothing on a linear scale, and smooth on a logarithmic one.

References:
    Box & Cox, J. R. Stat. Soc. B 26 (1964) 211: powers, of which the logarithm is the limit.
    Burbidge, Magee & Robb, J. Am. Stat. Assoc. 83 (1988) 123: the inverse hyperbolic sine, for values of any sign.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch

MOST = 1e120
"""Size of a value that a scale gives back at most; measurements end at 1e100."""

EXPONENTS = (0.25, 0.5)
"""Of the powers that are considered; 0 is the logarithm and 1 the linear scale."""


class Warp(Protocol):
    """An increasing function of a value, and its way back; tensors of any shape, float64."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """Values to the scale."""
        ...

    def inverse(self, u: torch.Tensor) -> torch.Tensor:
        """Back, within ±`MOST`."""
        ...

    def slope(self, v: torch.Tensor) -> torch.Tensor:
        """Derivative of `forward`, > 0."""
        ...


@dataclass(frozen=True, slots=True)
class Linear:
    """Values as they are."""

    name: str = "linear"

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        return v

    def inverse(self, u: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        return u.clamp(-MOST, MOST)

    def slope(self, v: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        return torch.ones_like(v)


@dataclass(frozen=True, slots=True)
class Logarithm:
    """Natural logarithms.

    Attributes:
        least: > 0, what zero and negative values count as.
    """

    least: float
    name: str = "log"

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        return torch.where(v <= 0, self.least, v).log()

    def inverse(self, u: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        return u.clamp_max(math.log(MOST)).exp()

    def slope(self, v: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        return 1 / torch.where(v <= 0, self.least, v)


@dataclass(frozen=True, slots=True)
class Power:
    """Values to an exponent between 0 and 1; below 0, where no measurement was, it goes on as a straight line would.

    Attributes:
        exponent: in (0, 1).
        unit: > 0, a typical value, so that nothing overflows.
    """

    exponent: float
    unit: float

    @property
    def name(self) -> str:
        """See `Warp`."""
        return f"power {self.exponent:g}"

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        return (v / self.unit).clamp_min(0.0) ** self.exponent

    def inverse(self, u: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        most = (MOST / max(1.0, self.unit)) ** self.exponent
        return self.unit * u.clamp(0.0, most) ** (1 / self.exponent)

    def slope(self, v: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        return self.exponent / self.unit * (v / self.unit).clamp_min(1e-12) ** (self.exponent - 1)


@dataclass(frozen=True, slots=True)
class InverseSinh:
    """Linear near the centre, logarithmic far from it on both sides.

    Attributes:
        centre: value at 0.
        width: > 0, distance from the centre at which it turns.
    """

    centre: float
    width: float
    name: str = "inverse sinh"

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        return ((v - self.centre) / self.width).asinh()

    def inverse(self, u: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        return (self.centre + self.width * u.clamp(-500.0, 500.0).sinh()).clamp(-MOST, MOST)

    def slope(self, v: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        return 1 / (self.width * (1 + ((v - self.centre) / self.width) ** 2).sqrt())


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A scale of positive values for negative ones.

    Attributes:
        warp: of the values with the other sign.
    """

    warp: Warp

    @property
    def name(self) -> str:
        """See `Warp`."""
        return self.warp.name

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        return -self.warp.forward(-v)

    def inverse(self, u: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        return -self.warp.inverse(-u)

    def slope(self, v: torch.Tensor) -> torch.Tensor:
        """See `Warp`."""
        return self.warp.slope(-v)


def candidates(v: torch.Tensor) -> list[Warp]:
    """Scales other than the linear one that values (n,), n >= 1, could be seen on."""
    size = v.abs()
    typical = float(size.quantile(0.5))
    found: list[Warp] = []
    if float(v.min()) > 0 or float(v.max()) < 0:
        found += [Logarithm(float(size.min()) / 2), *(Power(exponent, typical) for exponent in EXPONENTS)]
    if float(v.max()) < 0:
        found = [Mirrored(warp) for warp in found]
    middle = float(v.quantile(0.5))
    around = float((v - middle).abs().quantile(0.5))
    centres = {(0.0, typical), (0.0, 0.1 * typical), (middle, around), (middle, 0.1 * around)}
    return found + [
        InverseSinh(c, w)
        for c, w in sorted(centres, key=lambda pair: (abs(pair[0]), pair[1]))
        if w > 1e-9 * float(size.max())
    ]
