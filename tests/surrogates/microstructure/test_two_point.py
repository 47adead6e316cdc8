"""Two-point correlations against laminates, checkerboards and the definition."""

import numpy as np

from matloop.surrogates.microstructure.two_point import two_point_correlation


def _correlation_by_definition(phase):
    height, width = phase.shape
    return np.array([[(phase & np.roll(phase, (-i, -j), (0, 1))).mean() for j in range(width)] for i in range(height)])


def test_two_point_correlation_of_a_checkerboard_is_exact():
    board = np.indices((8, 6)).sum(axis=0) % 2
    np.testing.assert_allclose(two_point_correlation(board), np.where(board, 0.0, 0.5), atol=1e-15)


def test_two_point_correlation_of_a_laminate_is_exact():
    laminate = np.zeros((12, 4))
    laminate[:3] = 1  # three of twelve layers
    lag = np.minimum(np.arange(12), 12 - np.arange(12))
    expected = np.maximum(3 - lag, 0)[:, None] / 12 * np.ones(4)
    np.testing.assert_allclose(two_point_correlation(laminate), expected, atol=1e-15)


def test_two_point_correlation_is_that_of_the_definition():
    phase = np.random.default_rng(0).random((7, 10)) < 0.3
    np.testing.assert_allclose(two_point_correlation(phase), _correlation_by_definition(phase), atol=1e-14)
