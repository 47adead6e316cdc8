"""`matloop init` for data: it looks at them, says what they are and writes a campaign that runs as it is."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from pymatgen.core import Lattice, Structure

from matloop.drivers.training.drafts.pace import PASSES, PER_SECOND, most_multiply_adds
from matloop.orchestrator.cli import main as cli
from matloop.orchestrator.composition.build import check
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.ledger.ledger import read

RNG = np.random.default_rng(0)


def picture(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def image_folder(folder: Path) -> tuple[str, Path]:
    for i in range(24):
        picture(
            folder / "images" / ("lath", "grain")[i % 2] / f"{i}.png", RNG.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        )
    (folder / "images" / "lath" / "broken.png").write_text("")
    return "images", folder / "images"


def tiffs_of_sixteen_bits(folder: Path) -> tuple[str, Path]:
    for i in range(20):
        picture(folder / "tiff" / f"m{i}.tif", RNG.integers(0, 65535, (8, 8), dtype=np.uint16))
    names = [f"m{i}.tif" for i in range(20)]
    pd.DataFrame({"image": names, "specimen": np.arange(20) // 2, "hardness": RNG.normal(size=20)}).to_csv(
        folder / "tiff" / "measured.csv", index=False
    )
    return "images", folder / "tiff"


def masks(folder: Path) -> tuple[str, Path]:
    for i in range(6):
        picture(folder / "steel" / "images" / f"{i}.png", RNG.integers(0, 255, (16, 24), dtype=np.uint8))
        picture(folder / "steel" / "masks" / f"{i}.png", 255 * RNG.integers(0, 2, (16, 24), dtype=np.uint8))
    return "segmentation", folder / "steel"


def formulas(folder: Path) -> tuple[str, Path]:
    metals, others = ["Fe", "Ti", "Zr", "Mg", "Al"], ["O", "N", "C", "S"]
    rows = [(f"{m}{i}{o}", 300 + 100 * i, float(RNG.normal())) for m in metals for o in others for i in (1, 2)]
    pd.DataFrame(rows, columns=["composition", "temperature", "gap"]).to_csv(folder / "oxides.csv", index=False)
    return "formulas", folder / "oxides.csv"


def crystals(folder: Path) -> tuple[str, Path]:
    (folder / "cif").mkdir()
    for i, metal in enumerate(["Ba", "Sr", "Ca", "Pb", "Mg", "Zn", "Cd", "Be", "Ra", "Ni"]):
        structure = Structure(Lattice.cubic(4), [metal, "O"], [[0, 0, 0], [0.5] * 3])
        structure.to(str(folder / "cif" / f"s{i}.cif"))
    pd.DataFrame({"file": [f"s{i}" for i in range(10)], "energy": RNG.normal(size=10)}).to_csv(
        folder / "energies.csv", index=False
    )
    return "crystals", folder / "cif"


def hdf5(folder: Path) -> tuple[str, Path]:
    with pytest.importorskip("h5py").File(folder / "scans.h5", "w") as file:
        file["maps"], file["target"] = RNG.normal(size=(20, 6, 7)), RNG.normal(size=20)
    return "images", folder / "scans.h5"


def volumes(folder: Path) -> tuple[str, Path]:
    (folder / "volumes").mkdir()
    for i in range(12):
        np.save(folder / "volumes" / f"v{i}.npy", RNG.integers(0, 2, (5, 5, 5), dtype=np.uint8))
    pd.DataFrame({"name": [f"v{i}" for i in range(12)], "modulus": RNG.normal(size=12)}).to_csv(
        folder / "volumes" / "t.csv", index=False
    )
    return "images", folder / "volumes"


def signals(folder: Path) -> tuple[str, Path]:
    for i in range(12):
        path = folder / "xrd" / ("fcc", "bcc")[i % 2] / f"p{i}.xy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, np.stack([np.linspace(10, 80, 24), RNG.random(24)], axis=1))
    return "signals", folder / "xrd"


def channels_last(folder: Path) -> tuple[str, Path]:
    np.savez(folder / "nhwc.npz", x=RNG.random((20, 8, 9, 3)), y=RNG.normal(size=20))
    return "images", folder / "nhwc.npz"


def skipped_classes(folder: Path) -> tuple[str, Path]:
    np.savez(folder / "gap.npz", x=RNG.random((30, 1, 8, 8)), y=1 + 2 * (np.arange(30) % 2))
    return "images", folder / "gap.npz"


def numbers(folder: Path) -> Path:
    (folder / "t.csv").write_text("a,b\n1,2\n")
    return folder / "t.csv"


SHAPES = {
    image_folder: ["24 rows of 3 × 8 × 8 (uint8)", "2 classes: grain 12, lath 12", "broken.png"],
    tiffs_of_sixteen_bits: ["20 rows of 1 × 8 × 8 (uint16)", "hardness: from", "10 groups"],
    masks: ["6 rows of 1 × 16 × 24", "2 classes: 0 ", "255 "],
    formulas: ["40 rows of ", "gap: from", "the column 'gap' is predicted"],
    crystals: ["10 rows of ", "energy: from"],
    hdf5: ["20 rows of 1 × 6 × 7", "without an axis of channels"],
    volumes: ["12 rows of 1 × 5 × 5 × 5 (uint8)", "modulus: from"],
    signals: ["12 rows of 1 × 24", "2 classes: bcc 6, fcc 6"],
    channels_last: ["20 rows of 3 × 8 × 9", "channels seem to come last"],
    skipped_classes: ["30 rows of 1 × 8 × 8", "2 classes: 1 15, 3 15"],
}  # fmt: skip


def matloop(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["matloop", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_ten_shapes_of_data(
    shape: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    template, data = shape(tmp_path)  # type: ignore[operator]
    file = tmp_path / "campaign" / "c.yaml"
    options = ("--template", template, data, "--output", file, "--minutes", 0.02)
    assert matloop(monkeypatch, "init", *options) == 0
    said = capsys.readouterr().out
    assert all(text in said for text in (*SHAPES[shape], f"next: matloop run {file}")), said  # type: ignore[index]
    (study,), _, _ = check(load(file))
    parts = study.driver.divided()[1]  # type: ignore[attr-defined]
    assert min(map(len, parts)) > 0
    assert "  # " in file.read_text() and "What `matloop init` found" in file.read_text()
    assert matloop(monkeypatch, "init", *options) == 2
    assert "already there" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_what_it_writes_runs_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template, data = formulas(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert matloop(monkeypatch, "init", "--template", template, data.name, "--minutes", 0.02) == 0
    text = (tmp_path / "campaign.yaml").read_text()
    (tmp_path / "campaign.yaml").write_text(text.replace("kind: local ", "kind: serial"))
    assert matloop(monkeypatch, "run", "campaign.yaml") == 0
    (ledger,) = tmp_path.glob("runs/*/ledger.db")
    assert "answered" in {trial.state for trial in read(ledger).trials}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_from_data_to_predictions_of_new_files(
    shape: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bundle of the winner predicts the very files, which for it are new ones."""
    template, data = shape(tmp_path)  # type: ignore[operator]
    monkeypatch.chdir(tmp_path)
    assert matloop(monkeypatch, "init", "--template", template, data.name, "--minutes", 0.03) == 0
    text = (tmp_path / "campaign.yaml").read_text()
    (tmp_path / "campaign.yaml").write_text(text.replace("kind: local ", "kind: serial"))
    (study,), _, _ = check(load(tmp_path / "campaign.yaml"))
    assert matloop(monkeypatch, "run", "campaign.yaml") == 0
    (results,) = tmp_path.glob("runs/*")
    assert matloop(monkeypatch, "export", results, "--bundle", "best") == 0
    new = data / "images" if template == "segmentation" else data
    capsys.readouterr()
    assert matloop(monkeypatch, "predict", "best", new, "--output", "predicted.csv") in (0, 3)  # 3: some left out
    whole = 6 if template == "segmentation" else len(study.driver.divided()[0])  # type: ignore[attr-defined]
    assert len(pd.read_csv("predicted.csv")) == whole


