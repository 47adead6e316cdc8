"""The film's matrix functions against mpmath in 80 digits, and their gradients against finite differences."""

import mpmath
import pytest
import torch

from matloop.drivers.optics.film_function import (
    AT_ZERO,
    SMALL,
    derivative,
    divided_differences,
    film_functions,
    functions,
)

mpmath.mp.dps = 80

ARGUMENTS = [
    *(0, 1e-14, 1e-8, 1e-4 + 1e-5j, 0.05, 0.999 * SMALL, 1.001 * SMALL, -0.999 * SMALL, -1.001j * SMALL),
    *(-0.5, -2.4674011002723395, -22.2 + 1e-9j, -30 - 3j, 5, 100, 2000, 1e6, -100 + 0.5j),
]  # -π²/4 is a pole of tanh √x / √x


def g(x):
    x = mpmath.mpc(x)
    root = mpmath.sqrt(x)
    f = mpmath.tanh(root) / root if x else mpmath.mpf(1)
    return f / (1 - 1j * f)


def r(x):
    x = mpmath.mpc(x) if x else mpmath.mpf("1e-25")
    return (g(x) - g(0)) / x


def test_functions_are_those_of_high_precision():
    of_g, of_r = functions(torch.tensor(ARGUMENTS, dtype=torch.complex128))
    for x, ours, ours_r in zip(ARGUMENTS, of_g.tolist(), of_r.tolist(), strict=True):
        assert ours == pytest.approx(complex(g(x)), rel=1e-13)
        assert ours_r == pytest.approx(complex(r(x)), rel=1e-12)
    assert functions(torch.zeros(1, dtype=torch.complex128))[0].item() == pytest.approx(AT_ZERO)


def test_derivative_is_that_of_high_precision():
    for x, ours in zip(ARGUMENTS[1:], derivative(torch.tensor(ARGUMENTS[1:], dtype=torch.complex128)), strict=True):
        step = mpmath.mpf("1e-20")
        expected = complex((r(x + step) - r(x - step)) / (2 * step))
        assert complex(ours) == pytest.approx(expected, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("apart", [0.0, 1e-12, 1e-8, 9e-6, 1.1e-5, 1e-3])
def test_divided_differences_hold_however_close_the_arguments_are(apart):
    for x in ARGUMENTS[3:]:
        pair = torch.tensor([x, x + apart * (1 + 1j)], dtype=torch.complex128)
        first, second = (mpmath.mpc(complex(v)) for v in pair)
        if first == second:
            second = first + mpmath.mpf("1e-18") * max(abs(x), 1)
        ours = divided_differences(pair, functions(pair)[1])
        for found, function in zip(ours, (g, r), strict=True):
            expected = complex((function(first) - function(second)) / (first - second))
            assert complex(found[0, 1]) == pytest.approx(expected, rel=1e-8, abs=1e-9)
            assert complex(found[1, 0]) == pytest.approx(complex(found[0, 1]), rel=1e-8, abs=1e-9)


def matrices():
    generator = torch.Generator().manual_seed(0)
    full = torch.randn(5, 5, dtype=torch.complex128, generator=generator)
    yield "random", full
    yield "symmetric, of equal eigenvalues", torch.diag(torch.tensor([1, 1, -4, -4, -4], dtype=torch.complex128))
    yield "zero", torch.zeros(5, 5, dtype=torch.complex128)
    turn = torch.linalg.qr(full)[0]
    yield "equal eigenvalues, full", turn @ torch.diag(torch.tensor([2, 2, 2, -7, -7 + 0j])).to(full.dtype) @ turn.mH


@pytest.mark.parametrize("matrix", [pytest.param(m, id=name) for name, m in matrices()])
def test_gradient_is_that_of_finite_differences(matrix):
    torch.manual_seed(1)
    weights = [torch.randn(5, 5, dtype=torch.complex128) for _ in range(2)]
    direction = torch.randn(5, 5, dtype=torch.complex128)

    def value(m):
        return sum((w * f).sum().real for w, f in zip(weights, film_functions(m), strict=True))

    point = matrix.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(point), point)
    ours = float((gradient.conj() * direction).sum().real)
    h = 1e-4
    rise = [float(value(matrix + k * h * direction)) for k in (-2, -1, 1, 2)]
    assert ours == pytest.approx((rise[0] - 8 * rise[1] + 8 * rise[2] - rise[3]) / (12 * h), abs=1e-8)


def test_a_batch_is_its_members():
    torch.manual_seed(2)
    batch = torch.randn(2, 3, 4, 4, dtype=torch.complex128)
    torch.testing.assert_close(film_functions(batch)[:, 1, 2], film_functions(batch[1, 2]), rtol=1e-12, atol=1e-12)


def test_what_has_no_eigenvectors_is_refused():
    jordan = torch.tensor([[-3.0, 1.0], [0.0, -3.0]], dtype=torch.complex128)
    with pytest.raises(FloatingPointError, match=r"told apart|become one"):
        film_functions(jordan)
    with pytest.raises(FloatingPointError, match=r"told apart"):
        film_functions(torch.full((2, 2), torch.nan, dtype=torch.complex128))
