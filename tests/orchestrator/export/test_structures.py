"""Exported structures, read back by readers of the test's own and held against the pixels: area and volume exact."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from matloop.orchestrator.cli.main import app
from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.export import gds, stl, structures
from matloop.orchestrator.export.structures import Found, Shape
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.report import structures as report_structures
from matloop.orchestrator.report.structures import Size
from matloop.orchestrator.trial import Answer, Proposal, Trial

RNG = np.random.default_rng(4)
RING = np.pad(np.pad(np.zeros((2, 3), int), 1, constant_values=1), 2)
"""A phase with a hole."""
SHAPES = {
    "one pixel": np.ones((1, 1), int),
    "nothing": np.zeros((3, 4), int),
    "ring": RING,
    "ring across the border": np.roll(RING, (4, 3), (0, 1)),
    "corners only": np.indices((6, 6)).sum(0) % 2,
    "noise": (RNG.random((24, 16)) < 0.5).astype(int),
    "rings within rings": np.maximum(*(abs(np.indices((15, 15)) - 7))) % 2,
}


def read_stl(path: Path) -> np.ndarray:
    """(n, 3, 3) corners, by the format's description; normals are checked."""
    content = path.read_bytes()
    assert not content.startswith(b"solid")
    (count,) = struct.unpack_from("<I", content, 80)
    assert len(content) == 84 + 50 * count
    found = [struct.unpack_from("<12fH", content, 84 + 50 * i)[:12] for i in range(count)]
    numbers = np.array(found, dtype=np.float64).reshape(count, 4, 3)
    normals, corners = numbers[:, 0], numbers[:, 1:]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(areas, axis=1)
    assert count == 0 or lengths.min() > 0
    np.testing.assert_allclose(normals * lengths[:, None], areas, atol=1e-6 * (lengths.max() if count else 1))
    return corners


def volume(corners: np.ndarray) -> float:
    """By the divergence theorem."""
    return float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)


def edges(corners: np.ndarray) -> Counter[tuple[Any, ...]]:
    """How often each edge is passed in each direction."""
    points = [[tuple(corner) for corner in triangle] for triangle in corners.tolist()]
    return Counter((one[i], one[(i + 1) % 3]) for one in points for i in range(3))


def assert_closed(corners: np.ndarray) -> None:
    """Each edge belongs to exactly two triangles, which pass it in opposite directions."""
    found = edges(corners)
    assert all(count == 1 for count in found.values())
    assert all((b, a) in found for a, b in found)


VOLUMES = {
    "one voxel": np.ones((1, 1, 1), bool),
    "hollow": np.pad(np.zeros((1, 1, 1), bool), 2, constant_values=True),
    "touching along an edge": np.array([[[1, 0], [0, 1]]], bool),
    "touching in a corner": np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]]], bool),
    "a loop that touches itself": np.array([[[1, 0], [0, 1]], [[1, 1], [0, 1]]], bool),
    "checkerboard": np.indices((4, 4, 4)).sum(0) % 2 == 1,
    "noise": RNG.random((9, 8, 7)) < 0.5,
    "film": (RNG.random((1, 20, 20)) < 0.5),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_surfaces_are_closed_and_hold_the_volume_of_the_voxels(tmp_path: Path, name: str) -> None:
    solid, voxel = VOLUMES[name], (12.5, 25.0, 200.0)
    number = stl.write(tmp_path / "a.stl", solid, voxel)
    corners = read_stl(tmp_path / "a.stl")
    assert len(corners) == number > 0
    assert_closed(corners)
    assert volume(corners) == pytest.approx(solid.sum() * np.prod(voxel), rel=1e-12)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    assert areas.sum() == pytest.approx(surface(solid, voxel), rel=1e-12)


def surface(solid: np.ndarray, voxel: tuple[float, float, float]) -> float:
    """Area between solid and nothing, by counting."""
    x, y, z = voxel
    padded = np.pad(solid, 1).astype(int)
    return float(sum(abs(np.diff(padded, axis=axis)).sum() * area for axis, area in enumerate((x * y, x * z, y * z))))


