"""Clusters that go on at the border, and the cluster function against loops, inclusions and porespy's labels."""

import itertools

import numpy as np
import pytest

from matloop.surrogates.generator.fields import two_phase_fields
from matloop.surrogates.microstructure.clusters import SMALL, cluster_function, clusters
from matloop.surrogates.microstructure.two_point import two_point_correlation


def _flooded(phase, periodic, diagonal):
    """Labels by walking from pixel to pixel."""
    labels, n = np.zeros(phase.shape, dtype=int), 0
    reach = [
        s for s in itertools.product((-1, 0, 1), repeat=phase.ndim) if any(s) and (diagonal or sum(map(abs, s)) == 1)
    ]
    for start in zip(*np.nonzero(phase), strict=True):
        if labels[start]:
            continue
        n += 1
        stack = [start]
        while stack:
            place = stack.pop()
            if labels[place] or not phase[place]:
                continue
            labels[place] = n
            for step in reach:
                there = tuple(int(p + s) for p, s in zip(place, step, strict=True))
                if periodic:
                    stack.append(tuple(p % side for p, side in zip(there, phase.shape, strict=True)))
                elif all(0 <= p < side for p, side in zip(there, phase.shape, strict=True)):
                    stack.append(there)
    return labels, n


@pytest.mark.parametrize("shape", [(9, 11), (4, 5, 6)])
@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("diagonal", [True, False])
def test_clusters_are_those_of_a_walk(shape, periodic, diagonal):
    for seed in range(3):
        phase = np.random.default_rng(seed).random(shape) < (0.3 if diagonal else 0.45)
        labels, n = clusters(phase, periodic=periodic, diagonal=diagonal)
        walked, m = _flooded(phase, periodic, diagonal)
        assert n == m == labels.max()
        assert len(np.unique(np.stack([labels, walked]).reshape(2, -1), axis=1).T) == n + (not phase.all())


@pytest.mark.parametrize("periodic", [True, False])
def test_cluster_function_is_the_sum_over_clusters(periodic):
    """Small clusters are counted by pairs and large ones by transforms; the sum is of transforms alone."""
    phase = np.random.default_rng(5).random((24, 20)) < 0.5
    labels, n = clusters(phase, periodic=periodic)
    sizes = np.bincount(labels.ravel())[1:]
    assert (sizes <= SMALL).any() and (sizes > SMALL).any()
    expected = sum(two_point_correlation(labels == k, periodic=periodic) for k in range(1, n + 1))
    np.testing.assert_allclose(cluster_function(phase, periodic=periodic), expected, atol=1e-13)


def test_cluster_function_of_one_piece_is_the_correlation():
    phase = np.zeros((10, 12))
    phase[[0, 1, 9], 3:7] = 1  # one piece across the border
    assert clusters(phase)[1] == 1
    assert clusters(phase, periodic=False)[1] == 2
    np.testing.assert_allclose(cluster_function(phase), two_point_correlation(phase), atol=1e-14)
    np.testing.assert_array_equal(cluster_function(np.zeros((4, 4))), 0)
    np.testing.assert_allclose(cluster_function(np.ones((4, 4))), 1, atol=1e-14)


def test_two_inclusions_do_not_see_each_other():
    phase = np.zeros((1, 16, 16))
    phase[0, 2:4, 2:4] = phase[0, 2:4, 10:12] = 1
    c2, s2 = cluster_function(phase)[0], two_point_correlation(phase)[0]
    assert c2[0, 0] == s2[0, 0] == pytest.approx(8 / 256)
    assert c2[0, 8] == 0 < s2[0, 8]
    assert c2.sum() == pytest.approx(2 * 4 * 4 / 256)


def test_a_checkerboard_is_connected_by_corners_only():
    board = np.indices((6, 6)).sum(axis=0) % 2
    assert clusters(board)[1] == 18
    assert clusters(board, diagonal=True)[1] == 1


def test_percolating_clusters_are_those_of_porespy():
    porespy = pytest.importorskip("porespy")
    phase = two_phase_fields(1, (40, 40), 3.0, np.random.default_rng(6))[0]
    labels, _ = clusters(phase, periodic=False)
    through = np.intersect1d(labels[0][labels[0] > 0], labels[-1][labels[-1] > 0])
    assert bool(len(through)) == porespy.metrics.is_percolating(phase, axis=0)
