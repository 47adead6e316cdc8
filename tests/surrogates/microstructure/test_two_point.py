"""Two-point correlations against laminates, checkerboards, the definition, the arcsine law and porespy."""

import itertools

import numpy as np
import pytest
import torch

from matloop.surrogates.generator.fields import autocorrelation, cut_correlation, two_phase_fields
from matloop.surrogates.microstructure.two_point import (
    material_correlation,
    two_point_correlation,
    within,
    without_fraction,
)


def _by_definition(first, second):
    """Mean over all pixels of first(r) second(r + lag), with periodic boundaries."""
    over = tuple(range(first.ndim))
    lags = np.ndindex(first.shape)
    found = [(first * np.roll(second, [-k for k in lag], over)).mean() for lag in lags]
    return np.reshape(found, first.shape)


def _by_pairs(first, second):
    """The same without a period: a loop over all pairs of pixels within the picture."""
    total, pairs = np.zeros(first.shape), np.zeros(first.shape)
    for a, b in itertools.product(np.ndindex(first.shape), repeat=2):
        lag = [j - i for i, j in zip(a, b, strict=True)]
        if all(-(n // 2) <= k < n - n // 2 for k, n in zip(lag, first.shape, strict=True)):
            total[tuple(lag)] += first[a] * second[b]
            pairs[tuple(lag)] += 1
    return total / pairs


def test_a_checkerboard_is_exact():
    board = np.indices((8, 6)).sum(axis=0) % 2
    np.testing.assert_allclose(two_point_correlation(board), np.where(board, 0.0, 0.5), atol=1e-15)


def test_without_the_fraction_it_begins_at_1_and_a_board_of_any_fraction_is_exact():
    board = np.indices((8, 6)).sum(axis=0) % 2
    np.testing.assert_allclose(without_fraction(board), np.where(board, -1.0, 1.0), atol=1e-12)
    stripes = np.zeros((4, 6))
    stripes[:, 0] = 1  # one of six
    np.testing.assert_allclose(without_fraction(stripes)[0], [1, -0.2, -0.2, -0.2, -0.2, -0.2], atol=1e-12)
    assert not without_fraction(np.ones((3, 4))).any()


@pytest.mark.parametrize("shape", [(12, 4), (12, 3, 5)])
def test_a_laminate_is_exact(shape):
    laminate = np.zeros(shape)
    laminate[:3] = 1  # three of twelve layers
    lag = np.minimum(np.arange(12), 12 - np.arange(12))
    expected = np.maximum(3 - lag, 0).reshape(-1, *(1,) * (len(shape) - 1)) / 12 * np.ones(shape)
    np.testing.assert_allclose(two_point_correlation(laminate, dimensions=len(shape)), expected, atol=1e-15)


def test_one_phase_everywhere_is_always_met():
    for periodic in (True, False):
        np.testing.assert_allclose(two_point_correlation(np.ones((5, 4)), periodic=periodic), 1, atol=1e-14)
        np.testing.assert_allclose(two_point_correlation(np.zeros((5, 4)), periodic=periodic), 0, atol=1e-14)


@pytest.mark.parametrize("shape", [(7, 10), (3, 4, 5)])
@pytest.mark.parametrize("periodic", [True, False])
def test_it_is_that_of_the_definition_also_across_phases(shape, periodic):
    labels = np.random.default_rng(0).integers(0, 3, shape)
    reference = _by_definition if periodic else _by_pairs
    for a, b in ((0, 0), (0, 1), (1, 0), (2, 1)):
        found = two_point_correlation(labels == a, labels == b, dimensions=len(shape), periodic=periodic)
        np.testing.assert_allclose(found, reference(labels == a, labels == b), atol=1e-13)


def test_pictures_of_one_row_have_lags_along_it_only():
    row = np.array([[1, 1, 0, 0, 0, 1]])
    np.testing.assert_allclose(two_point_correlation(row), _by_definition(row, row), atol=1e-15)
    np.testing.assert_allclose(two_point_correlation(row, periodic=False), _by_pairs(row, row), atol=1e-14)


def test_batches_and_kinds_of_arrays_agree():
    labels = np.random.default_rng(1).random((2, 3, 6, 5)) < 0.4
    one_by_one = np.array([[two_point_correlation(a) for a in row] for row in labels])
    np.testing.assert_allclose(two_point_correlation(labels), one_by_one, atol=1e-15)
    found = two_point_correlation(torch.tensor(labels))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), one_by_one, atol=1e-15)
    assert two_point_correlation(torch.rand(4, 4)).dtype == torch.float32


