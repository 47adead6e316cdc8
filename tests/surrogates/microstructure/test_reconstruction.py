"""Reconstructions: derivatives and predictions within, and what comes out for stripes, fields, phases and volumes."""

import numpy as np
import pytest
import torch

from matloop.surrogates.generator.fields import gaussian_fields, two_phase_fields
from matloop.surrogates.microstructure import Settings, reconstruct
from matloop.surrogates.microstructure.agreement import agreement
from matloop.surrogates.microstructure.errors import compared_correlations
from matloop.surrogates.microstructure.lineal_path import lineal_path
from matloop.surrogates.microstructure.phases import indicators
from matloop.surrogates.microstructure.reconstruction.annealing import annealed
from matloop.surrogates.microstructure.reconstruction.gram import random_filters, vgg
from matloop.surrogates.microstructure.reconstruction.reconstruct import likeness
from matloop.surrogates.microstructure.reconstruction.relaxation import correlated, relaxed, slopes
from matloop.surrogates.microstructure.reconstruction.rounding import rounded
from matloop.surrogates.microstructure.reconstruction.swaps import _changes, _Way, measured, swapped
from matloop.surrogates.microstructure.reconstruction.target import NEIGHBOURS, target_of, whole_counts, with_neighbours
from matloop.surrogates.microstructure.two_point import two_point_correlation


def _field(side=32, length=3.0, seed=0):
    return two_phase_fields(1, (side, side), length, np.random.default_rng(seed))[0].astype(np.uint8)


def _three_phases(side=32, length=3.0, seed=0):
    values = gaussian_fields(1, (side, side), length, np.random.default_rng(seed))[0]
    return np.digitize(values, [-0.4, 0.5]).astype(np.uint8)


def _shuffled(micrograph, seed=1):
    return np.random.default_rng(seed).permutation(micrograph.ravel()).reshape(micrograph.shape)


MAPS = {"two phases": _field(16), "three phases": _three_phases(16)}


@pytest.mark.parametrize("name", MAPS)
def test_error_and_slopes_are_those_of_the_definition(name):
    """The weighted sum of squares is the squared covariance error, and its slopes are finite differences."""
    micrograph = MAPS[name]
    target = target_of(micrograph, micrograph.shape, periodic=True)
    made = _shuffled(micrograph)
    shares = indicators(made, target.phases)
    spectra, errors = correlated(target, shares)
    value = (errors**2 * target.lags).sum()
    expected = compared_correlations(made, micrograph, target.phases)[1]
    assert np.sqrt(value) == pytest.approx(expected, rel=1e-4)
    found = slopes(target, spectra, errors)
    for phase, place in ((1, (3, 4)), (target.phases - 1, (0, 15))):
        sides = []
        for step in (1e-3, -1e-3):
            moved = shares.copy()
            moved[(phase, *place)] += step
            sides.append((correlated(target, moved)[1] ** 2 * target.lags).sum())
        assert found[(phase, *place)] == pytest.approx((sides[0] - sides[1]) / 2e-3, rel=1e-3)


@pytest.mark.parametrize("name", MAPS)
def test_changes_by_exchanges_are_foreseen(name):
    micrograph = MAPS[name]
    target = target_of(micrograph, micrograph.shape, periodic=True)
    state = measured(target, _shuffled(micrograph), 2.0)
    rng = np.random.default_rng(0)
    for a, b in ((0, 1), (1, target.phases - 1)) if target.phases > 2 else ((0, 1),):
        ways = [_Way(target, state, a, b, 2.0), _Way(target, state, b, a, 2.0)]
        pixels = tuple(np.sort(rng.choice(way.pixels, 12, replace=False)) for way in ways)
        foreseen = _changes(target, state, ways, pixels, 2.0)
        true = np.empty_like(foreseen)
        for i, j in np.ndindex(true.shape):
            labels = state.labels.copy()
            labels.flat[pixels[0][i]], labels.flat[pixels[1][j]] = b, a
            true[i, j] = measured(target, labels, 2.0).value - state.value
        assert np.corrcoef(foreseen.ravel(), true.ravel())[0, 1] > 0.99
        assert np.median(abs(foreseen - true)) < 0.05 * abs(true).mean()