def test_a_surface_lies_where_the_voxels_are() -> None:
    """Lines through the middle of each column of voxels enter and leave where the column changes."""
    solid = VOLUMES["noise"]
    corners = stl.triangles(solid) / 2
    flat = corners[np.ptp(corners[:, :, 2], axis=1) == 0]
    for y in range(solid.shape[1]):
        for x in range(solid.shape[2]):
            place = np.array([x + 0.3, y + 0.6])
            sides = [np.roll(flat, -1, 1)[:, i, :2] - flat[:, i, :2] for i in range(3)]
            turns = [
                np.sign(s[:, 0] * (place[1] - flat[:, i, 1]) - s[:, 1] * (place[0] - flat[:, i, 0]))
                for i, s in enumerate(sides)
            ]
            hit = flat[(turns[0] == turns[1]) & (turns[1] == turns[2])]
            changes = np.flatnonzero(np.diff(np.pad(solid[:, y, x], 1).astype(int)))
            assert sorted(hit[:, 0, 2].tolist()) == changes.tolist()


def read_gds(path: Path) -> dict[str, Any]:
    """Polygons by cell and layer, references and units, by the format's description."""
    content, at = path.read_bytes(), 0
    found: dict[str, Any] = {"cells": {}, "arrays": []}
    cell, element = "", {}
    while at < len(content):
        length, kind, form = struct.unpack_from(">HBB", content, at)
        data, at = content[at + 4 : at + length], at + length
        numbers = struct.unpack(f">{len(data) // 4}i", data) if form == 3 else ()
        shorts = struct.unpack(f">{len(data) // 2}h", data) if form == 2 else ()
        text = data.rstrip(b"\0").decode() if form == 6 else ""
        if kind == 0x03:
            found["unit_m"] = real8(data[8:])
        elif kind == 0x06:
            cell = text
            found["cells"][cell] = []
        elif kind in (0x08, 0x0B):
            element = {"kind": kind}
        elif kind == 0x0D:
            element["layer"] = shorts[0]
        elif kind == 0x12:
            element["of"] = text
        elif kind == 0x13:
            element["times"] = shorts
        elif kind == 0x10:
            element["xy"] = np.array(numbers).reshape(-1, 2)
        elif kind == 0x11:
            (found["cells"][cell] if element["kind"] == 0x08 else found["arrays"]).append(element)
        elif kind == 0x04:
            return found
    raise AssertionError("no end of the library")


def real8(data: bytes) -> float:
    """GDSII's floating-point number: sign, exponent of 16 with offset 64, 56 bits."""
    (bits,) = struct.unpack(">Q", data)
    sign, exponent, mantissa = bits >> 63, (bits >> 56 & 0x7F) - 64, bits & (2**56 - 1)
    return float((-1) ** sign * mantissa / 2**56 * 16.0**exponent)


def area(xy: np.ndarray) -> float:
    """Of a closed polygon, by the shoelace formula."""
    x, y = xy.T
    return float(abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2)


def covered(polygons: list[np.ndarray], place: tuple[float, float]) -> int:
    """How many polygons a point lies in, by crossings of a ray."""
    x, y = place
    times = 0
    for xy in polygons:
        a, b = xy[:-1].astype(float), xy[1:].astype(float)
        crossing = (a[:, 1] > y) != (b[:, 1] > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = a[:, 0] + (y - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0])
        times += int(np.sum(crossing & (at > x))) % 2
    return times


@pytest.mark.parametrize("name", SHAPES)
def test_layouts_cover_the_pixels_of_the_phase_and_no_others(tmp_path: Path, name: str) -> None:
    labels = SHAPES[name]
    height, width = labels.shape
    layers = gds.write(tmp_path / "a.gds", labels, (12.0 * width, 25.0 * height), layer=7)
    found = read_gds(tmp_path / "a.gds")
    assert found["unit_m"] == pytest.approx(1e-9, rel=1e-12) and [*found["cells"]] == [gds.CELL]
    cell = found["cells"][gds.CELL]
    assert {element["layer"] for element in cell} == {*layers} == ({7} if labels.any() else set())
    polygons = [element["xy"] for element in cell]
    assert all((xy[0] == xy[-1]).all() for xy in polygons)
    assert sum(map(area, polygons)) == labels.sum() * 12 * 25
    for row, column in np.ndindex(labels.shape):
        assert covered(polygons, (12 * column + 6.1, 25 * row + 12.3)) == labels[row, column]
    assert len(polygons) <= max(1, labels.sum())
    if name == "ring":
        assert len(polygons) == 1


