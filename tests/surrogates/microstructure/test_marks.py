"""Distances and speckle against counts."""

import numpy as np

from matloop.surrogates.microstructure.distances import pairwise_distances
from matloop.surrogates.microstructure.speckle import speckle


def test_distances_are_shares_of_differing_pixels():
    phase = np.random.default_rng(3).random((4, 5, 6)) < 0.5
    expected = [[(a != b).mean() for b in phase] for a in phase]
    np.testing.assert_allclose(pairwise_distances(phase), expected, atol=1e-15)


def test_speckle_counts_pixels_that_stand_out():
    phase = np.zeros((2, 8, 8), dtype=bool)
    phase[0, 2:6, 2:6] = True  # a square has none, a lone pixel is one, the end of a line is one
    phase[1, 1, 1] = True
    phase[1, 5, 2:6] = True
    assert speckle(phase[0]) == 0
    assert speckle(phase[1]) == 3 / 64
    assert speckle(phase) == 3 / 128
