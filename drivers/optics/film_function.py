"""The two functions of a square matrix with which a film answers light, and their exact derivatives.

With f(x) = tanh(√x) / √x, what the film's even and odd fields need is f(M), M being (k0 h / 2)² times the matrix of its
wave equation, E'' = A E. f has poles where the cosine of an optical path is 0, as in a quarter of a wave that nothing
damps. So what is computed is its Cayley transform, which has none there, and what that has beyond its value at 0:

    g(x) = f / (1 - i f) = sinh a / (a cosh a - i sinh a),    a = √x;    r(x) = (g(x) - g(0)) / x.

(f of a passive medium lies in the upper half plane, where |1 - i f| >= 1, so that |g| <= 1.) r gives g of a product of
two matrices in the other order, g(Q P) = g(0) + Q r(P Q) P, without an inverse, which may not exist.

The derivative of a matrix function is a Hadamard product with divided differences in the eigenbasis (Daleckii and
Krein, 1965; Higham, Functions of Matrices, 2008, theorem 3.11). It is exact where eigenvalues coincide, as those of
symmetric and uniform structures do, whose eigenvectors have no derivative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

AT_ZERO = 1 / (1 - 1j)
"""g(0)."""

CLOSE = 1e-5
"""Distance of two arguments, relative to the scale on which r bends, below which r' at their middle replaces the
quotient of differences: either errs by about 1e-11 there."""

SMALL = 0.1
"""Modulus of x below which closed forms would cancel, and power series are summed."""

DEFECTIVE = 1e8
"""Largest entry of the inverse of the eigenvectors, beyond which half of the digits are lost: two of these are about to
become one."""

TERMS = range(8)
_NUMERATOR = tuple(-(2 * k + 2) / math.factorial(2 * k + 3) for k in TERMS)
_COSH = tuple(1 / math.factorial(2 * k) for k in TERMS)
_SINHC = tuple(1 / math.factorial(2 * k + 1) for k in TERMS)


def film_functions(matrix: torch.Tensor) -> torch.Tensor:
    """g(M) and r(M); can be differentiated once.

    Args:
        matrix: (..., n, n) complex128.

    Returns:
        (2, ..., n, n).

    Raises:
        FloatingPointError: the eigenvectors are nearly dependent, or the matrix is not finite.
    """
    found: torch.Tensor = _FilmFunctions.apply(matrix)  # type: ignore[no-untyped-call]
    return found


class _FilmFunctions(torch.autograd.Function):
    """f(M) = W f(Λ) W⁻¹, and the adjoint of its derivative, W⁻ᴴ (F̄ ∘ (Wᴴ G W⁻ᴴ)) Wᴴ."""

    @staticmethod
    def forward(ctx: Any, matrix: torch.Tensor) -> torch.Tensor:
        x, vectors, inverse = _modes(matrix)
        values = torch.stack(functions(x))
        ctx.save_for_backward(x, vectors, inverse, values[1])
        return (vectors * values.unsqueeze(-2)) @ inverse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        x, vectors, inverse, r = ctx.saved_tensors
        differences = torch.stack(divided_differences(x, r))
        inner = (differences.conj() * (vectors.mH @ gradient @ inverse.mH)).sum(0)
        found: torch.Tensor = inverse.mH @ inner @ vectors.mH
        return found


def _modes(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Eigenvalues, eigenvectors of length 1, and the inverse of these."""
    try:
        x, vectors = torch.linalg.eig(matrix)
        inverse = torch.linalg.inv(vectors)
    except RuntimeError as error:
        singular = torch.linalg.LinAlgError  # type: ignore[attr-defined]
        if isinstance(error, singular) or not bool(torch.isfinite(matrix).all()):
            raise FloatingPointError(f"the modes of the film could not be told apart: {error}") from error
        raise
    if not float(torch.view_as_real(inverse).abs().max()) < DEFECTIVE:
        raise FloatingPointError("two modes of the film are about to become one, where RCWA is singular")
    return x, vectors, inverse


def functions(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """g and r of each entry of x: complex, any shape."""
    root = torch.sqrt(x)
    falls = -torch.expm1(-2 * root)  # 2 exp(-a) sinh a; 2 - falls is 2 exp(-a) cosh a
    bottom = root * (2 - falls) - 1j * falls
    g, r = falls / bottom, AT_ZERO * (falls - root * (2 - falls)) / (x * bottom)
    if bool((small := x.abs() < SMALL).any()):
        nearby = x[small]
        r[small] = AT_ZERO * _sum(_NUMERATOR, nearby) / _denominator(nearby)
        g[small] = AT_ZERO + nearby * r[small]
    return g, r


def derivative(x: torch.Tensor) -> torch.Tensor:
    """r' of each entry: (g' - r) / x, with g' = (a - sinh a cosh a) / (2a (a cosh a - i sinh a)²)."""
    root = torch.sqrt(x)
    falls = -torch.expm1(-2 * root)
    bottom = root * (2 - falls) - 1j * falls
    slope = (4 * root * (1 - falls) - falls * (2 - falls)) / (2 * root * bottom**2)
    found = (slope - functions(x)[1]) / x
    if bool((small := x.abs() < SMALL).any()):
        nearby = x[small]
        below = _denominator(nearby)
        steeper = _slope(_COSH, nearby) - 1j * _slope(_SINHC, nearby)
        rises = _slope(_NUMERATOR, nearby) - _sum(_NUMERATOR, nearby) * steeper / below
        found[small] = AT_ZERO * rises / below
    return found


def divided_differences(x: torch.Tensor, r: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(g(x_i) - g(x_j)) / (x_i - x_j), and g' where they coincide; and the same of r.

    Args:
        x: (..., n) complex.
        r: r(x).

    Returns:
        Both (..., n, n).
    """
    apart = x.unsqueeze(-1) - x.unsqueeze(-2)
    scale = 1 + x.abs().sqrt()  # of tanh √x: about √x in x where it oscillates, more where it decays
    close = apart.abs() < CLOSE * torch.maximum(scale.unsqueeze(-1), scale.unsqueeze(-2))
    of_r = (r.unsqueeze(-1) - r.unsqueeze(-2)) / torch.where(close, 1, apart)
    *batch, i, j = close.nonzero(as_tuple=True)
    of_r[close] = derivative((x[*batch, i] + x[*batch, j]) / 2)
    return r.unsqueeze(-1) + x.unsqueeze(-2) * of_r, of_r


def _sum(coefficients: Sequence[float], x: torch.Tensor) -> torch.Tensor:
    total = torch.zeros_like(x)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


def _denominator(x: torch.Tensor) -> torch.Tensor:
    """cosh a - i sinh a / a."""
    return _sum(_COSH, x) - 1j * _sum(_SINHC, x)


def _slope(coefficients: Sequence[float], x: torch.Tensor) -> torch.Tensor:
    return _sum([k * coefficient for k, coefficient in enumerate(coefficients)][1:], x)