@pytest.mark.parametrize(
    ("template", "make", "message"),
    [
        ("images", lambda folder: folder / "nothing", "found nothing there"),
        ("formulas", numbers, "chemical formulas"),
        ("segmentation", lambda folder: image_folder(folder)[1], "folder `masks`"),
        ("signals", numbers, "named by numbers"),
        ("images", numbers, "--template table"),
    ],
)  # fmt: skip
def test_other_data_are_refused_with_the_remedy(
    template: str,
    make: object,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = make(tmp_path)  # type: ignore[operator]
    assert matloop(monkeypatch, "init", "--template", template, data, "--output", tmp_path / "c.yaml") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "c.yaml").exists()


def test_a_column_can_be_chosen_and_columns_have_their_roles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.DataFrame({
        "sample": [f"S{i // 2}" for i in range(30)], "furnace": ["air", "salt", "oil"] * 10,
        "strength": RNG.normal(size=30), "C": RNG.random(30), "strain": RNG.random(30),
    }).to_csv(tmp_path / "steels.csv", index=False)  # fmt: skip
    monkeypatch.chdir(tmp_path)
    arguments = ("init", "--template", "table", "steels.csv", "--target", "strength")
    assert matloop(monkeypatch, *arguments) == 0
    assert "15 groups" in capsys.readouterr().out
    data = load(tmp_path / "campaign.yaml").studies["search"].driver["data"]
    assert data == {
        "kind": "table", "path": "steels.csv", "target": "strength", "features": ["furnace", "C", "strain"],
        "group": "sample",
    }  # fmt: skip
    assert matloop(monkeypatch, *arguments[:-1], "stress", "--output", "other.yaml") == 2
    assert "'stress'" in capsys.readouterr().err


