"""The driver that makes equivalents of a micrograph: pictures, thresholds, labels, points, and its campaign."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from matloop.drivers.reconstruction import MEASURED, Reconstruction, example
from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.trial import Objective, Trial
from matloop.surrogates.microstructure import Settings, reconstruct
from matloop.surrogates.microstructure.agreement import agreement
from matloop.testing.driver import DriverContract

CAMPAIGN = Path(__file__).parents[2] / "campaigns" / "reconstruction.yaml"
GREY = np.add.outer(np.arange(24) % 12 * 10, np.arange(32) % 8).astype(np.uint8)


def trial(**point: object) -> Trial:
    return Trial(id=0, study="study", number=0, point=point, seed=0)


class TestReconstruction(DriverContract):
    @pytest.fixture
    def driver(self) -> Reconstruction:
        return Reconstruction(coarsen=2, steps=50, starts=1)

    @pytest.fixture
    def trial(self) -> Trial:
        return trial(seed=3)


def test_it_measures_what_the_library_makes() -> None:
    driver = Reconstruction(coarsen=2, steps=60, starts=1)
    found = driver(trial(seed=5))
    made = reconstruct(driver.labels(), seed=5, settings=Settings(steps=60, starts=1))
    np.testing.assert_array_equal(found.artifacts["microstructure"], made.labels)
    expected = agreement(made.labels, driver.labels(), periodic=False)
    assert found.values == {
        "covariance_error": expected.covariance_error,
        "lineal_path_error": expected.lineal_path_error,
        "s2_error": expected.s2_error,
        "likeness": made.likeness,
    }
    assert [*found.values] == [*MEASURED]
    assert found.info["volume_fractions"] == list(expected.volume_fractions)


def test_points_may_say_how() -> None:
    driver = Reconstruction(coarsen=2, steps=30, starts=1, periodic=True)
    said, usual = driver(trial(seed=1, steps=60, path_weight=0.0)), driver(trial(seed=1))
    other = Reconstruction(coarsen=2, steps=60, starts=1, path_weight=0.0, periodic=True)
    np.testing.assert_array_equal(said.artifacts["microstructure"], other(trial(seed=1)).artifacts["microstructure"])
    assert said.values != usual.values
    assert driver(trial(seed=1, method="annealing")).info["method"] == "annealing"
    for point in ({}, {"seed": -1}, {"seed": 1.5}, {"seed": 1, "colour": 2}, {"seed": 1, "steps": 0}):
        with pytest.raises(InvalidPoint):
            driver(trial(**point))
    with pytest.raises(InvalidPoint, match="descriptors, annealing"):
        driver(trial(seed=1, method="magic"))


@pytest.mark.parametrize("name", ["picture.png", "picture.tif", "grey.npy"])
def test_grey_values_become_phases(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".npy":
        np.save(path, GREY)
    else:
        Image.fromarray(GREY).save(path)
    labels = Reconstruction(micrograph=path, thresholds=[30, 80]).labels()
    np.testing.assert_array_equal(labels, (GREY > 30).astype(int) + (GREY > 80))
    coarse = Reconstruction(micrograph=path, thresholds=[50.0], coarsen=4).labels()
    means = GREY.reshape(6, 4, 8, 4).mean(axis=(1, 3))
    np.testing.assert_array_equal(coarse, means > 50)


def test_colours_and_palettes_are_read(tmp_path: Path) -> None:
    colour = np.zeros((8, 8, 3), dtype=np.uint8)
    colour[:, 4:] = (200, 200, 200)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    np.testing.assert_array_equal(Reconstruction(micrograph=tmp_path / "colour.png").labels()[0], [0] * 4 + [1] * 4)
    palette = Image.fromarray((GREY % 3).astype(np.uint8), mode="P")
    palette.putpalette([255, 0, 0, 0, 0, 255, 0, 255, 0])
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(Reconstruction(micrograph=tmp_path / "palette.png").labels(), GREY % 3)


def test_labels_are_coarsened_to_the_commonest(tmp_path: Path) -> None:
    labels = np.array([[7, 7, 9, 9], [7, 9, 9, 3], [3, 3, 9, 7], [3, 9, 7, 7]])
    np.save(tmp_path / "labels.npy", labels)
    np.testing.assert_array_equal(
        Reconstruction(micrograph=tmp_path / "labels.npy", coarsen=2).labels(), [[1, 2], [0, 1]]
    )


def test_a_volume_is_made_of_the_plane(tmp_path: Path) -> None:
    np.save(tmp_path / "plane.npy", example()[:12, :12])
    driver = Reconstruction(micrograph=tmp_path / "plane.npy", shape=[12, 12, 12], steps=20, starts=1)
    found = driver(trial(seed=0))
    assert found.artifacts["microstructure"].shape == (12, 12, 12)
    assert "likeness" not in found.values


def test_what_is_wrong_is_said_at_its_place(tmp_path: Path) -> None:
    np.save(tmp_path / "grey.npy", GREY)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "nan.npy", np.where(GREY > 50, np.nan, GREY))
    np.save(tmp_path / "words.npy", GREY.astype(str))
    rare = np.repeat([0, 2], 8).reshape(4, 4)
    rare[0, 0] = 1
    np.save(tmp_path / "rare.npy", rare)
    for options, said in (
        ({"micrograph": tmp_path / "grey.npy"}, "give thresholds"),
        ({"micrograph": tmp_path / "none.png"}, "none.png"),
        ({"micrograph": tmp_path / "broken.png"}, "expected a picture"),
        ({"micrograph": tmp_path / "grey.txt"}, r"expected a \.npy file or a picture"),
        ({"micrograph": tmp_path / "grey.npy", "thresholds": [500]}, "both sides of each threshold"),
        ({"micrograph": tmp_path / "empty.npy"}, "an empty file"),
        ({"micrograph": tmp_path / "nan.npy", "thresholds": [30]}, "finite numbers"),
        ({"micrograph": tmp_path / "words.npy", "thresholds": [30]}, "expected numbers"),
        ({"micrograph": tmp_path / "rare.npy", "coarsen": 2}, "got none of phase 1; give a smaller coarsen"),
        ({"shape": [48, 48, 32]}, "three equal sides"),
        ({"thresholds": [float("nan")]}, "thresholds that rise"),
        ({"coarsen": 0}, "coarsen >= 1"),
        ({"coarsen": 100}, "coarsen <= 64"),
        ({"shape": [4]}, r"a shape such as \[64, 64\]"),
        ({"steps": 0}, "steps and starts >= 1"),
        ({"method": "vgg"}, "weights of VGG-19"),
        ({"objectives": (Objective("beauty"),)}, "covariance_error"),
    ):
        with pytest.raises(ConfigError, match=said):
            Reconstruction(**options)  # type: ignore[arg-type]


def test_the_campaign_that_ships_is_valid_and_its_example_is_a_material() -> None:
    studies, _ = validate(load(CAMPAIGN))
    assert [o.name for o in studies[0].objectives] == ["covariance_error", "lineal_path_error"]
    assert example().shape == (64, 64)
    assert 0.3 < example().mean() < 0.5
