"""Images as training data: classes by folder, masks, targets in a table, tiles, bit depths, what is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.sources.registry import source, source_from
from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load as load_campaign
from matloop.orchestrator.errors import ConfigError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return array


def test_a_class_by_folder(tmp_path, rng):
    images = {
        f"{name}/{i}.png": write(tmp_path / name / f"{i}.png", rng.integers(0, 255, (8, 9, 3), dtype=np.uint8))
        for name in ("lath", "grain")
        for i in range(3)
    }
    (tmp_path / "lath" / "broken.png").write_bytes(b"no picture")
    write(tmp_path / "lath" / ".hidden.png", images["lath/0.png"])
    write(tmp_path / "loose.png", images["lath/0.png"])
    data = load({"kind": "images", "path": tmp_path})
    assert data.x.shape == (6, 3, 8, 9) and data.x.dtype == np.uint8
    assert data.names == ("grain", "lath") and data.y.tolist() == [0, 0, 0, 1, 1, 1]
    for name, x in zip(data.ids, data.x, strict=True):
        assert np.array_equal(np.moveaxis(x, 0, -1), images[name])
    assert data.groups is None
    loose, broken = data.problems
    assert loose.startswith("loose.png: ") and broken.startswith("lath/broken.png: expected a picture")


def test_depths_and_colours_are_brought_together(tmp_path, rng):
    grey = write(tmp_path / "a" / "grey.png", rng.integers(0, 255, (6, 6), dtype=np.uint8))
    deep = write(tmp_path / "b" / "deep.tif", rng.integers(0, 65535, (6, 6), dtype=np.uint16))
    data = load({"kind": "images", "path": tmp_path})
    assert data.x.dtype == np.uint16 and data.x.shape == (2, 1, 6, 6)
    assert np.array_equal(data.x[0, 0], grey.astype(np.uint16) * 257) and np.array_equal(data.x[1, 0], deep)
    colours = write(tmp_path / "b" / "colours.png", rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    both = load({"kind": "images", "path": tmp_path})
    assert both.x.shape == (3, 3, 6, 6) and np.array_equal(both.x[1, 2], colours[..., 2].astype(np.uint16) * 257)
    without = load({"kind": "images", "path": tmp_path, "grey": True})
    assert without.x.shape == (3, 1, 6, 6)
    luminance = np.asarray(Image.fromarray(colours).convert("L")).astype(int) * 257
    assert np.abs(without.x[1, 0].astype(int) - luminance).max() <= 257


def test_sixteen_bits_in_colour(tmp_path, rng):
    tifffile = pytest.importorskip("tifffile")
    picture = rng.integers(0, 65535, (7, 6, 3), dtype=np.uint16)
    for name in "ab":
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "x.tif", picture, photometric="rgb")
    tifffile.imwrite(tmp_path / "a" / "stack.tif", rng.integers(0, 255, (5, 7, 6), dtype=np.uint8))
    data = load({"kind": "images", "path": tmp_path})
    assert data.x.dtype == np.uint16 and np.array_equal(np.moveaxis(data.x[0], 0, -1), picture)
    assert "kind: volumes" in data.problems[0]


def test_targets_in_a_table(tmp_path, rng):
    for i in range(4):
        write(tmp_path / "images" / f"m{i}.png", rng.integers(0, 255, (5, 5), dtype=np.uint8))
    (tmp_path / "t.csv").write_text("image,specimen,strength\nm1.png,A,10.5\nm0,A,20\nm9,B,30\nm2.png,B,\n")
    data = load({
        "kind": "images", "path": tmp_path / "images", "table": tmp_path / "t.csv", "file": "image",
        "target": "strength", "group": "specimen",
    })  # fmt: skip
    assert data.ids.tolist() == ["m1.png", "m0.png"] and data.y.tolist() == [10.5, 20.0]
    assert data.groups.tolist() == [0, 0]
    assert [problem.partition(":")[0] for problem in data.problems[:2]] == ["t.csv, line 4", "t.csv, line 5"]
    assert "2 files" in data.problems[2]


@pytest.mark.parametrize("where", ["folder", "suffix"])
def test_masks_and_tiles(tmp_path, rng, where):
    images, masks = {}, {}
    for name in "pq":
        images[name] = write(tmp_path / "set" / f"{name}.png", rng.integers(0, 255, (10, 13), dtype=np.uint8))
        masks[name] = rng.choice(np.array([0, 128, 255], dtype=np.uint8), (10, 13))
        place = tmp_path / "masks" / f"{name}.png" if where == "folder" else tmp_path / "set" / f"{name}_mask.png"
        write(place, masks[name])
    write(tmp_path / "set" / "unmasked.png", images["p"])
    options = {"masks": tmp_path / "masks"} if where == "folder" else {"mask_suffix": "_mask"}
    options |= {"classes": {0: "matrix", 255: "precipitate"}, "tile": 6, "overlap": 2}
    data = load({"kind": "images", "path": tmp_path / "set", **options})
    assert data.x.shape == (12, 1, 6, 6) and data.y.shape == (12, 6, 6) and data.y.dtype == np.uint8
    assert data.names == ("matrix", "128", "precipitate")
    assert data.groups.tolist() == [0] * 6 + [1] * 6
    assert data.ids[:4].tolist() == ["p.png at 0,0", "p.png at 0,4", "p.png at 0,7", "p.png at 4,0"]
    for i, (name, top, left) in enumerate((name, top, left) for name in "pq" for top in (0, 4) for left in (0, 4, 7)):
        place = slice(top, top + 6), slice(left, left + 6)
        assert np.array_equal(data.x[i, 0], images[name][place])
        assert np.array_equal(data.y[i], np.searchsorted([0, 128, 255], masks[name][place]))
    assert data.problems == ("unmasked.png: found no mask of it; left out",)


def test_masks_in_colours_and_as_a_property(tmp_path, rng):
    red, blue = (255, 0, 0), (0, 0, 255)
    mask = np.array([red, blue], dtype=np.uint8)[rng.integers(0, 2, (4, 5))]
    write(tmp_path / "a.png", rng.integers(0, 255, (4, 5), dtype=np.uint8))
    write(tmp_path / "a_m.png", mask)
    data = load({"kind": "images", "path": tmp_path, "mask_suffix": "_m"})
    assert data.names == ("#0000ff", "#ff0000")
    assert np.array_equal(data.y[0] == 1, mask[..., 0] == 255)
    strain = rng.normal(size=(4, 5)).astype(np.float32)
    write(tmp_path / "a_m.tif", strain)
    (tmp_path / "a_m.png").unlink()
    with pytest.raises(ValueError, match="field: true"):
        load({"kind": "images", "path": tmp_path, "mask_suffix": "_m"})
    data = load({"kind": "images", "path": tmp_path, "mask_suffix": "_m", "field": True})
    assert np.array_equal(data.y[0], strain) and data.names == ()


def test_images_of_several_sizes(tmp_path, rng):
    for i in range(4):
        write(tmp_path / "ab"[i % 2] / f"{i}.png", np.full((6 + 2 * (i > 1), 6), 10 * i, dtype=np.uint8))
    with pytest.raises(ValueError, match="2 of 6 × 6, 2 of 8 × 6; say `size"):
        load({"kind": "images", "path": tmp_path})
    data = load({"kind": "images", "path": tmp_path, "size": [3, 4]})
    assert data.x.shape == (4, 1, 3, 4) and data.x[:, 0].mean(axis=(1, 2)).tolist() == [0, 20, 10, 30]


def test_a_few_of_another_size_are_left_out(tmp_path):
    for i in range(40):
        write(tmp_path / "ab"[i % 2] / f"{i:02}.png", np.full((6, 6 + (i == 39)), i, dtype=np.uint8))
    data = load({"kind": "images", "path": tmp_path})
    assert len(data) == 39 and data.problems == ("b/39.png: expected an image of 6 × 6 pixels, got 6 × 7; left out",)


def test_groups_by_the_files_names(tmp_path):
    for i, name in enumerate(("S1_a", "S2_a", "S1_b")):
        write(tmp_path / ("x" if "a" in name else "y") / f"{name}.png", np.full((4, 4), i, dtype=np.uint8))
    data = load({"kind": "images", "path": tmp_path, "group": r"(S\d+)_"})
    assert data.groups.tolist() == [0, 1, 0]
    with pytest.raises(ConfigError, match="parentheses"):
        load({"kind": "images", "path": tmp_path, "group": "S"})


def test_new_images_are_read_as_those_of_the_training(tmp_path, rng):
    for name in ("a/1", "b/2"):
        write(tmp_path / "old" / f"{name}.png", rng.integers(0, 255, (8, 8), dtype=np.uint8))
    new = write(tmp_path / "new" / "n.tif", rng.integers(0, 65535, (8, 11), dtype=np.uint16))
    write(tmp_path / "new" / "small.png", np.zeros((4, 4), dtype=np.uint8))
    first = source({"kind": "images", "path": tmp_path / "old", "tile": 8})
    found = source_from(json.loads(json.dumps(first.settings()))).inputs(tmp_path / "new")
    assert found.x.shape == (2, 1, 8, 8) and found.x.dtype == np.uint8
    assert np.array_equal(found.x[1, 0], new[:, 3:] // 257)
    assert found.ids.tolist() == ["n.tif at 0,0", "n.tif at 0,3"]
    assert found.extent.wholes == ("n.tif",) and found.extent.shapes.tolist() == [[8, 11]]
    assert found.extent.whole.tolist() == [0, 0] and found.extent.corner.tolist() == [[0, 0], [0, 3]]
    assert found.problems == ("small.png: expected at least 8 × 8 for a tile, got 4 × 4; left out",)


def test_what_is_in_the_folder_is_on_record(tmp_path, rng):
    """So that a campaign that goes on with other images says so."""
    for i in range(20):
        write(tmp_path / "set" / "ab"[i % 2] / f"{i}.png", rng.integers(0, 255, (8, 8), dtype=np.uint8))
    (tmp_path / "c.yaml").write_text("""
