"""What holds at a film's faces: how its fields go on into the sides, and what comes in from one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from matloop.drivers.optics.film_function import AT_ZERO
from matloop.drivers.optics.waves import Orders, P, S, Side, Stack, through


@dataclass(frozen=True, slots=True)
class Conditions:
    """L(E, H) of a side, as rows of the equations for v: y H_s - x E_p of p above y E_s + x H_p of s.

    It is 0 of a field whose waves go away from a film above that side.

    Attributes:
        constant: (w, 2N, 2N) complex128, of the part of the field that is v itself.
        factors: (w, 2N, 4) complex128, of the components of the two matrices that make the field, along x and y.
    """

    constant: torch.Tensor
    factors: torch.Tensor

    @classmethod
    def of(cls, orders: Orders, side: Side, scale: torch.Tensor) -> tuple[Conditions, Conditions]:
        """For the even field and for the odd one."""
        ux, uy = orders.ux, orders.uy
        (x_p, x_s), (y_p, y_s) = side.x.unbind(-2), side.y.unbind(-2)
        electric = torch.cat([torch.stack([-x_p * ux, -x_p * uy], -1), torch.stack([-y_s * uy, y_s * ux], -1)], -2)
        magnetic = torch.cat([torch.stack([-y_p * uy, y_p * ux], -1), torch.stack([x_s * ux, x_s * uy], -1)], -2)
        alone = [blocks(*(block.unbind(-1) for block in m.chunk(2, -2)), diagonal=True) for m in (electric, magnetic)]
        even = torch.cat([1j * electric, -1j * scale * magnetic], -1)
        odd = torch.cat([scale * electric, scale**2 * magnetic], -1)
        return cls(alone[0], even), cls((AT_ZERO - 1j) * alone[1], odd)

    def __call__(self, e: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """(..., w, 2N, 2N)."""
        parts = *e.chunk(2, -2), *h.chunk(2, -2)
        rows = []
        for row, factors in zip(self.constant.chunk(2, -2), self.factors.chunk(2, -2), strict=True):
            for part, factor in zip(parts, factors.unsqueeze(-1).unbind(-2), strict=True):
                row = torch.addcmul(row, factor, part)
            rows.append(row)
        return torch.cat(rows, -2)


@dataclass(frozen=True, slots=True)
class Source:
    """What comes in, one p wave and one s wave with X = 1.

    What goes back is told apart from it with the help of a film that sends all on, into a medium with the ζ of the one
    above: what is over and above that goes away from the film, so that `Side.outgoing` holds.

    Attributes:
        row: (w, 2N, 2) complex128, what L(even) - L(odd) of the side above has to be, for p and for s light.
        reflected: (w, 2, 2, N) complex128, amplitudes that go back, less what the waves at the film give by `outgoing`.
        power: (w, 2) float64, that comes in.
    """

    row: torch.Tensor
    reflected: torch.Tensor
    power: torch.Tensor

    @classmethod
    def of(cls, orders: Orders, side: Side, upwards: Stack) -> Source:
        at = orders.incident
        w, _, n = side.zeta.shape
        x, y, phase = through(orders, upwards, torch.ones_like(side.zeta), side.zeta)
        zeta = side.zeta[..., at]
        forth, back = (x[..., at] + y[..., at] / zeta) / 2, (x[..., at] - y[..., at] / zeta) / 2
        passed = torch.exp(1j * phase[..., at]) / forth
        row = torch.zeros(w, 2 * n, 2, dtype=zeta.dtype, device=zeta.device)
        strength = 2 * zeta * torch.exp(1j * side.phase[..., at])
        row[:, at, P], row[:, n + at, S] = -strength[:, P], strength[:, S]
        place = torch.zeros(2, 2, n, dtype=zeta.dtype, device=zeta.device)
        place[P, P, at] = place[S, S, at] = 1
        x_out, y_out = side.outgoing[..., at, :].unbind(-1)
        reflected = back / forth - (x_out - zeta * y_out) * passed
        return cls(row, reflected[..., None, None] * place, zeta.real)


def blocks(*rows: Sequence[torch.Tensor], diagonal: bool = False) -> torch.Tensor:
    """A matrix of blocks, or of the diagonals of blocks."""
    return torch.cat([torch.cat([b.diag_embed() if diagonal else b for b in row], -1) for row in rows], -2)
