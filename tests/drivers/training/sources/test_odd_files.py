"""Files that people really have: damaged ones, odd colours, links, names and masks; one odd file stops nothing."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pymatgen.core import Lattice, Structure

from matloop.drivers.training.sources import pictures
from matloop.drivers.training.sources.loading import load
from matloop.drivers.training.sources.registry import source

RNG = np.random.default_rng(0)


def noise(*shape, dtype=np.uint8):
    return RNG.integers(0, 255, shape).astype(dtype)


@pytest.fixture
def folder(tmp_path):
    """Two classes of three grey images."""
    for name in ("a/0", "a/1", "a/2", "b/3", "b/4", "b/5"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(6, 7)).save(tmp_path / "set" / f"{name}.png")
    return tmp_path / "set"


def read(folder, **options):
    return load({"kind": "images", "path": folder, **options})


def said(data):
    """What is left out and why, by file."""
    return dict(problem.split(": ", 1) for problem in data.problems)


def test_damaged_pictures_are_left_out_with_words_of_their_own(folder):
    whole = (folder / "a" / "0.png").read_bytes()
    for name, content in {
        "text.png": b"<html>", "empty.png": b"", "half.png": whole[: len(whole) // 2], "empty.tif": b"",
        "short.tif": b"II*\0", "noise.tif": b"II*\0junkjunk", "noise.jpg": b"\xff\xd8\xff\xe0junk",
    }.items():  # fmt: skip
        (folder / "a" / name).write_bytes(content)
    (folder / "b" / "folder.png").mkdir()
    data = read(folder)
    assert len(data) == 6
    found = said(data)
    assert {*found} == {f"a/{name}" for name in ("text.png", "empty.png", "half.png", "empty.tif", "short.tif",
                        "noise.tif", "noise.jpg")}  # fmt: skip
    for name in ("text.png", "empty.png", "empty.tif"):
        assert found[f"a/{name}"] == "expected a picture, got a file that is none, or is damaged; left out"
    assert all("expected a picture, got" in text or "expected one picture that can be read" in text
               for text in found.values())  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "form"),
    [("CMYK", "tif"), ("CMYK", "jpg"), ("YCbCr", "tif"), ("P", "tif"), ("P", "png"), ("RGBA", "tif"), ("RGBA", "png")],
)
def test_colours_are_what_they_look_like(tmp_path, mode, form):
    """A cyan picture is cyan, however its file says so."""
    Image.new("RGB", (5, 4), (0, 255, 255)).convert(mode).save(tmp_path / f"x.{form}")
    found = pictures.read(tmp_path / f"x.{form}")
    assert pictures.form(tmp_path / f"x.{form}") == (4, 5, 3, "uint8")
    assert np.abs(found.astype(int) - [0, 255, 255]).max() < 8


def test_grey_with_transparency_and_white_as_0(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    grey = noise(4, 5)
    Image.merge("LA", [Image.fromarray(grey), Image.new("L", (5, 4), 255)]).save(tmp_path / "la.tif")
    tifffile.imwrite(tmp_path / "white.tif", 255 - grey, photometric="miniswhite")
    for name in ("la.tif", "white.tif"):
        assert pictures.form(tmp_path / name) == (4, 5, 1, "uint8")
        assert np.array_equal(pictures.read(tmp_path / name), grey)


def test_animations_and_other_endings_are_named(folder):
    Image.fromarray(noise(6, 7)).save(folder / "a" / "still.gif")
    frames = [Image.fromarray(noise(6, 7)) for _ in range(2)]
    frames[0].save(folder / "a" / "film.png", save_all=True, append_images=frames[1:])
    (folder / "a" / "raw.dm4").write_bytes(b"")
    (folder / "a" / "._0.png").write_bytes(b"\0\5\26\7")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "0.png").write_bytes(b"")
    data = read(folder)
    assert len(data) == 7 and data.names == ("a", "b")
    assert said(data)[f"not read in {folder}"] == "1 .dm4"
    assert "it has 2 pictures; save each in a file; left out" in said(data)["a/film.png"]
    assert any(problem.startswith("images of several kinds, 6 grey of uint8, 1 ") for problem in data.problems)


def test_pixels_without_a_number_cost_their_image(folder):
    picture = noise(6, 7, dtype=np.float32)
    Image.fromarray(picture).save(folder / "a" / "good.tif")
    picture[2, 3] = np.nan
    Image.fromarray(picture).save(folder / "a" / "bad.tif")
    data = read(folder)
    assert len(data) == 7
    assert said(data)["a/bad.tif"] == "expected finite numbers, it has others in 1 pixels; left out"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_links_are_followed_once_and_loops_end(folder, tmp_path):
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    Image.fromarray(noise(6, 7)).save(outside / "6.png")
    (outside / "back").symlink_to(folder)
    (folder / "c").symlink_to(outside)
    (folder / "a" / "loop").symlink_to(folder)
    (folder / "same").symlink_to(folder / "a")
    (folder / "b" / "gone.png").symlink_to(tmp_path / "nothing")
    (folder / "b" / "x.png").symlink_to(folder / "b" / "y.png")
    (folder / "b" / "y.png").symlink_to(folder / "b" / "x.png")
    data = read(folder)
    assert data.names == ("a", "b", "c")
    assert data.ids.tolist() == ["a/0.png", "a/1.png", "a/2.png", "b/3.png", "b/4.png", "b/5.png", "c/6.png"]
    assert "gone.png, which is no file" in data.problems[0]


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be there")
def test_names_of_any_bytes(folder, capsys):
    names = ["ü ö.png", "two\nlines.png", "tab\t.png", "日本.png", "#1: [x], {y}.png"]
    for name in (*names, os.fsdecode(b"\xff.png")):
        with (folder / "a" / name).open("wb") as file:
            Image.fromarray(noise(6, 7)).save(file, format="png")
    data = read(folder)
    assert {*data.ids[data.y == 0]} == {
        "a/0.png", "a/1.png", "a/2.png", "a/ü ö.png", r"a/two\nlines.png", r"a/tab\t.png", "a/日本.png",
        "a/#1: [x], {y}.png", r"a/\udcff.png",
    }  # fmt: skip
    print(*data.ids)
    found = source({"kind": "images", "path": folder}).inputs(folder / "a")
    assert len({*found.ids}) == 9


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "valid", "test")])
def test_folders_of_parts_hold_folders_of_classes(tmp_path, names):
    for part in names:
        for name in ("a/0", "a/1", "b/2"):
            (tmp_path / part / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise(6, 7)).save(tmp_path / part / f"{name}.png")
    Image.fromarray(noise(6, 7)).save(tmp_path / "test" / "loose.png")
    data = read(tmp_path)
    assert data.names == ("a", "b") and data.y.tolist() == [0, 0, 1] * len(names)
    assert {name.partition("/")[0]: part for name, part in zip(data.ids, data.parts, strict=True)} == {
        name: {"Training": "train", "valid": "validation"}.get(name, name) for name in names
    }
    assert any(problem.startswith("test/loose.png: expected it in a folder that is") for problem in data.problems)
    assert any("are taken for parts" in problem for problem in data.problems)


@pytest.fixture
def masked(tmp_path):
    for i in range(4):
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
            picture = noise(6, 7) if kind == "images" else 255 * (noise(6, 7) > 100).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / kind / f"{i}.png")
    return tmp_path


def test_masks_that_do_not_fit_are_left_out_and_have_no_say_in_the_classes(masked):
    Image.fromarray(noise(3, 3) // 50).save(masked / "masks" / "0.png")
    Image.fromarray(noise(6, 7)).save(masked / "masks" / "1.tif")
    (masked / "masks" / "2.png").write_bytes(b"no picture")
    data = read(masked / "images", masks=masked / "masks")
    assert data.ids.tolist() == ["3.png"] and data.names == ("0", "255")
    found = said(data)
    assert found["0.png"].startswith("expected a mask of 6 × 7 pixels as the image has, got 3 × 3")
    assert found["1.png"].startswith("found several masks of it, 1.png, 1.tif")
    assert found["2.png"].startswith("its mask 2.png: expected a picture, got a file that is none")


def test_several_rows_of_one_file_belong_together(folder, tmp_path):
    (tmp_path / "t.csv").write_text("file,T,y\n0.png,300,1.5\n0.png,600,2\n3.png,300,4\n")
    data = read(folder, table=tmp_path / "t.csv", target="y")
    assert data.ids.tolist() == ["a/0.png (t.csv, line 2)", "a/0.png (t.csv, line 3)", "b/3.png"]
    assert data.groups.tolist() == [0, 0, 1]


def test_one_odd_volume_stops_nothing(tmp_path):
    for i in range(6):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        np.save(tmp_path / "ab"[i % 2] / f"{i}.npy", RNG.normal(size=(3, 4, 5)).astype(np.float32))
    volume = np.zeros((3, 4, 5), dtype=np.float32)
    np.save(tmp_path / "a" / "complex.npy", volume * 1j)
    np.save(tmp_path / "a" / "texts.npy", np.full((3, 4, 5), "x"))
    np.save(tmp_path / "a" / "nan.npy", np.where(np.arange(60).reshape(3, 4, 5) == 7, np.nan, 0))
    np.save(tmp_path / "a" / "objects.npy", np.array([None]), allow_pickle=True)
    np.save(tmp_path / "a" / "whole.npy", volume.astype(np.uint8))
    np.savez(tmp_path / "a" / "two.npz", a=volume, b=volume)
    for name in ("junk.npy", "junk.npz"):
        (tmp_path / "a" / name).write_bytes(b"junk")
    data = load({"kind": "volumes", "path": tmp_path})
    assert len(data) == 7
    found = said(data)
    assert found["a/complex.npy"].startswith("expected real numbers, got complex64")
    assert found["a/texts.npy"].startswith("expected real numbers, got <U1")
    assert found["a/nan.npy"].startswith("expected finite numbers, got others at 1 places")
    assert found["a/two.npz"].startswith("expected an array, got: not one array, or the one that `array:` names, but")
    for name in ("objects.npy", "junk.npy", "junk.npz"):
        assert "damaged" in found[f"a/{name}"] and "pickle" not in found[f"a/{name}"]
    assert found["volumes of several kinds, 6 of float32, 1 of uint8"] == "all become float32"


def test_a_damaged_stack_is_left_out(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    for name in ("a/0", "b/1"):
        (tmp_path / name).parent.mkdir()
        tifffile.imwrite(tmp_path / f"{name}.tif", noise(5, 6, 7), photometric="minisblack")
    (tmp_path / "a" / "short.tif").write_bytes(b"II*\0")
    data = load({"kind": "volumes", "path": tmp_path})
    assert len(data) == 2 and said(data)["a/short.tif"].startswith("expected an array, got a file that is damaged")


def test_structures_that_are_none_or_several(tmp_path):
    cells = [Structure(Lattice.cubic(4 + i / 10), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3]) for i in range(3)]
    texts = [cell.to(fmt="cif") for cell in cells]
    shared = Structure(Lattice.cubic(4), [{"Na": 0.5, "K": 0.5}, "Cl"], [[0, 0, 0], [0.5] * 3])
    vacant = Structure(Lattice.cubic(4), [{"Na": 0.5}, "Cl"], [[0, 0, 0], [0.5] * 3])
    texts += [shared.to(fmt="cif"), vacant.to(fmt="cif"), texts[0] + texts[1], "", texts[0].replace("4.0", "nan")]
    pd.DataFrame({"cif": texts, "y": np.arange(8) / 7}).to_csv(tmp_path / "t.csv", index=False)
    data = load({"kind": "crystals", "path": tmp_path / "t.csv", "target": "y", "cutoff": 4.0})
    assert len(data) == 3
    messages = [problem.split(": ", 1)[1] for problem in data.problems]
    assert messages[0].startswith("expected every site to hold one element")
    assert messages[1].startswith("expected every site to hold one element")
    assert messages[2].startswith("expected one structure, got 2; save each in a file")
    assert all(message.startswith("expected a structure as CIF") for message in messages[3:]) and len(messages) == 5


def test_links_in_hdf5_and_what_is_no_data(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["g/x"], file["y"], file["one"] = np.ones((5, 2)), np.arange(5.0), 3.0
        file["x"] = h5py.SoftLink("/g/x")
        file["gone"] = h5py.ExternalLink("nothing.h5", "/x")
        file["complex"] = np.ones((5, 2)) * 1j
        file["texts"] = [["a", "b"]] * 5
    options = {"kind": "hdf5", "path": tmp_path / "d.h5"}
    assert load(options).x.shape == (5, 2)
    for name, message in {
        "gone": r"datasets \['gone'\]", "g": r"datasets \['g'\]", "one": r"expected x \(n, \.\.\.\) .*got \(\)",
        "complex": "real numbers in x .*complex128", "texts": "real numbers in x",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=message):
            load({**options, "x": name})