name: own
studies:
  search:
    space: {kind: conv_network, max_layers: 1}
    driver: {kind: training, data: {kind: images, path: set}, task: classification}
    strategy: random
    budget: {trials: 1}
""")
    key = "studies.search.driver.data.path"
    first, again = (validate(load_campaign(tmp_path / "c.yaml"))[1]["files"] for _ in range(2))
    assert first == again and [*first] == [key]
    write(tmp_path / "set" / "a" / "new.png", rng.integers(0, 255, (8, 8), dtype=np.uint8))
    assert validate(load_campaign(tmp_path / "c.yaml"))[1]["files"][key] != first[key]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 4, "overlap": 4}, "overlap"),
        ({"overlap": 2}, "tile"),
        ({"size": [1, 2, 3]}, "size"),
        ({"table": "t.csv", "mask_suffix": "_m"}, "both"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        source({"kind": "images", "path": tmp_path, **options})


def test_folders_without_images_or_classes(tmp_path):
    with pytest.raises(FileNotFoundError, match="correct `path`"):
        load({"kind": "images", "path": tmp_path / "none"})
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"found 1 \.txt"):
        load({"kind": "images", "path": tmp_path})
    write(tmp_path / "only" / "a.png", np.zeros((4, 4), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"two classes in folders .* got \['only'\]"):
        load({"kind": "images", "path": tmp_path})
