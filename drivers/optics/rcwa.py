"""Rigorous coupled-wave analysis of one patterned film: reflection, transmission and absorption, and their gradient.

The film's permittivity is constant through its thickness h and periodic in x and y. Its products with fields are those
of truncated Fourier series (Laurent's rule, for all components), its coefficients those of the pixels (a discrete
transform). In the film the fields in the plane are E' = P iH and iH' = Q E, with z from its middle in units of 1 / k0.
With f(x) = tanh(√x) / √x and F = f((k0 h / 2)² P Q), the even and the odd field have at the lower face

    even: iH = (k0 h / 2) Q F E;    odd: E = (k0 h / 2) F P iH.

So no eigenvector leaves `film_function`, and nothing grows with the thickness. Where both sides of the film are the
same, the even and the odd problem are apart; else they are solved together.

References: Moharam et al., J. Opt. Soc. Am. A 12, 1068 (1995), for P and Q; Kim & Lee, Comput. Phys. Commun. 282,
108552 (2023), for the formulation that torcwa shares.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from matloop.drivers.optics.faces import Conditions, Source, blocks
from matloop.drivers.optics.film_function import AT_ZERO, film_functions
from matloop.drivers.optics.waves import orders, side

Matrices = tuple[torch.Tensor, torch.Tensor]
"""For the electric and for the magnetic field in the plane, x above y, each (..., w, 2N, m)."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A uniform layer.

    Attributes:
        indices: refractive index n + ik at each wavelength.
        thickness_nm: >= 0.
    """

    indices: tuple[complex, ...]
    thickness_nm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A film, what surrounds it, and how light falls on it.

    Attributes:
        order: Fourier orders kept on each side of zero, along x and along y, >= 0; N = (2 order + 1)².
        wavelengths_nm: w of them, in vacuum.
        indices: refractive index n + ik of phase 0 and of phase 1, at each wavelength.
        thickness_nm: of the film, >= 0.
        period_nm: of the structure along x (columns) and y (rows).
        above: index of the medium from which light comes, at each wavelength, real; vacuum where it is None.
        below: that of the medium beyond the film, with k >= 0.
        layers_above: between that medium and the film, as light meets them.
        layers_below: between the film and the medium beyond it, as light meets them.
        angle_deg: of incidence from the normal, in [0, 90).
        azimuth_deg: of the plane of incidence, from x towards y.
        device: where it is computed, in complex128.
    """

    order: int
    wavelengths_nm: tuple[float, ...]
    indices: tuple[tuple[complex, ...], tuple[complex, ...]]
    thickness_nm: float
    period_nm: tuple[float, float]
    above: tuple[complex, ...] | None = None
    below: tuple[complex, ...] | None = None
    layers_above: tuple[Layer, ...] = ()
    layers_below: tuple[Layer, ...] = ()
    angle_deg: float = 0.0
    azimuth_deg: float = 0.0
    device: str = "cpu"

    @property
    def pixels(self) -> int:
        """Least number of pixels a side, from which all coefficients can be told apart."""
        return 4 * self.order + 1


@dataclass(frozen=True, slots=True)
class Light:
    """Shares of the incident power, of structures (...), w wavelengths, incident p and s, and N orders.

    Attributes:
        reflected: (..., w, 2, N) float64, into the orders of the medium from which light comes.
        transmitted: (..., w, 2, N) float64, into those of the medium beyond, where that begins.
        kept: (..., w, 2) float64, what goes into the film and does not come out of it.
    """

    reflected: torch.Tensor
    transmitted: torch.Tensor
    kept: torch.Tensor

    @property
    def absorbed(self) -> torch.Tensor:
        """(..., w, 2) float64: what is neither reflected nor transmitted, of the film and its layers."""
        return 1 - self.reflected.sum(-1) - self.transmitted.sum(-1)