def test_specimens_that_are_not_called_so_are_groups_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty-five names of two rows each teach nothing as categories, and new specimens would have none of them."""
    rows = pd.DataFrame({
        "Stück": [f"P{i // 2}" for i in range(50)], "Ofen": ["Nord", "Süd"] * 25, "Härte": RNG.normal(size=50),
    })  # fmt: skip
    rows.to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",", encoding="cp1252")
    data = drafted(tmp_path, monkeypatch, "table", "t.csv")["driver"]["data"]
    assert (data["group"], data["features"], data["target"]) == ("Stück", ["Ofen"], "Härte")
    said = capsys.readouterr().out
    assert "'Stück' names what several rows belong to" in said and "25 groups" in said


def drafted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, template: str, data: str, *options: object
) -> dict[str, Any]:
    """The study that is written, which validates."""
    monkeypatch.chdir(folder)
    assert matloop(monkeypatch, "init", "--template", template, data, "--output", "drafted.yaml", *options) == 0
    check(load(folder / "drafted.yaml"))
    return yaml.safe_load((folder / "drafted.yaml").read_text())["studies"]["search"]  # type: ignore[no-any-return]


def test_a_target_has_no_other_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if it is called like a group, an id or a condition."""
    metals = [f"{m}{i}O" for m in ("Fe", "Ti", "Mg", "Zn") for i in range(1, 7)]
    rows = pd.DataFrame({"formula": metals, "family": ["a", "b"] * 12, "temperature": np.arange(24) * 7.5})
    rows.to_csv(tmp_path / "f.csv")
    data = drafted(tmp_path, monkeypatch, "formulas", "f.csv", "--target", "family")["driver"]["data"]
    assert (data["target"], data["features"], data.get("group")) == ("family", ["temperature"], None)
    (tmp_path / "drafted.yaml").unlink()
    rows[["formula", "temperature"]].to_csv(tmp_path / "f.csv")
    data = drafted(tmp_path, monkeypatch, "formulas", "f.csv")["driver"]["data"]
    assert data["target"] == "temperature" and "features" not in data


def test_rows_of_one_formula_are_divided_by_chance_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.csv").write_text("formula,T,y\n" + "".join(f"Fe2O3,{i},{i / 7}\n" for i in range(30)))
    study = drafted(tmp_path, monkeypatch, "formulas", "f.csv")
    assert study["driver"]["split"]["kind"] == "random"
    said = capsys.readouterr().out
    assert "there is only 1 group, which cannot be divided" in said and "never on both sides" not in said


