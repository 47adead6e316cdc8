"""Specific surface against discs, balls, stripes and porespy; smallest features against shapes of known size."""

import numpy as np
import pytest
import torch

from matloop.surrogates.microstructure.features import disc, opening, smallest_feature, thin
from matloop.surrogates.microstructure.surface import specific_surface


def _ball(radius, side, dimensions):
    grid = np.meshgrid(*[np.arange(side) - (side - 1) / 2] * dimensions, indexing="ij")
    return sum(g**2 for g in grid) <= radius**2


def test_surface_of_a_disc_and_of_a_ball():
    assert specific_surface(_ball(40.3, 100, 2)) == pytest.approx(2 * np.pi * 40.3 / 100**2, rel=0.01)
    ball = specific_surface(_ball(20.3, 50, 3), dimensions=3, pixel=2.0)
    assert ball == pytest.approx(4 * np.pi * 20.3**2 / 50**3 / 2, rel=0.01)


def test_surface_of_stripes_is_counted():
    stripes = np.tile([1, 1, 0, 0, 0], (4, 2))
    assert specific_surface(stripes, isotropic=False) == pytest.approx(4 / 10)
    assert specific_surface(np.roll(stripes, 1, axis=1), isotropic=False, periodic=False) == pytest.approx(4 / 9)
    assert specific_surface(stripes, isotropic=False, pixel=5.0) == pytest.approx(4 / 50)
    assert specific_surface(np.ones((3, 1)), periodic=False) == 0


def test_surface_of_soft_structures_has_gradients_and_batches():
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert specific_surface(x, dimensions=3).shape == (2,)
    assert torch.autograd.gradcheck(lambda a: specific_surface(a, dimensions=3), (x,))
    with pytest.raises(ValueError, match="side of a pixel"):
        specific_surface(x, pixel=0.0)


def test_surface_is_near_that_of_the_triangles_of_porespy():
    porespy = pytest.importorskip("porespy")
    ball = _ball(15.3, 40, 3)
    theirs = porespy.metrics.region_surface_areas(ball.astype(int))[0]
    assert specific_surface(ball, dimensions=3) * 40**3 == pytest.approx(theirs, rel=0.03)


@pytest.mark.parametrize("width", range(1, 8))
def test_a_stripe_is_as_small_as_its_width(width):
    stripe = np.zeros((12, 16))
    stripe[:, 3 : 3 + width] = 1
    assert smallest_feature(stripe) == width
    assert smallest_feature(1 - stripe) == min(16 - width, 12)
    assert smallest_feature(np.roll(stripe, 9, axis=1), pixel=6.25) == 6.25 * width


@pytest.mark.parametrize("diameter", range(1, 12))
def test_a_disc_is_as_small_as_its_diameter(diameter):
    phase = np.zeros((20, 20))
    phase[2 : 2 + diameter, 3 : 3 + diameter] = disc(diameter)
    assert smallest_feature(phase) == diameter
    assert smallest_feature(np.roll(phase, (10, 10), (0, 1))) == diameter
    assert smallest_feature(phase, periodic=False) == diameter


def test_steps_of_pixels_are_no_features_but_spikes_and_corners_are():
    phase = np.zeros((24, 24))
    phase[4:16, 4:16] = 1
    corner = smallest_feature(phase)
    assert 4 <= corner < 12  # no disc reaches into a corner
    phase[10, 16] = 1
    assert smallest_feature(phase) == corner  # a bump of one pixel
    phase[10, 17] = 1
    assert smallest_feature(phase) == 1  # a spike
    assert np.argwhere(thin(phase, 2)).tolist() == [[10, 17]]


def test_one_phase_is_as_large_as_its_picture():
    for value in (0, 1):
        assert smallest_feature(np.full((6, 9), value)) == 6
        assert smallest_feature(np.full((6, 9), value), periodic=False) == 6


def test_features_go_on_at_the_border_or_are_taken_to_fit():
    phase = np.zeros((12, 12))
    phase[:, :2] = 1
    phase[:, -2:] = 1
    assert smallest_feature(phase) == 4
    assert smallest_feature(phase, periodic=False) == 12
    assert smallest_feature(1 - phase, periodic=False) == 8


def test_balls_in_three_dimensions():
    phase = np.zeros((12, 12, 12))
    phase[1:6, 2:7, 3:8] = disc(5, 3)
    assert smallest_feature(phase) == 5
    phase[:2, :2] = 1  # a bar of 2 x 2
    assert smallest_feature(phase) == 2


def test_opening_is_that_of_scipy():
    from scipy import ndimage

    phase = np.random.default_rng(0).random((20, 20)) < 0.8
    tiled = np.tile(phase, (3, 3))
    for diameter in (3, 5):
        expected = ndimage.binary_opening(tiled, disc(diameter))[20:40, 20:40]
        np.testing.assert_array_equal(opening(phase, diameter), expected)


def test_diameters_that_no_picture_has_are_refused():
    with pytest.raises(ValueError, match="from 1 to 6"):
        thin(np.ones((6, 9)), 7)
    with pytest.raises(ValueError, match="side of a pixel"):
        smallest_feature(np.ones((6, 9)), pixel=-1)
