"""The same picture, volume or signal in several files: one group, and people are told."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from matloop.drivers.training.sources.joined import WithTest
from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.sources.registry import source

RNG = np.random.default_rng(0)


def pictures(folder, n=4):
    for name in ("a", "b"):
        (folder / name).mkdir()
        for i in range(n):
            Image.fromarray(RNG.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / name / f"{i}.png")


def grouped(data):
    """Pairs of rows of one group."""
    same = data.groups[:, None] == data.groups
    return {tuple(sorted(pair)) for pair in zip(*np.nonzero(same), strict=True) if pair[0] != pair[1]}


def test_a_copy_is_of_the_same_group_also_in_another_format(tmp_path):
    pictures(tmp_path)
    Image.open(tmp_path / "a" / "1.png").save(tmp_path / "a" / "9.bmp")
    data = load({"kind": "images", "path": tmp_path})
    first, copy = data.ids.tolist().index("a/1.png"), data.ids.tolist().index("a/9.bmp")
    assert grouped(data) == {(first, copy)}
    assert data.problems == ("a/1.png has the same content as a/9.bmp; they stay on one side of a split",)


def test_of_two_classes_and_many_of_them(tmp_path):
    pictures(tmp_path)
    for i in range(4):
        (tmp_path / "b" / f"copy{i}.png").write_bytes((tmp_path / "a" / f"{i}.png").read_bytes())
    data = load({"kind": "images", "path": tmp_path})
    assert len(grouped(data)) == 4
    assert "and different targets: look which is right" in data.problems[0]
    assert data.problems[2:] == ("and 2 more such files",)


def test_groups_of_names_and_of_content_are_joined(tmp_path):
    pictures(tmp_path)
    (tmp_path / "b" / "3.png").write_bytes((tmp_path / "a" / "0.png").read_bytes())
    data = load({"kind": "images", "path": tmp_path, "group": r"(\d)\.png"})
    rows = [i for i, name in enumerate(data.ids) if name[-5] in "03"]
    assert len({data.groups[i] for i in rows}) == 1 and len(np.unique(data.groups)) == 3


def test_equal_tiles_of_different_pictures_are_no_twins(tmp_path):
    """Background looks alike everywhere."""
    (tmp_path / "m").mkdir()
    for i in range(3):
        array = RNG.integers(0, 255, (8, 16), dtype=np.uint8)
        array[:, :8] = 0
        Image.fromarray(array).save(tmp_path / f"{i}.png")
        Image.fromarray(np.eye(8, 16, dtype=np.uint8)).save(tmp_path / "m" / f"{i}.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "m" / "copy.png").write_bytes((tmp_path / "m" / "0.png").read_bytes())
    data = load({"kind": "images", "path": tmp_path, "masks": tmp_path / "m", "tile": 8})
    assert len(data) == 8 and len(np.unique(data.groups)) == 3
    assert "0.png has the same content as copy.png" in " ".join(data.problems)


def test_pictures_of_the_training_among_those_of_the_test_are_named(tmp_path):
    """And twins of one source have nothing to do with other twins of the other one."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        pictures(tmp_path / name, n=5)
        (tmp_path / name / "b" / "9.png").write_bytes((tmp_path / name / "a" / "0.png").read_bytes())
    (tmp_path / "new" / "a" / "3.png").write_bytes((tmp_path / "old" / "a" / "3.png").read_bytes())
    first, second = ({"kind": "images", "path": tmp_path / name} for name in ("old", "new"))
    data = WithTest(first=source(first), test=source(second)).read()
    assert [len(pair) for pair in grouped(data)] == [2, 2]
    assert "new: the inputs of 1 of 11 rows, such as 'a/3.png', are among those of old too" in data.problems[-1]


def test_volumes_and_signals(tmp_path):
    for kind in ("volumes", "signals"):
        for name in ("a", "b"):
            (tmp_path / kind / name).mkdir(parents=True)
            for i in range(3):
                if kind == "volumes":
                    np.save(tmp_path / kind / name / f"{i}.npy", RNG.normal(size=(1, 4, 4, 4)))
                else:
                    np.savetxt(tmp_path / kind / name / f"{i}.txt", np.stack([np.arange(9), RNG.normal(size=9)], 1))
        end = "npy" if kind == "volumes" else "txt"
        (tmp_path / kind / "a" / f"9.{end}").write_bytes((tmp_path / kind / "a" / f"2.{end}").read_bytes())
        data = load({"kind": kind, "path": tmp_path / kind})
        assert grouped(data) == {(2, 3)} and "has the same content" in data.problems[-1]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pictures_are_turned_as_the_camera_says(tmp_path, orientation):
    """As people see them, and as they draw masks on them."""
    upright = np.zeros((6, 8), dtype=np.uint8)
    upright[:2, :5] = 200
    turns = {1: 0, 3: 2, 6: 1, 8: 3}[orientation]  # quarter turns against the clock that the camera was held by
    exif = Image.Exif()
    exif[274] = orientation
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.ascontiguousarray(np.rot90(upright, turns))).save(tmp_path / name / "0.png", exif=exif)
    data = load({"kind": "images", "path": tmp_path})
    np.testing.assert_array_equal(data.x[0, 0], upright)


def test_a_damaged_tiff_is_told_once(tmp_path, caplog):
    tifffile = pytest.importorskip("tifffile")
    pictures(tmp_path)
    tifffile.imwrite(tmp_path / "a" / "t.tif", RNG.integers(0, 255, (8, 8), dtype=np.uint8))
    content = bytearray((tmp_path / "a" / "t.tif").read_bytes())
    content[4:8] = (10**6).to_bytes(4, "little")  # where the first picture is said to be
    (tmp_path / "a" / "t.tif").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        data = load({"kind": "images", "path": tmp_path})
    assert len(data) == 8 and [text.partition(":")[0] for text in data.problems] == ["a/t.tif"]
    assert not caplog.records