def test_states_have_the_lineal_paths_of_their_labels():
    micrograph = _three_phases()
    target = target_of(micrograph, micrograph.shape, periodic=True)
    made = _shuffled(micrograph)
    for k in range(3):
        expected = lineal_path(made == k, longest=15) - lineal_path(micrograph == k, longest=15)
        np.testing.assert_allclose(measured(target, made, 1.0).path_errors[k], expected, atol=1e-12)


def test_exchanges_lower_the_error_and_keep_the_numbers_of_pixels():
    micrograph = _three_phases()
    target = target_of(micrograph, micrograph.shape, periodic=True)
    start = _shuffled(micrograph)
    few, more = (swapped(target, start, np.random.default_rng(0), moves=n, path_weight=1.0) for n in (5, 50))
    assert more.value < few.value < measured(target, start, 1.0).value
    assert np.bincount(more.labels.ravel()).tolist() == np.bincount(micrograph.ravel()).tolist()


def test_a_structure_that_is_right_stays_as_it_is():
    micrograph = _field()
    target = target_of(micrograph, micrograph.shape, periodic=True)
    moved = np.roll(micrograph, (5, 9), (0, 1))
    state = swapped(target, moved, np.random.default_rng(0), moves=10, path_weight=1.0)
    np.testing.assert_array_equal(state.labels, moved)
    assert state.value < 1e-8


@pytest.mark.parametrize("k", [2, 3, 5])
def test_rounding_gives_exact_numbers_and_the_most_likely_phases(k):
    rng = np.random.default_rng(k)
    shares = rng.dirichlet(np.full(k, 0.3), (12, 11)).transpose(2, 0, 1)
    free = np.bincount(shares.argmax(axis=0).ravel(), minlength=k)
    np.testing.assert_array_equal(rounded(shares, tuple(free)), shares.argmax(axis=0))
    for counts in (
        (132 - 7 * (k - 1), *[7] * (k - 1)),
        (0, 132, *[0] * (k - 2)),
        tuple(whole_counts([1 / k] * k, 132)),
    ):
        labels = rounded(shares, counts)
        assert np.bincount(labels.ravel(), minlength=k).tolist() == list(counts)
    ties = np.full((k, 12, 11), 1 / k)
    assert np.bincount(rounded(ties, counts).ravel(), minlength=k).tolist() == list(counts)


def test_whole_counts_are_nearest_to_shares():
    assert whole_counts([0.5, 0.25, 0.25], 10) == (5, 3, 2)
    assert whole_counts([1 / 3, 2 / 3], 9) == (3, 6)
    assert sum(whole_counts([0.1] * 7 + [0.3], 101)) == 101


def test_neighbours_have_their_share_of_the_weight():
    for micrograph in MAPS.values():
        target = target_of(micrograph, micrograph.shape, periodic=True)
        lags = with_neighbours(target).lags
        gained = lags - target.lags
        near = np.zeros(micrograph.shape, dtype=bool)
        near[np.ix_([-1, 0, 1], [-1, 0, 1])] = True
        near[0, 0] = False
        assert (gained[:, near] > 0).all() and (gained[:, ~near] == 0).all()
        assert gained.sum() / lags.sum() == pytest.approx(NEIGHBOURS, rel=1e-5)


def test_relaxation_finds_the_correlation():
    micrograph = _field()
    target = target_of(micrograph, micrograph.shape, periodic=True)
    shares = relaxed(target, np.random.default_rng(0), steps=300)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-5)
    assert np.sqrt((correlated(target, shares)[1] ** 2 * target.lags).sum()) < 0.3


QUICK = Settings(steps=600, starts=1)