def test_numbers_of_rows_without_a_name_are_no_feature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pd.DataFrame({"a": np.arange(30) % 7, "y": np.arange(30) / 8}).to_csv(tmp_path / "t.csv")
    assert drafted(tmp_path, monkeypatch, "table", "t.csv")["driver"]["data"]["features"] == ["a"]


def test_networks_fit_the_time_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the time, a fifth of the multiplications; with plenty, the space's own limit is enough."""
    np.savez(tmp_path / "d.npz", x=RNG.integers(0, 255, (1000, 1, 64, 64), dtype=np.uint8), y=np.arange(1000) % 2)
    limits = []
    for minutes in (1 / 3, 5 / 3, 4000):
        (tmp_path / "drafted.yaml").unlink(missing_ok=True)
        study = drafted(tmp_path, monkeypatch, "images", "d.npz", "--minutes", minutes)
        limits.append(study["space"].get("max_multiply_adds"))
    assert limits[1] == pytest.approx(5 * limits[0], rel=0.1) and limits[2] is None
    assert 600 * PASSES * limits[0] == pytest.approx(PER_SECOND, rel=0.1)  # 600 rows to train on, one second


@pytest.mark.parametrize("space", ["conv_network", "segmentation_network", "graph_network"])
def test_no_limit_is_below_the_smallest_network(space: str) -> None:
    fills = {"input": [1, 64, 64], "classes": 2, "outputs": 2, "node_features": 8, "edge_features": 4}
    limit = most_multiply_adds(space, {**fills, "examples": 10**6}, 10**6, 1.0)
    assert limit is not None and limit > PER_SECOND / (PASSES * 10**6)


def test_what_cannot_be_trained_on_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,2.5\n")
    picture(tmp_path / "one.png", np.zeros((4, 4), dtype=np.uint8))
    (tmp_path / "empty").mkdir()
    for template, data, message in [
        ("table", "t.csv", "expected enough data for 2 points to train on"),
        ("images", "one.png", "expected a folder of images or volumes"),
        ("images", "empty", "found none"),
        ("crystals", "empty", "found none"),
    ]:
        arguments = ("init", "--template", template, tmp_path / data, "--output", tmp_path / "c.yaml")
        assert matloop(monkeypatch, *arguments) == 2
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "c.yaml").exists()


def test_one_tiff_among_volumes_and_a_damaged_first_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(12):
        (tmp_path / "scans" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "scans" / "ab"[i % 2] / f"{i}.npy", RNG.random((4, 5, 6)))
    picture(tmp_path / "scans" / "a" / "overview.tif", RNG.integers(0, 255, (4, 5), dtype=np.uint8))
    (tmp_path / "scans" / "a" / "00.npy").write_bytes(b"junk")
    assert drafted(tmp_path, monkeypatch, "images", "scans")["driver"]["data"] == {"kind": "volumes", "path": "scans"}


def test_stacks_in_tiff_are_volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile = pytest.importorskip("tifffile")
    for i in range(12):
        (tmp_path / "scans" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        stack = RNG.integers(0, 255, (5, 6, 7), dtype=np.uint8)
        tifffile.imwrite(tmp_path / "scans" / "ab"[i % 2] / f"{i}.tif", stack, photometric="minisblack")
    assert drafted(tmp_path, monkeypatch, "images", "scans")["driver"]["data"]["kind"] == "volumes"


@pytest.mark.skipif(sys.platform != "linux", reason="such a name cannot be there")
def test_a_path_that_is_no_text_is_refused_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image_folder(tmp_path)
    folder = (tmp_path / "images").rename(tmp_path / os.fsdecode(b"\xff"))
    arguments = ("init", "--template", "images", folder, "--output", tmp_path / "c.yaml")
    assert matloop(monkeypatch, *arguments) == 2
    assert "rename the folder" in capsys.readouterr().err and not (tmp_path / "c.yaml").exists()


def test_a_folder_with_a_name_that_is_no_text_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image_folder(tmp_path)
    if sys.platform == "linux":
        (tmp_path / "images" / "lath" / "0.png").rename(tmp_path / "images" / "lath" / os.fsdecode(b"\xff.png"))
    assert drafted(tmp_path, monkeypatch, "images", "images")["driver"]["task"] == "classification"