def test_pixels_that_are_no_whole_nanometres_are_written_by_the_picometre(tmp_path: Path) -> None:
    labels = SHAPES["noise"]
    gds.write(tmp_path / "a.gds", labels, (200.0, 300.0))  # 12.5 nm each
    found = read_gds(tmp_path / "a.gds")
    assert found["unit_m"] == pytest.approx(1e-12, rel=1e-12)
    assert sum(area(element["xy"]) for element in found["cells"][gds.CELL]) == labels.sum() * 12_500**2
    gds.write(tmp_path / "b.gds", labels, (100.0, 100.0))  # 6.25 and 4.1666… nm
    total = sum(area(element["xy"]) for element in read_gds(tmp_path / "b.gds")["cells"][gds.CELL])
    assert total == pytest.approx(labels.mean() * 1e10, rel=1e-3)


def test_arrays_repeat_the_cell_without_copying_it(tmp_path: Path) -> None:
    gds.write(tmp_path / "a.gds", RING, (630.0, 800.0), repeats=30)
    found = read_gds(tmp_path / "a.gds")
    (array,) = found["arrays"]
    assert array["of"] == gds.CELL and tuple(array["times"]) == (30, 30)
    assert array["xy"].tolist() == [[0, 0], [30 * 630, 0], [0, 30 * 800]]
    assert (tmp_path / "a.gds").stat().st_size < 1000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"period_nm": (700.5, 800.0), "repeats": 30_000}, "expected an array of at most 2147.48 µm"),
        ({"period_nm": (70.0, 80.0), "repeats": 32_768}, "expected at most 32767 periods along a side"),
        ({"period_nm": (1e-4, 1e-4)}, "give a larger --period"),
        ({"period_nm": (70.0, 80.0), "layer": 65_534}, "expected layers up to 65535, got 65536 for the last phase"),
    ],
)
def test_what_the_numbers_of_a_layout_cannot_hold_is_refused(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(MatloopError, match=words):
        gds.write(tmp_path / "b.gds", 3 * RING, **options)
    assert not (tmp_path / "b.gds").exists()


def test_a_full_cell_and_an_empty_one_are_written_and_said(tmp_path: Path) -> None:
    told = structures.write(found_of(np.ones((4, 8), np.uint8)), tmp_path / "full.gds", Shape())
    (polygon,) = read_gds(tmp_path / "full.gds")["cells"][gds.CELL]
    assert area(polygon["xy"]) == 160 * 240 and "on layer 1" in told
    told = structures.write(found_of(np.zeros((4, 8), np.uint8)), tmp_path / "empty.gds", Shape())
    assert "no polygons" in told and not read_gds(tmp_path / "empty.gds")["cells"][gds.CELL]


def test_each_phase_has_a_layer(tmp_path: Path) -> None:
    labels = RNG.integers(0, 4, (9, 9))
    labels[labels == 2] = 0
    assert gds.write(tmp_path / "a.gds", labels, (90.0, 90.0), layer=2) == [2, 4]
    cell = read_gds(tmp_path / "a.gds")["cells"][gds.CELL]
    for layer in (2, 4):
        polygons = [element["xy"] for element in cell if element["layer"] == layer]
        assert sum(map(area, polygons)) == 100 * np.sum(labels == layer - 1)


def test_equal_structures_give_equal_layouts(tmp_path: Path) -> None:
    for name in ("a.gds", "b.gds"):
        gds.write(tmp_path / name, SHAPES["noise"], (160.0, 240.0))
    assert (tmp_path / "a.gds").read_bytes() == (tmp_path / "b.gds").read_bytes()


SIZE = Size((160.0, 240.0), 50.0)


def found_of(array: np.ndarray, size: Size | None = SIZE) -> Found:
    return Found(Trial(id=3, study="design", number=0, point={}, seed=0), array, size)


@pytest.mark.parametrize("tiles", [1, 3])
def test_pictures_and_arrays_have_the_pixels(tmp_path: Path, tiles: int) -> None:
    labels = SHAPES["noise"].astype(np.uint8)
    for file in ("a.png", "a.npy"):
        structures.write(found_of(labels), tmp_path / "new" / file, Shape(tiles=tiles))
    expected = np.tile(labels, (tiles, tiles))
    picture = imread(tmp_path / "new" / "a.png")
    assert picture.shape[:2] == expected.shape
    assert (picture[..., :3] == expected[..., None]).all()
    assert np.array_equal(np.load(tmp_path / "new" / "a.npy"), expected)


def test_pictures_of_three_phases_and_of_densities(tmp_path: Path) -> None:
    for array in (np.array([[0, 1, 2]], np.uint8), np.array([[0.0, 0.5, 1.0]])):
        structures.write(found_of(array), tmp_path / "a.png", Shape())
        np.testing.assert_allclose(imread(tmp_path / "a.png")[0, :, 0], [0, 0.5, 1], atol=0.003)


def test_a_film_becomes_a_solid_of_its_thickness(tmp_path: Path) -> None:
    labels = SHAPES["noise"].astype(np.uint8)
    told = structures.write(found_of(labels), tmp_path / "a.stl", Shape(tiles=2))
    corners = read_stl(tmp_path / "a.stl")
    assert_closed(corners)
    assert volume(corners) == pytest.approx(4 * labels.sum() * 10 * 10 * 50, rel=1e-6)
    assert np.ptp(corners.reshape(-1, 3), axis=0).tolist() == [320, 480, 50]
    assert told.startswith("structure of trial 3 (design)") and "lengths in nm" in told
    structures.write(found_of(labels), tmp_path / "b.stl", Shape(phase=0, thickness_nm=20, period_nm=16))
    assert volume(read_stl(tmp_path / "b.stl")) == pytest.approx((labels == 0).sum() * 20, rel=1e-6)


def test_a_structure_in_space_becomes_a_solid(tmp_path: Path) -> None:
    labels = RNG.integers(0, 3, (6, 5, 4)).astype(np.uint8)
    told = structures.write(found_of(labels, None), tmp_path / "a.stl", Shape(phase=2))
    corners = read_stl(tmp_path / "a.stl")
    assert_closed(corners)
    assert volume(corners) == pytest.approx((labels == 2).sum()) and "lengths in pixels" in told


@pytest.mark.parametrize(
    ("array", "file", "shape", "words"),
    [
        (RING, "a.jpg", Shape(), "expected a structure's file to end in .png, .npy, .gds, .stl"),
        (RING, "a.gds", Shape(), "give --period NM for FILE.gds"),
        (RING, "a.stl", Shape(phase=4), "nothing of phase 4; choose another with --phase"),
        (np.arange(99).reshape(9, 11), "a.stl", Shape(), "got grey values; write it as FILE.npy"),
        (VOLUMES["noise"], "a.gds", Shape(period_nm=5), "expected a structure in a plane for FILE.gds"),
        (VOLUMES["noise"], "a.png", Shape(), "expected a structure in a plane for FILE.png"),
        (RING, "a.png", Shape(tiles=0), "expected --tiles N with N >= 1, got 0"),
        (RING, "a.png", Shape(tiles=1000), "got 72,000,000; give fewer periods with --tiles"),
        (VOLUMES["noise"], "a.npy", Shape(tiles=1000), "give fewer periods with --tiles"),
        (RING, "a.stl", Shape(tiles=1000), "expected at most 4,194,304 pixels"),
        (RING, "a.stl", Shape(thickness_nm=50), "expected --period NM with --thickness NM"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    tmp_path: Path, array: np.ndarray, file: str, shape: Shape, words: str
) -> None:
    with pytest.raises(MatloopError, match=words):
        structures.write(found_of(array, None), tmp_path / file, shape)
    assert not (tmp_path / file).exists()


OPTICS = {"kind": "optics", "order": 1, "period_nm": [160.0, 240.0], "thickness_nm": 75.0}


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """A sample, a design and a confirmation in which the second best is the best two orders higher."""
    objective = {"absorption": {"direction": "maximise", "unit": ""}}

    def study(**strategy: Any) -> dict[str, Any]:
        space = {"kind": "latent", "generator": "grf32"}
        budget = {"trials": 9}
        return {"space": space, "driver": OPTICS, "strategy": strategy, "objectives": objective, "budget": budget}

    studies = {
        "sample": study(kind="random"),
        "design": {**study(kind="random"), "baseline": "sample"},
        "check": study(kind="confirmation", data={"from": ["sample", "design"]}),
    }
    store = ArtifactStore(tmp_path / "run" / "artifacts")
    config = {"name": "demo", "seed": 1, "executor": {"kind": "serial"}, "studies": studies}
    values = [("sample", 0.5), ("sample", 0.6), ("design", 0.9), ("design", 0.8), ("check", 0.9), ("check", 0.8)]
    (tmp_path / "run").mkdir()
    with Ledger.open(tmp_path / "run" / "ledger.db", config=config, environment={}) as ledger:
        for i, (name, value) in enumerate(values):
            trial = ledger.propose(name, Proposal(point={"z": [0.1 * i] * 16}), seed=0, ask=0)
            labels = np.pad(np.ones((3, 2 + i), np.uint8), ((4, 17), (5, 9 - i)))
            held = {"absorption_at_order_3": 0.5 + 0.1 * (i == 5)} if name == "check" else {}
            artifacts = {"microstructure": store.save(labels)} if i else {}
            ledger.answer(
                trial,
                Answer(values={"absorption": value, **held}, artifacts=artifacts, started_at=0.0, finished_at=1.0),
            )
    return tmp_path / "run"


def export(campaign: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["export", str(campaign), *arguments])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_the_command_writes_the_best_by_the_closest_measurement(campaign: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"best.{kind}" for kind in ("png", "npy", "gds", "stl")]
    told = export(campaign, *(f"--structure={file}" for file in files), "--layer", "3")
    assert told.count("structure of trial 5 (check)") == 4
    labels = np.load(files[1])
    assert labels.sum() == 3 * 7
    (polygon,) = read_gds(files[2])["cells"][gds.CELL]
    assert polygon["layer"] == 3 and area(polygon["xy"]) == labels.sum() * 100
    assert volume(read_stl(files[3])) == pytest.approx(labels.sum() * 100 * 75)


def test_the_command_takes_a_study_or_a_trial(campaign: Path, tmp_path: Path) -> None:
    assert "of trial 2 (design)" in export(campaign, f"--structure={tmp_path / 'a.png'}", "--study", "design")
    assert "of trial 1 (sample)" in export(campaign, f"--structure={tmp_path / 'a.png'}", "--trial", "1")
    with pytest.raises(MatloopError, match="trial 0 left no structure; those of trials 1, 2, 3, 4, 5"):
        export(campaign, f"--structure={tmp_path / 'a.png'}", "--trial", "0")
    with pytest.raises(MatloopError, match="expected the id of a trial of study 'check', got 1"):
        export(campaign, f"--structure={tmp_path / 'a.png'}", "--trial", "1", "--study", "check")


def test_a_study_without_structures_is_named(campaign: Path, tmp_path: Path) -> None:
    with pytest.raises(MatloopError, match=r"study 'nope' has left no structure; .* sample, design, check"):
        export(campaign, f"--structure={tmp_path / 'a.png'}", "--study", "nope")


def test_the_command_says_where_it_cannot_write(campaign: Path, tmp_path: Path) -> None:
    for suffix in ("png", "npy", "gds", "stl"):
        (tmp_path / f"folder.{suffix}").mkdir()
        with pytest.raises(MatloopError, match=rf"cannot write .*folder.{suffix}: (?!None).*; choose another name"):
            export(campaign, f"--structure={tmp_path / f'folder.{suffix}'}")
    told = export(campaign, f"--structure={tmp_path / 'A.PNG'}", f"--structure={tmp_path / 'A.PNG'}")  # written over
    assert told.count("A.PNG") == 2 and imread(tmp_path / "A.PNG", format="png").shape[:2] == (24, 16)


def test_a_structure_of_one_pixel_is_one(campaign: Path, tmp_path: Path) -> None:
    trial = Trial(id=9, study="s", number=0, point={}, seed=0, artifacts={})
    store = ArtifactStore(campaign / "artifacts")
    for shape, kept in (((1, 1), (1, 1)), ((1, 5), (1, 5)), ((1, 1, 5), (1, 5)), ((4, 6, 1), (4, 6))):
        trial = replace(trial, artifacts={"microstructure": store.save(np.ones(shape, np.uint8))})
        array = report_structures.load(store, trial)
        assert array is not None and array.shape == kept
        told = structures.write(found_of(array), tmp_path / "a.stl", Shape())
        assert_closed(read_stl(tmp_path / "a.stl"))
        assert "a film of thickness 50" in told


def test_a_structure_whose_file_is_gone_is_named(campaign: Path, tmp_path: Path) -> None:
    for path in (campaign / "artifacts").iterdir():
        path.unlink()
    with pytest.raises(MatloopError, match=r"structure of trial 5 cannot be read: .* is missing or damaged"):
        export(campaign, f"--structure={tmp_path / 'a.png'}")
