"""Tiles are put together to whole arrays; masks become pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from matloop.bundles.answers import Field, Mask
from matloop.bundles.pictures import COLOURS, save, write
from matloop.bundles.whole import wholes
from matloop.drivers.training.sources.source import Extent


def tiled(shapes, tile, step):
    """Corners of overlapping tiles of several arrays, the last ones at the end of each axis."""
    whole, corners = [], []
    for number, shape in enumerate(shapes):
        axes = [[*range(0, n - t, step), n - t] for n, t in zip(shape, tile, strict=True)]
        for corner in np.array(np.meshgrid(*axes, indexing="ij")).reshape(len(tile), -1).T:
            whole.append(number)
            corners.append(corner)
    names = tuple(f"image {i}" for i in range(len(shapes)))
    return Extent(names, np.array(shapes), np.array(whole), np.array(corners))


@pytest.mark.parametrize("shapes", [[(9, 13), (5, 5)], [(6, 5, 8)], [(17,)]], ids=str)
def test_what_all_tiles_say_alike_is_said_of_the_whole(shapes) -> None:
    rng, tile = np.random.default_rng(0), (5, 5, 5)[: len(shapes[0])]
    arrays = [rng.normal(size=(2, *shape)).astype(np.float32) for shape in shapes]
    extent = tiled(shapes, tile, 3)
    answers = (
        torch.from_numpy(arrays[w][(slice(None), *(slice(c, c + t) for c, t in zip(corner, tile, strict=True)))])
        for w, corner in zip(extent.whole, extent.corner, strict=True)
    )
    found = list(wholes(extent, answers))
    assert [one.name for one in found] == list(extent.wholes)
    for one, expected in zip(found, arrays, strict=True):
        np.testing.assert_allclose(one.values, expected, rtol=1e-5, atol=1e-6)
    assert np.concatenate([one.tiles for one in found]).tolist() == list(range(len(extent.whole)))


def test_a_tile_counts_less_near_its_border() -> None:
    extent = Extent(("one",), np.array([(1, 8)]), np.array([0, 0]), np.array([(0, 0), (0, 3)]))
    answers = iter([torch.zeros(1, 1, 5), torch.ones(1, 1, 5)])
    (one,) = wholes(extent, answers)
    values = one.values[0, 0]
    assert values[:3].tolist() == [0, 0, 0] and values[5:].tolist() == [1, 1, 1]
    assert 0 < values[3] < values[4] < 1 and values[3] == pytest.approx(1 - values[4])


def test_masks_are_numbers_and_overlays_are_colours(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    classes = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)
    raw = np.arange(6, dtype=np.uint16).reshape(1, 2, 3) * 1000
    files = write(Mask("cells/first.tif", raw, classes, np.ones((2, 3), np.float32), 0.1), tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in files] == ["cells/first.png", "cells/first_overlay.png"]
    with image.open(files[0]) as mask, image.open(files[1]) as overlay:
        np.testing.assert_array_equal(np.asarray(mask), classes)
        colours, shaded = np.asarray(mask.convert("RGB")), np.asarray(overlay).astype(float)
    assert tuple(colours[0, 1]) == COLOURS[1]
    grey = (shaded - 0.45 * colours) / 0.55
    assert np.ptp(grey, axis=2).max() < 4 and grey[1, 2].mean() > 250 and grey[0, 0].mean() < 5


def test_a_mask_stays_in_its_folder_and_volumes_are_arrays(tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    volume = np.ones((2, 2, 2), np.uint8)
    (file,) = write(Mask("../../outside", np.zeros((1, 2, 2, 2)), volume, np.ones((2, 2, 2), np.float32), 0.0), folder)
    assert file == folder / "outside.npy"
    np.testing.assert_array_equal(np.load(file), volume)


def test_shares_are_of_all_classes() -> None:
    mask = Mask("a", np.zeros((1, 2, 2)), np.array([[0, 2], [2, 2]], np.uint8), np.ones((2, 2), np.float32), 0.0)
    assert mask.shares(4).tolist() == [0.25, 0, 0.75, 0]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_an_overlay_is_the_image_in_grey_or_colours_under_the_classes(tmp_path: Path, channels: int) -> None:
    """Whatever its height; the darkest and brightest hundredth of it are black and white."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(channels)
    raw = rng.integers(0, 4000, (channels, 150, 70)).astype(np.uint16)
    classes = rng.integers(0, 3, (150, 70)).astype(np.uint8)
    files = write(Mask("a", raw, classes, np.ones((150, 70), np.float32), 0.1), tmp_path)
    seen = raw[:3] if channels > 2 else np.stack([raw[0]] * 3)
    low, high = np.percentile(seen, [1, 99])
    grey = np.moveaxis(255 * ((seen - low) / (high - low)).clip(0, 1), 0, 2)
    with image.open(files[1]) as overlay:
        found = np.asarray(overlay, dtype=float)
    np.testing.assert_allclose(found, 0.55 * grey + 0.45 * np.array(COLOURS)[classes], atol=0.51)


def test_arrays_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    """Of two folders, or of two kinds of files; or where one is called like the overlay of another."""
    image = pytest.importorskip("PIL.Image")
    files = []
    for number, name in enumerate(("a.png", "a.tif", "a_overlay.png", "a.png")):
        classes = np.full((2, 2), number, np.uint8)
        files.append(write(Mask(name, classes[None], classes, np.ones((2, 2), np.float32), 0.1), tmp_path))
    assert [mask.name for mask, _ in files] == ["a.png", "a-2.png", "a_overlay-2.png", "a-3.png"]
    for number, (mask, overlay) in enumerate(files):
        with image.open(mask) as opened:
            assert (np.asarray(opened) == number).all()
        assert overlay.exists()
    assert len(list(tmp_path.iterdir())) == 8
    field = Field("a.npy", *(np.zeros((1, 2), np.float32) for _ in range(3)), 0.1)
    assert [save(field, tmp_path).name for _ in range(2)] == ["a.npy.npz", "a.npy-2.npz"]