def test_reconstructions_agree_repeat_and_are_no_copies():
    micrograph = _field(48, 2.0)
    found = [reconstruct(micrograph, periodic=True, seed=seed, settings=QUICK) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(found[0].labels, found[1].labels)
    for one in (found[0], found[2]):
        assert one.labels.sum() == micrograph.sum() and one.labels.dtype == np.uint8
        assert one.agreement.covariance_error < 0.15
        assert one.agreement.lineal_path_error < 0.05
        assert one.likeness < 0.85
        assert one.agreement == agreement(one.labels, micrograph)
    assert likeness(found[0].labels, found[2].labels) < 0.85


def test_the_best_of_several_starts_is_kept():
    micrograph = _field(24)
    several = reconstruct(micrograph, periodic=True, settings=Settings(steps=100, starts=3, path_weight=0.0))
    single = reconstruct(micrograph, periodic=True, settings=Settings(steps=100, starts=1, path_weight=0.0))
    assert several.agreement.covariance_error <= single.agreement.covariance_error


def test_stripes_come_back_as_stripes():
    stripes = np.tile((np.arange(24) % 8 < 3).astype(np.uint8), (24, 1))
    found = reconstruct(stripes, periodic=True, settings=QUICK)
    assert found.agreement.covariance_error < 0.05
    assert found.likeness > 0.9


def test_three_phases_lie_to_each_other_as_in_the_micrograph():
    micrograph = _three_phases()  # phases 0 and 2 hardly touch
    found = reconstruct(micrograph, periodic=True, settings=QUICK)
    assert np.bincount(found.labels.ravel()).tolist() == np.bincount(micrograph.ravel()).tolist()
    assert found.agreement.covariance_error < 0.3
    touching = [np.mean((a == 0) & (np.roll(a, 1, 0) == 2)) for a in (found.labels, _shuffled(micrograph))]
    assert touching[0] < 0.2 * touching[1]


def test_labels_of_any_values_are_numbered():
    micrograph = _field(16)
    a, b = (reconstruct(m, periodic=True, settings=QUICK).labels for m in (micrograph, micrograph * 255.0))
    np.testing.assert_array_equal(a, b)


def test_a_window_is_not_taken_for_a_unit_cell():
    """With wrap-around, a reconstruction has the seam's statistics, which the material does not have."""
    window = two_phase_fields(1, (96, 96), 3.0, np.random.default_rng(0))[0, :24, :24].astype(np.uint8)
    honest, wrapped = (reconstruct(window, periodic=p, settings=QUICK) for p in (False, True))
    assert honest.agreement == agreement(honest.labels, window, periodic=False)
    taken = agreement(wrapped.labels, window, periodic=False)
    assert 1.5 * honest.agreement.covariance_error < taken.covariance_error
    assert 2 * honest.agreement.lineal_path_error < taken.lineal_path_error


@pytest.mark.parametrize("shape", [(48, 40), (20, 24)])
def test_other_shapes_than_the_micrograph_s(shape):
    micrograph = _field()
    found = reconstruct(micrograph, shape=shape, periodic=True, settings=QUICK)
    assert found.labels.shape == shape
    assert found.labels.mean() == pytest.approx(micrograph.mean(), abs=1 / np.prod(shape))
    assert found.agreement.covariance_error < 0.25
    assert np.isnan(found.likeness)


@pytest.mark.parametrize("shape", [(9, 13), (12, 16)])
def test_lags_of_a_smaller_micrograph_are_placed_in_a_larger_structure(shape):
    """A repeated structure has its micrograph's correlation at all lags that the micrograph has."""
    micrograph = np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)
    repeated = np.tile(micrograph, (2, 3))
    target = target_of(micrograph, repeated.shape, periodic=True)
    known = target.lags[0] > 0
    np.testing.assert_allclose(target.correlations[0][known], two_point_correlation(repeated)[known], atol=1e-6)
    np.testing.assert_array_equal(known, np.roll(np.flip(known), 1, (0, 1)))
    assert known.sum() > 0.8 * micrograph.size


def test_a_volume_has_the_statistics_of_its_plane_in_all_directions():
    micrograph = _field(16, 2.0)
    found = reconstruct(micrograph, shape=(16, 16, 16), periodic=True, settings=Settings(steps=100, starts=1))
    assert found.labels.shape == (16, 16, 16)
    assert found.labels.mean() == pytest.approx(micrograph.mean(), abs=1e-3)
    assert found.agreement.covariance_error < 0.6  # one micrograph is not isotropic, a volume is made to be
    for axis in range(3):
        slices = np.moveaxis(found.labels, axis, 0)
        assert agreement(slices, micrograph).lineal_path_error < 0.25


def test_a_volume_has_the_statistics_of_a_volume():
    rng = np.random.default_rng(0)
    volume = (np.cumsum(rng.standard_normal((10, 10, 12)), axis=2) > 0).astype(np.uint8)  # long along the last axis
    found = reconstruct(volume, periodic=False, settings=Settings(steps=100, starts=1))
    assert found.labels.sum() == volume.sum()
    assert found.agreement == agreement(found.labels, volume, dimensions=3, periodic=False)
    along = [lineal_path(a == 1, dimensions=3, longest=3)[:, 3] for a in (found.labels, volume)]
    assert along[0][2] > 1.5 * max(along[0][:2]) and along[1][2] > 1.5 * max(along[1][:2])