class Film:
    """What a film does to light; called with structures, it says where light goes.

    Attributes:
        orders: the diffraction orders, in the order of those in `Light`.
        alike: whether both sides of the film are the same, so that even and odd fields are solved apart.
    """

    def __init__(self, setup: Setup) -> None:
        self._pixels = setup.pixels
        self._device = torch.device(setup.device)
        wavelengths = torch.tensor(setup.wavelengths_nm, dtype=torch.float64, device=self._device)
        vacuum = [1.0] * len(wavelengths)
        first, second = (self._permittivity(of) for of in setup.indices)
        self._contrast = (second - first)[:, None, None]
        incoming = self._permittivity(setup.above or vacuum)
        self.orders = orders(
            setup.order,
            periods=setup.period_nm,
            wavelengths=wavelengths,
            permittivity=incoming.real,
            angle=math.radians(setup.angle_deg),
            azimuth=math.radians(setup.azimuth_deg),
        )
        mx, my = self.orders.mx, self.orders.my
        self._between = mx[:, None] - mx, my[:, None] - my
        self._uniform = first[:, None, None] * torch.eye(len(mx), **self._like)
        k0 = 2 * math.pi / wavelengths
        self._scale = (k0 * setup.thickness_nm / 2)[:, None, None].to(torch.complex128)
        over, under = (
            [(self._permittivity(layer.indices), k0 * layer.thickness_nm) for layer in layers]
            for layers in (setup.layers_above, setup.layers_below)
        )
        self._top = side(self.orders, incoming, over)
        self._bottom = side(self.orders, self._permittivity(setup.below or vacuum), under[::-1])
        self.alike = self._top.equals(self._bottom)
        self._source = Source.of(self.orders, self._top, over[::-1])
        self._over, self._beneath = (Conditions.of(self.orders, of, self._scale) for of in (self._top, self._bottom))
        (x, y), (on_x, on_y) = (of.outgoing.unsqueeze(-4).unbind(-1) for of in (self._top, self._bottom))
        self._back, self._on = (x, -y), (on_x, on_y)
        self._zeta = [of.zeta.real.unsqueeze(-3) for of in (self._top, self._bottom)]
        kx, ky = self.orders.kx, self.orders.ky
        self._kx, self._ky = (k.to(torch.complex128).unsqueeze(-1) for k in (kx, ky))  # converting costs as much as use
        self._ux, self._uy = (u.to(torch.complex128).unsqueeze(-2) for u in (self.orders.ux, self.orders.uy))
        self._bends = self._scale**2 * blocks([ky**2, -kx * ky], [-kx * ky, kx**2], diagonal=True)

    def __call__(self, structures: torch.Tensor) -> Light:
        """Where light goes; differentiable once in the structures.

        Args:
            structures: (..., H, W) real, 0 where phase 0 is and 1 where phase 1 is; the permittivity is linear between.
                Rows are y, columns x; each side at least `Setup.pixels`.

        Raises:
            FloatingPointError: the problem is singular: a diffraction order grazes a film that is like what surrounds
                it, or two modes of the film are about to become one.
        """
        try:
            return self._light(*self._at_faces(*self._fields(self._products(structures))))
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise FloatingPointError(
                "a diffraction order grazes the film, or another wave lives in it that nothing excites, where RCWA is "
                f"singular; change a wavelength, the period or the angle a little ({error})"
            ) from error

    @property
    def _like(self) -> dict[str, Any]:
        return {"dtype": torch.complex128, "device": self._device}

    def _permittivity(self, indices: Sequence[complex]) -> torch.Tensor:
        return torch.tensor(list(indices), **self._like) ** 2

    def _products(self, structures: torch.Tensor) -> torch.Tensor:
        """(..., w, N, N): what multiplies a field's orders by the permittivity."""
        rows, columns = structures.shape[-2:]
        if min(rows, columns) < self._pixels:
            raise ValueError(f"expected at least {self._pixels} pixels a side, got {rows} x {columns}")
        spectrum = torch.fft.fft2(structures.to(self._device, torch.float64)) / (rows * columns)
        between_x, between_y = self._between
        density = spectrum[..., between_y % rows, between_x % columns]
        products: torch.Tensor = self._uniform + self._contrast * density.unsqueeze(-3)
        return products

    def _fields(self, e: torch.Tensor) -> tuple[Matrices, Matrices]:
        """g and Q g, and g P and Q r P, of which the even and the odd field at the lower face are made.

        F = g / (1 + i g), so that with 2N unknowns v each, E = (1 + i g) v of the even field, and iH = (1 + i g(Q P)) v
        of the odd one, neither has a pole. With s = k0 h / 2 they are

            even: E = (1 + i g) v,  H = -i s Q g v;    odd: E = s g P v,  H = (g(0) - i + s² Q r P) v.
        """
        inverse = torch.linalg.inv(e)
        functions = film_functions(self._wave(e, inverse))
        q_g, q_r = self._q(e, functions)
        g = functions[0]
        g_p, q_r_p = self._p(inverse, torch.stack([g, q_r]))
        return (g, q_g), (g_p, q_r_p)

    def _wave(self, e: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        """P Q, times the square of half the film's thickness."""
        kx, ky, squared = self._kx, self._ky, self._scale**2
        x, y = (inverse @ torch.cat([kx * e, ky * e], -1)).chunk(2, -1)
        kx, ky, e = squared * kx, squared * ky, squared * e
        return blocks([kx * x - e, kx * y], [ky * x, ky * y - e]) + self._bends

    def _q(self, e: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        """Q m, of m (..., w, 2N, k)."""
        kx, ky = self._kx, self._ky
        mx, my = m.chunk(2, -2)
        curl = ky * mx - kx * my
        return torch.cat([kx * curl + e @ my, ky * curl - e @ mx], -2)

    def _p(self, inverse: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        """m P, of m (..., w, k, 2N) and the inverse of the products with the permittivity."""
        kx, ky = self._kx.mT, self._ky.mT
        mx, my = m.chunk(2, -1)
        bent = (mx * kx + my * ky) @ inverse
        return torch.cat([bent * ky - my, mx - bent * kx], -1)

    def _at_faces(self, even: Matrices, odd: Matrices) -> Matrices:
        """Electric and magnetic fields, (2, ..., w, 2N, 2) each: at the upper face and the lower, of p and s light."""
        source = self._source.row.expand(*even[0].shape[:-1], 2)
        below = [rows(*made) for rows, made in zip(self._beneath, (even, odd), strict=True)]
        if self.alike:
            v, w = (torch.linalg.solve(rows, side) for rows, side in zip(below, (source / 2, -source / 2), strict=True))
        else:
            above = [rows(*made) for rows, made in zip(self._over, (even, odd), strict=True)]
            both = torch.cat([torch.zeros_like(source), source], -2)
            v, w = torch.linalg.solve(blocks(below, [above[0], -above[1]]), both).chunk(2, -2)
        even_e, even_h = v + 1j * (even[0] @ v), -1j * self._scale * (even[1] @ v)
        odd_e, odd_h = self._scale * (odd[0] @ w), (AT_ZERO - 1j) * w + self._scale**2 * (odd[1] @ w)
        return torch.stack([even_e - odd_e, even_e + odd_e]), torch.stack([odd_h - even_h, odd_h + even_h])

    def _light(self, e: torch.Tensor, h: torch.Tensor) -> Light:
        """From the fields at the faces, (2, ..., w, 2N, 2 of light) each."""
        (e_p, e_s), (h_p, h_s) = self._turned(e), self._turned(h)
        x, y = torch.stack([h_s, e_s], -2), torch.stack([e_p, -h_p], -2)  # (2, ..., w, 2 of light, 2 of waves, N)
        flux = (x * y.conj()).real.sum((-2, -1))
        back = self._back[0] * x[0] + self._back[1] * y[0] + self._source.reflected
        on = self._on[0] * x[1] + self._on[1] * y[1]
        power = self._source.power
        reflected, transmitted = (
            ((c * c.conj()).real * zeta).sum(-2) / power.unsqueeze(-1)
            for c, zeta in zip((back, on), self._zeta, strict=True)
        )
        return Light(reflected=reflected, transmitted=transmitted, kept=(flux[0] - flux[1]) / power)

    def _turned(self, field: torch.Tensor) -> Matrices:
        """Components along each order's direction and across it, each (2, ..., w, 2 of light, N)."""
        along_x, along_y = field.mT.chunk(2, -1)
        return self._ux * along_x + self._uy * along_y, self._ux * along_y - self._uy * along_x