@pytest.mark.parametrize("periodic", [True, False])
def test_gradients_are_those_of_finite_differences(periodic):
    x, y = torch.rand(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: two_point_correlation(a, b, periodic=periodic), (x, y))
    assert torch.autograd.gradcheck(
        lambda a: two_point_correlation(a, periodic=periodic), (torch.ones_like(x, requires_grad=True),)
    )


def test_cut_fields_follow_the_arcsine_law():
    n = 4000
    correlation = two_point_correlation(two_phase_fields(n, (32, 24), 3.0, np.random.default_rng(1)))
    law = cut_correlation(autocorrelation((32, 24), 3.0))
    error = (correlation.mean(axis=0) - law) / (correlation.std(axis=0) / np.sqrt(n))
    assert abs(error).max() < 4.5


def test_a_window_of_a_periodic_structure_has_its_correlation():
    """Without wrap-around, windows of a large structure tell the small lags right; with it, they do not."""
    whole = two_phase_fields(2000, (32, 32), 2.0, np.random.default_rng(2))
    wanted = within(two_point_correlation(whole).mean(axis=0), (10, 10))
    window = whole[:, :10, :10]
    honest, wrapped = (two_point_correlation(window, periodic=p).mean(axis=0) for p in (False, True))
    assert abs(honest - wanted).max() < 0.01 < 0.02 < abs(wrapped - wanted).max()


def test_lags_of_a_smaller_picture_are_chosen_by_their_number():
    lags = np.add.outer(100 * np.fft.fftfreq(9, 1 / 9), np.fft.fftfreq(8, 1 / 8))
    expected = np.add.outer(100 * np.fft.fftfreq(4, 1 / 4), np.fft.fftfreq(5, 1 / 5))
    np.testing.assert_array_equal(within(lags, (4, 5)), expected)
    with pytest.raises(ValueError, match="at most"):
        within(lags, (10, 4))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(\.\.\., D, H, W\), got \(4, 4\)"):
        two_point_correlation(np.zeros((4, 4)), dimensions=3)
    with pytest.raises(ValueError, match="one shape"):
        two_point_correlation(np.zeros((4, 4)), np.zeros((4, 5)))
    with pytest.raises(ValueError, match="2 or 3 dimensions"):
        two_point_correlation(np.zeros((4, 4)), dimensions=1)


def test_radial_means_are_those_of_porespy():
    porespy = pytest.importorskip("porespy")
    phase = two_phase_fields(1, (40, 40), 3.0, np.random.default_rng(3))[0]
    edges = np.arange(0.0, 19.5)
    theirs = porespy.metrics.two_point_correlation(phase, bins=edges).probability_scaled
    correlation = two_point_correlation(phase, periodic=False)
    radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(40, 1 / 40)] * 2))
    ours = [correlation[(low <= radius) & (radius < low + 1)].mean() for low in edges[:-1]]
    np.testing.assert_allclose(theirs, ours, atol=1e-12)


def test_the_correlation_of_a_material_is_that_of_unit_cells():
    labels = np.random.default_rng(4).integers(0, 3, (5, 6, 8))
    found, known = material_correlation(labels == 0, labels == 2)
    np.testing.assert_allclose(found, two_point_correlation(labels == 0, labels == 2).mean(axis=0), atol=1e-14)
    assert (known == 1).all()


def test_a_drift_across_the_window_is_not_taken_for_order():
    """Pixels drawn one by one, more of them on one side: at long lags the plain correlation is not phi squared."""
    share = np.repeat([0.2, 0.8], 15)
    pictures = np.random.default_rng(5).random((400, 30, 30)) < share
    found, known = material_correlation(pictures, pictures, periodic=False)
    plain = two_point_correlation(pictures, periodic=False).mean(axis=0)
    assert found[0, 0] == pytest.approx(0.5, abs=0.01)
    assert plain[0, -15] == pytest.approx(0.2 * 0.8, abs=0.01)
    assert found[0, -15] == pytest.approx(0.25, abs=0.01)
    assert known[3, 0] == pytest.approx(27 / 30) and known[-3, 4] == pytest.approx(27 * 26 / 900)
