"""Diffraction orders of a periodic film, and how media without structure take up and send on their plane waves.

Lengths are divided by the vacuum wavelength times 2π, wave vectors by k0, magnetic fields multiplied by the impedance
of vacuum; time goes as exp(-iωt). In a medium without structure each order is two waves that do not mix: s, whose
electric field is perpendicular to z and to the order's own direction in the plane, and p. For both, with

    s: X = E_s, Y = -H_p;    p: X = H_s, Y = E_p;    ζ = kz (s) or kz / ε (p)

(subscripts are components in the plane along the order's direction and across it), a wave along z has Y = ζ X, one
against it Y = -ζ X, and the power that passes along z is Re(X Y*). Unlike admittances, which are ε / kz for p, ζ is
finite where an order grazes the film.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

P, S = 0, 1
"""Places of the two polarisations, everywhere."""

Stack = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""Uniform layers, each its permittivity (w,) complex128 and its thickness times k0 (w,) float64."""


@dataclass(frozen=True, slots=True)
class Orders:
    """The orders' wave vectors, of w wavelengths and N orders.

    Attributes:
        mx, my: (N,) int64, numbers of the orders along x and y.
        kx, ky: (w, N) float64, in units of k0.
        ux, uy: (w, N) float64, the direction in the plane, a unit vector; that of incidence where kx = ky = 0.
    """

    mx: torch.Tensor
    my: torch.Tensor
    kx: torch.Tensor
    ky: torch.Tensor
    ux: torch.Tensor
    uy: torch.Tensor

    @property
    def incident(self) -> int:
        """Place of the order that comes in."""
        return self.mx.numel() // 2

    def kz(self, permittivity: torch.Tensor) -> torch.Tensor:
        """(w, N) complex128, of waves that go on or decay along z, for a permittivity (w,) with Im >= 0."""
        squared = permittivity.unsqueeze(-1) - (self.kx**2 + self.ky**2)
        root = torch.sqrt(squared)
        return torch.where(root.imag < 0, -root, root)

    def zeta(self, permittivity: torch.Tensor) -> torch.Tensor:
        """(w, 2, N) complex128: ζ of p and s."""
        kz = self.kz(permittivity)
        return torch.stack([kz / permittivity.unsqueeze(-1), kz], -2)


def orders(
    order: int,
    *,
    periods: tuple[float, float],
    wavelengths: torch.Tensor,
    permittivity: torch.Tensor,
    angle: float,
    azimuth: float,
) -> Orders:
    """All orders from -order to order, along x and along y.

    Args:
        order: >= 0.
        periods: along x and y, in the unit of wavelengths.
        wavelengths: (w,) float64, in vacuum.
        permittivity: (w,) float64, of the medium from which light comes.
        angle: of incidence from the normal, radians.
        azimuth: of the plane of incidence from x towards y, radians.
    """
    m = torch.arange(-order, order + 1, device=wavelengths.device)
    mx, my = m.repeat_interleave(len(m)), m.repeat(len(m))
    along = (permittivity.sqrt() * math.sin(angle)).unsqueeze(-1)
    waves = wavelengths.unsqueeze(-1)
    kx = along * math.cos(azimuth) + mx * waves / periods[0]
    ky = along * math.sin(azimuth) + my * waves / periods[1]
    length = torch.hypot(kx, ky)
    flat = length == 0
    ux = torch.where(flat, math.cos(azimuth), kx / torch.where(flat, 1, length))
    uy = torch.where(flat, math.sin(azimuth), ky / torch.where(flat, 1, length))
    return Orders(mx, my, kx, ky, ux, uy)


@dataclass(frozen=True, slots=True)
class Side:
    """How one side of the film, a half-space and uniform layers between it and the film, goes on.

    Waves that go away from the film have (X, ±Y) = c (x, y) exp(-i phase) at the film, c being their amplitude in the
    half-space; + on the far side, - on the side where light comes from. Each is (w, 2, N) complex128, of p and s.
    """

    x: torch.Tensor
    y: torch.Tensor
    phase: torch.Tensor
    zeta: torch.Tensor

    @property
    def outgoing(self) -> torch.Tensor:
        """(w, 2, N, 2) complex128: by how much X and ±Y at the film, of waves that go away, give c."""
        norm = self.x.abs() ** 2 + self.y.abs() ** 2
        return torch.exp(1j * self.phase)[..., None] * torch.stack([self.x, self.y], -1).conj() / norm[..., None]

    def equals(self, other: Side) -> bool:
        """Whether both sides are the same, so that the film's even and odd fields do not mix."""
        pairs = ((self.x, other.x), (self.y, other.y), (self.phase, other.phase))
        return all(bool((a == b).all()) for a, b in pairs)


def side(orders: Orders, half_space: torch.Tensor, layers: Stack) -> Side:
    """A side of the film.

    Args:
        orders: of the film.
        half_space: (w,) complex128 permittivity.
        layers: from the half-space to the film.
    """
    zeta = orders.zeta(half_space)
    x, y, phase = through(orders, layers, torch.ones_like(zeta), zeta)
    return Side(x, y, phase, zeta)


def through(
    orders: Orders, layers: Stack, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fields (X, Y) carried against the direction of the wave, times exp(i phase), so that nothing overflows.

    Args:
        orders: of the film.
        layers: in the order in which they are passed.
        x: (w, 2, N), X where they begin.
        y: (w, 2, N), Y where they begin.

    Returns:
        X and Y, and the phase, each (w, 2, N).
    """
    total = torch.zeros_like(x)
    for permittivity, thickness in layers:
        zeta, kz = orders.zeta(permittivity), orders.kz(permittivity).unsqueeze(-2)
        phase = kz * thickness[:, None, None]
        falls = -torch.expm1(2j * phase)  # 1 - exp(2i phase)
        flat = zeta == 0  # an order that grazes the layer has fields linear in z
        slope = torch.stack([permittivity, torch.ones_like(permittivity)], -1).unsqueeze(-1)  # kz / ζ of p and s
        over = torch.where(flat, -2j * thickness[:, None, None] * slope, falls / torch.where(flat, 1, zeta))
        x, y = (1 - falls / 2) * x + over * y / 2, (1 - falls / 2) * y + zeta * falls * x / 2
        total = total + phase
    return x, y, total