def test_annealing_lowers_the_error_of_the_correlation():
    micrograph = _field()
    target = target_of(micrograph, micrograph.shape, periodic=True)
    labels = annealed(target, np.random.default_rng(0), swaps=8000)
    assert labels.sum() == micrograph.sum()
    assert agreement(labels, micrograph).covariance_error < 0.2
    assert agreement(_shuffled(micrograph), micrograph).covariance_error > 0.8
    with pytest.raises(ValueError, match="two phases in 2-D"):
        reconstruct(_three_phases(16), periodic=True, method="annealing")


def test_one_pixel_is_annealed_to_one_pixel():
    labels = reconstruct(np.arange(64).reshape(8, 8) == 27, periodic=True, method="annealing").labels
    assert labels.shape == (8, 8) and labels.sum() == 1


def test_gram_matrices_are_compared_at_the_sizes_of_both():
    for micrograph, shape in ((_field(40), (16, 20)), (_field(16), (40, 32))):
        made = reconstruct(micrograph, shape=shape, method="gram", settings=Settings(steps=3, starts=1))
        assert made.labels.shape == shape
    with pytest.raises(ValueError, match="sides of more than 7 pixels"):
        reconstruct(_field(6), method="gram")


def test_gram_matrices_find_the_texture():
    micrograph = _field(24)
    found = reconstruct(micrograph, periodic=True, method="gram", settings=Settings(steps=20, starts=1))
    noise = agreement(_shuffled(micrograph), micrograph).lineal_path_error
    assert found.labels.sum() == micrograph.sum()
    assert found.agreement.lineal_path_error < 0.8 * noise
    matrices = random_filters(2)
    shares = torch.from_numpy(indicators(micrograph, 2)).float()
    moved = shares.roll((3, 5), dims=(1, 2))
    torch.testing.assert_close(matrices(moved)[0], matrices(shares)[0], rtol=1e-4, atol=1e-5)


def test_vgg_takes_the_weights_of_a_file(tmp_path):
    channels, state, before = (64, 64, 128, 128, 256, 256, 256, 256, 512), {}, 3
    generator = torch.Generator().manual_seed(0)
    for place, after in zip((0, 2, 5, 7, 10, 12, 14, 16, 19), channels, strict=True):
        state[f"features.{place}.weight"] = torch.randn(after, before, 3, 3, generator=generator) / (3 * before**0.5)
        state[f"features.{place}.bias"] = torch.zeros(after)
        before = after
    torch.save(state, tmp_path / "vgg.pt")
    assert [len(m) for m in vgg(tmp_path / "vgg.pt")(torch.rand(2, 16, 16))] == [64, 128, 256, 512]
    settings = Settings(steps=2, starts=1, weights=tmp_path / "vgg.pt")
    assert reconstruct(_field(16), periodic=True, method="vgg", settings=settings).labels.sum() == _field(16).sum()
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="torchvision's vgg19"):
        vgg(tmp_path / "other.pt")
    with pytest.raises(ValueError, match="set `weights`"):
        reconstruct(_field(16), method="vgg")


def test_likeness_tells_copies_from_others():
    a, b = _field(seed=0), _field(seed=1)
    assert likeness(np.roll(a, (3, 7), (0, 1)), a) == pytest.approx(1)
    assert likeness(np.roll(a[::-1, ::-1], 4, 0), a) == pytest.approx(1)
    assert likeness(b, a) < 0.7
    assert np.isnan(likeness(a, a[:16]))


def test_what_cannot_be_done_is_said():
    for arguments, said in (
        ({"method": "magic"}, "descriptors, annealing"),
        ({"shape": (8, 8, 9)}, "three equal sides"),
        ({"shape": (8,)}, "a shape like"),
    ):
        with pytest.raises(ValueError, match=said):
            reconstruct(_field(16), **arguments)
    with pytest.raises(ValueError, match="give thresholds"):
        reconstruct(np.random.default_rng(0).random((16, 16)))
    for wrong in ({"steps": 0}, {"starts": 0}, {"path_weight": -1.0}):
        with pytest.raises(ValueError, match="expected"):
            Settings(**wrong)
