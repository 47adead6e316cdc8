"""Errors of statistics, distances and speckle against counts; the marks of sets that are alike and of others."""

import numpy as np
import pytest

from matloop.surrogates.generator.fields import two_phase_fields
from matloop.surrogates.microstructure.agreement import agreement
from matloop.surrogates.microstructure.distances import pairwise_distances
from matloop.surrogates.microstructure.errors import correlations, covariance_error, lineal_path_error, s2_error
from matloop.surrogates.microstructure.lineal_path import lineal_path
from matloop.surrogates.microstructure.phases import cut, indicators, label_map
from matloop.surrogates.microstructure.speckle import speckle
from matloop.surrogates.microstructure.two_point import two_point_correlation


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
    volume = np.zeros((6, 6, 6), dtype=int)
    volume[1:3, 2, 2] = 1  # two voxels, each with one like neighbour of six
    assert speckle(volume, dimensions=3) == 2 / 216


def test_errors_of_correlations_are_those_of_their_definition():
    a, b = (two_point_correlation(f) for f in two_phase_fields(2, (16, 16), 2.0, np.random.default_rng(0)))
    assert s2_error(a, b) == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(b))
    stricter = covariance_error(a, b, a[0, 0] ** 2, b[0, 0] ** 2)
    difference = (a - a[0, 0] ** 2) - (b - b[0, 0] ** 2)
    assert stricter == pytest.approx(np.linalg.norm(difference) / np.linalg.norm(b - b[0, 0] ** 2))
    assert np.isnan(covariance_error(np.ones((4, 4)), np.ones((4, 4)), 1.0, 1.0))
    assert lineal_path_error(np.array([0.5, 0.1]), np.array([0.4, 0.4])) == pytest.approx(0.4 / 0.8)


def test_for_two_phases_all_pairs_say_the_same_as_one():
    made, wanted = two_phase_fields(2, (24, 20), 2.0, np.random.default_rng(1)).astype(np.uint8)
    made.ravel()[np.flatnonzero(made == 1)[: max(int(made.sum()) - int(wanted.sum()), 0)]] = 0
    made.ravel()[np.flatnonzero(made == 0)[: max(int(wanted.sum()) - int(made.sum()), 0)]] = 1
    a, b = (two_point_correlation(f) for f in (made, wanted))
    assert agreement(made, wanted).covariance_error == pytest.approx(
        np.linalg.norm(a - b) / np.linalg.norm(b - b[0, 0] ** 2)
    )


def test_correlations_of_all_pairs_add_up_to_one():
    labels = np.random.default_rng(2).integers(0, 3, (2, 7, 6))
    for periodic in (True, False):
        np.testing.assert_allclose(correlations(labels, 3, periodic=periodic)[0].sum(axis=(0, 1)), 1, atol=1e-12)


def test_alike_sets_agree_and_others_do_not():
    rng = np.random.default_rng(4)
    reference, again, coarse = (
        two_phase_fields(600, (32, 32), length, rng).astype(np.uint8) for length in (3.0, 3.0, 5.0)
    )
    same, other, itself = (agreement(a, reference) for a in (again, coarse, reference))
    assert itself.covariance_error == itself.s2_error == itself.lineal_path_error == 0
    assert itself.speckle == 1
    assert same.covariance_error < 0.15 < 0.5 < other.covariance_error
    assert same.lineal_path_error < 0.03 < 0.2 < other.lineal_path_error
    assert same.volume_fractions == pytest.approx((0.5, 0.5), abs=0.02)


def test_lineal_path_errors_are_by_phase():
    wanted = np.zeros((16, 16), dtype=np.uint8)
    wanted[:, :4] = 1
    made = np.zeros((16, 16), dtype=np.uint8)
    made[:, [0, 1, 8, 9]] = 1  # two stripes of two instead of one of four
    errors = agreement(made, wanted).lineal_path_errors
    for k in (0, 1):
        a, b = (lineal_path(f == k, longest=7).mean(axis=0) for f in (made, wanted))
        assert errors[k] == pytest.approx(np.abs(a - b).sum() / b.sum())
    assert agreement(made, wanted).lineal_path_error == max(errors)


def test_windows_of_a_picture_without_period_are_compared_within():
    whole = two_phase_fields(600, (32, 32), 2.0, np.random.default_rng(5)).astype(np.uint8)
    windows = whole[:, :10, :12]
    honest, wrapped = (agreement(whole, windows, periodic=p) for p in (False, True))
    assert 1.5 * honest.covariance_error < wrapped.covariance_error
    assert 3 * honest.lineal_path_error < wrapped.lineal_path_error


def test_label_maps_are_numbered_and_checked():
    np.testing.assert_array_equal(label_map(np.array([[255, 0], [128, 0]])), [[2, 0], [1, 0]])
    np.testing.assert_array_equal(label_map(np.array([[True, False]])), [[1, 0]])
    np.testing.assert_array_equal(indicators(np.array([[2, 0]]), 3), [[[0, 1]], [[0, 0]], [[1, 0]]])
    np.testing.assert_array_equal(cut(np.array([[10, 100, 101, 200]]), [100, 150]), [[0, 0, 1, 2]])
    for values, said in (
        (np.zeros((4, 4)), "got 1 different"),
        (np.arange(16).reshape(4, 4), "give thresholds"),
        (np.zeros(4), r"shape \(H, W\)"),
        (np.array([[0, np.nan]]), "finite"),
    ):
        with pytest.raises(ValueError, match=said):
            label_map(values)
    with pytest.raises(ValueError, match="finite"):
        cut(np.array([[0, np.nan], [2, 2]]), [1])
    with pytest.raises(ValueError, match="thresholds that rise"):
        cut(np.zeros((2, 2)), [2, 1])
    with pytest.raises(ValueError, match=r"\[4, 0\].*from 0 to 0"):
        cut(np.zeros((2, 2)), [1])


@pytest.mark.parametrize("wrong", [np.full((4, 4), 0.3), np.full((4, 4), np.nan), -np.eye(4), np.zeros((0, 4, 4))])
def test_what_is_no_label_map_gets_no_marks(wrong):
    for pair in ((wrong, np.eye(4)), (np.eye(4), wrong)):
        with pytest.raises(ValueError, match="expected label maps of 0, 1, …"):
            agreement(*pair)
