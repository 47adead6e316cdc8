"""Lineal paths and chords against stripes, single inclusions, loops over segments, and porespy."""

import numpy as np
import pytest
import torch

from matloop.surrogates.generator.fields import two_phase_fields
from matloop.surrogates.microstructure.chords import chord_lengths, mean_chord
from matloop.surrogates.microstructure.lineal_path import lineal_path, soft_lineal_path


def _segments(line, k, periodic):
    n = len(line)
    places = range(n) if periodic else range(n - k)
    return [all(line[(i + j) % n] for j in range(k + 1)) for i in places]


def _path_by_definition(phase, longest, periodic):
    found = []
    for axis in range(phase.ndim):
        lines = np.moveaxis(phase, axis, -1).reshape(-1, phase.shape[axis])
        found.append([np.mean([_segments(line, k, periodic) for line in lines]) for k in range(longest + 1)])
    return found


@pytest.mark.parametrize("shape", [(7, 9), (4, 5, 6)])
@pytest.mark.parametrize("periodic", [True, False])
def test_lineal_path_is_that_of_the_definition(shape, periodic):
    phase = np.random.default_rng(0).random(shape) < 0.7
    phase[0] = True
    longest = min(shape) - 1
    found = lineal_path(phase, dimensions=len(shape), periodic=periodic)
    np.testing.assert_allclose(found, _path_by_definition(phase, longest, periodic), atol=1e-14)


def test_soft_lineal_path_of_hard_structures_is_exact():
    phase = np.random.default_rng(1).random((2, 3, 6, 7)) < 0.6
    np.testing.assert_allclose(soft_lineal_path(torch.tensor(phase)).numpy(), lineal_path(phase), atol=1e-14)
    volumes = np.random.default_rng(2).random((2, 4, 5, 6)) < 0.6
    soft = soft_lineal_path(torch.tensor(volumes), dimensions=3, longest=2)
    np.testing.assert_allclose(soft.numpy(), lineal_path(volumes, dimensions=3, longest=2), atol=1e-14)


def test_soft_lineal_path_has_the_gradients_of_finite_differences():
    x = torch.rand(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(soft_lineal_path, (x,))


def test_lineal_path_of_a_single_inclusion_and_of_one_phase():
    phase = np.zeros((10, 10))
    phase[2:6, 3:5] = 1  # four rows, two columns
    found = lineal_path(phase)
    np.testing.assert_allclose(found[0], np.maximum(4 - np.arange(10), 0) * 2 / 100)
    np.testing.assert_allclose(found[1], np.maximum(2 - np.arange(10), 0) * 4 / 100)
    for periodic in (True, False):
        np.testing.assert_array_equal(lineal_path(np.ones((4, 6)), periodic=periodic), 1)
        np.testing.assert_array_equal(lineal_path(np.zeros((4, 6)), periodic=periodic), 0)


def test_chords_of_stripes_have_their_width():
    stripes = np.tile(np.array([1, 1, 1, 0, 0, 0, 0, 0]), (6, 2))  # 16 columns, two stripes of three
    counts = chord_lengths(stripes)
    assert counts.shape == (2, 17)
    assert counts[1, 3] == counts[1].sum() == 12  # along rows, six of them
    assert counts[0, 6] == counts[0].sum() == 6  # along columns a stripe has no end: its side
    np.testing.assert_allclose(mean_chord(stripes), [6, 3])
    np.testing.assert_allclose(mean_chord(1 - stripes), [6, 5])
    np.testing.assert_array_equal(mean_chord(np.zeros((3, 3))), [np.nan, np.nan])


def test_chords_go_on_at_the_border_or_are_left_out():
    line = np.array([[1, 1, 0, 1, 0, 0, 1, 1, 1]])
    assert np.flatnonzero(chord_lengths(line)[1]).tolist() == [1, 5]
    assert np.flatnonzero(chord_lengths(line, periodic=False)[1]).tolist() == [1]
    rolled = np.roll(line, 4, axis=1)
    np.testing.assert_array_equal(chord_lengths(line), chord_lengths(rolled))


def test_chords_and_lineal_path_of_periodic_structures_agree():
    """The number of chords of l pixels is the second difference of the path, for lines that are not all one phase."""
    phase = two_phase_fields(3, (48, 48), 2.0, np.random.default_rng(3))
    assert not phase.all(axis=-1).any() and not phase.all(axis=-2).any()
    path = lineal_path(phase)
    second = path[..., :-2] - 2 * path[..., 1:-1] + path[..., 2:]  # of segments of l, l + 1, l + 2 pixels
    np.testing.assert_allclose(chord_lengths(phase)[..., 1:47], second * 48**2, atol=1e-9)


def test_chords_of_gaussian_fields_have_the_length_of_their_law():
    """Rice: a field of autocorrelation exp(-(r / l)^2) crosses zero every pi l / sqrt(2) on average."""
    phase = two_phase_fields(50, (128, 128), 8.0, np.random.default_rng(4))
    assert np.nanmean(mean_chord(phase)) == pytest.approx(np.pi * 8 / np.sqrt(2), rel=0.03)


def test_only_hard_phases_are_taken():
    with pytest.raises(ValueError, match="labels == k"):
        lineal_path(np.array([[0, 2], [1, 0]]))
    with pytest.raises(ValueError, match=r"density > 0\.5"):
        chord_lengths(np.array([[0, 0.3], [1, 0]]))
    with pytest.raises(ValueError, match="lag from 0 to 3"):
        lineal_path(np.zeros((4, 5)), longest=4)
    with pytest.raises(ValueError, match=r"\(\.\.\., H, W\), got \(4,\)"):
        lineal_path(np.zeros(4))


def test_chords_are_those_of_porespy():
    porespy = pytest.importorskip("porespy")
    phase = two_phase_fields(1, (60, 50), 3.0, np.random.default_rng(5))[0]
    ours = chord_lengths(phase, periodic=False)
    for axis in (0, 1):
        lines = np.moveaxis(phase, axis, 0)
        apart = np.zeros(
            (len(lines), 2 * lines.shape[1] + 3), dtype=bool
        )  # every second line is taken, none at a border
        apart[:, 2:-1:2] = lines
        drawn = porespy.filters.apply_chords(apart, axis=0, spacing=1, trim_edges=True, label=True)
        lengths = np.bincount(drawn.ravel())[1:]
        np.testing.assert_array_equal(ours[axis], np.bincount(lengths[lengths > 0], minlength=61))


def test_lineal_path_follows_from_the_linear_distances_of_porespy():
    porespy = pytest.importorskip("porespy")
    phase = two_phase_fields(1, (40, 40), 3.0, np.random.default_rng(6))[0]
    ours = lineal_path(phase, periodic=False, longest=15)
    for axis in (0, 1):
        ahead = porespy.filters.distance_transform_lin(phase, axis=axis, mode="forward")
        theirs = [(ahead > k).sum() / (40 * (40 - k)) for k in range(16)]
        np.testing.assert_allclose(ours[axis], theirs, atol=1e-14)
