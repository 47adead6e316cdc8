"""From a campaign to predictions of new files with two commands, for the kinds of data that people have."""

from __future__ import annotations

import csv
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matloop.bundles.bundle import load_bundle
from matloop.orchestrator.ledger.ledger import read

pytestmark = pytest.mark.filterwarnings("default")  # of packages that are imported here for the first time

CAMPAIGN = """\
name: {name}
executor: serial
studies:
  nets:
    space: {{kind: {space}{more}}}
    driver: {{kind: training, task: {task}, epochs: {epochs}, data: {data}}}
    strategy: random
    budget: {{trials: {trials}}}
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def searched(matloop, *, task: str, data: str, space: str, more: str = "", trials: int = 2, epochs: int = 4) -> str:
    """Run a campaign and export the best network; what the export said."""
    content = CAMPAIGN.format(
        name="demo", space=space, task=task, data=data, more=f", {more}" if more else "", trials=trials, epochs=epochs
    )
    Path("c.yaml").write_text(content, encoding="utf-8")
    code, out, err = matloop("run", "c.yaml")
    assert code == 0, out + err
    code, out, err = matloop("export", "runs/demo", "--bundle", "best")
    assert code == 0, out + err
    return out


def rows(file: str) -> list[dict[str, Any]]:
    with Path(file).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def png(path: Path, array: np.ndarray) -> None:
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(array).save(path)


def test_a_campaign_predicts_with_the_network_that_is_best_by_now(matloop) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    np.savez("x.npz", x=x, y=x[:, 0])
    np.savez("new.npz", x=x[:5])
    content = CAMPAIGN.format(
        name="demo", space="dense_network", more="", task="regression", epochs=1, data="x.npz", trials=1
    )
    Path("c.yaml").write_text(content, encoding="utf-8")
    assert matloop("run", "c.yaml")[0] == 0
    said = []
    for number, campaign in enumerate(("c.yaml", "runs/demo")):
        code, out, err = matloop("predict", campaign, "new.npz", "--output", f"{number}.csv")
        assert code == 0, out + err
        said.append("bundle of trial 0" in err)
    assert said == [True, False] and rows("0.csv") == rows("1.csv")
    assert len(rows("0.csv")) == 5 and load_bundle("runs/demo/bundles/trial-0").card["members"][0]["trial"] == 0


def test_formulas(matloop) -> None:
    rng = np.random.default_rng(0)
    metals, others = ["Li", "Na", "K", "Mg", "Ca", "Ti", "Fe", "Zn"], ["O", "S", "Cl"]
    texts = {f"{m}{a}{o}{b}" for m in metals for o in others for a in ("", 2) for b in ("", 2, 3)}
    lines = [f"{text},{rng.normal(len(text), 0.1):.3f}" for text in sorted(texts)]
    Path("oxides.csv").write_text("\n".join(["formula,energy", *lines]), encoding="utf-8")
    data = "{kind: formulas, path: oxides.csv, target: energy, descriptor: fractions}"
    said = searched(matloop, task="regression", data=data, space="dense_network")
    assert "bundle of trial" in said and "90 % intervals of energy hold" in said
    code, out, _ = matloop("predict", "best", "Fe2O3", "TcO2", "no formula", "--output", "new.csv")
    assert code == 3 and "left out" in out and "no formula" in out
    iron, technetium = rows("new.csv")
    assert iron["id"] == "Fe2O3" and float(iron["energy_lower"]) < float(iron["energy"]) < float(iron["energy_upper"])
    assert iron["out_of_domain"] == "False" and iron["why"] == ""
    assert technetium["out_of_domain"] == "True" and technetium["why"] == "no training data with Tc"
    frame = load_bundle("best").predict(["Fe2O3"])
    assert frame["energy"][0] == pytest.approx(float(iron["energy"]))
    assert "Fe" in load_bundle("best").explain(["Fe2O3"]).frame().columns
    Path("table.csv").write_text("formula\nNaCl\nLi2O\n", encoding="utf-8")
    code, out, _ = matloop("predict", "best", "table.csv", "KCl")
    assert code == 0 and all(name in out for name in ("KCl", "NaCl", "Li2O", "energy_lower"))
    code, _, err = matloop("predict", "best", "NaCl", "--output", "new.csv")
    assert code == 1 and "already there" in err
    code, _, err = matloop("predict", "best", "nothing at all")
    assert code == 1 and "nothing could be read" in err


def test_images_in_class_folders(matloop) -> None:
    rng = np.random.default_rng(1)
    for label, level in (("bainite", 60), ("pearlite", 170)):
        for i in range(25):
            png(Path("steel") / label / f"{i}.png", rng.normal(level, 20, (12, 12)).clip(0, 255).astype(np.uint8))
    searched(matloop, task="classification", data="{kind: images, path: steel}", space="conv_network", epochs=8)
    png(Path("new/a.png"), np.full((12, 12), 170, np.uint8) + rng.integers(0, 20, (12, 12)).astype(np.uint8))
    png(Path("new/b.png"), rng.normal(60, 20, (12, 12)).clip(0, 255).astype(np.uint8))
    Path("new/broken.png").write_bytes(b"no image")
    code, out, _ = matloop("predict", "best", "new", "--output", "new.csv")
    assert code == 3 and "broken.png" in out
    found = {row["id"]: row for row in rows("new.csv")}
    shares = [float(row["p_bainite"]) + float(row["p_pearlite"]) for row in found.values()]
    assert len(found) == 2 and np.allclose(shares, 1)
    assert {row["class"] for row in found.values()} <= {"bainite", "pearlite"}
    assert load_bundle("best").classes == ("bainite", "pearlite")
    code, _, _ = matloop("predict", "best", "new/a.png", "new/b.png")
    assert code == 0


def test_masks_of_whole_micrographs(matloop) -> None:
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(2)

    def micrograph(height, width):
        phase = (np.add.outer(np.arange(height), np.arange(width)) // 8 % 2).astype(np.uint8)
        return (80 + 90 * phase + rng.normal(0, 10, phase.shape)).clip(0, 255).astype(np.uint8), phase

    for i in range(8):
        grey, phase = micrograph(32, 32)
        png(Path(f"images/{i}.png"), grey)
        png(Path(f"masks/{i}.png"), phase)
    data = "{kind: images, path: images, masks: masks, tile: 16}"
    searched(matloop, task="segmentation", data=data, space="segmentation_network", epochs=10, trials=2)
    sizes = {"wide.png": (40, 75), "small.png": (16, 17)}
    truth = {}
    for name, (height, width) in sizes.items():
        grey, truth[name] = micrograph(height, width)
        png(Path("new") / name, grey)
    png(Path("new/tiny.png"), np.zeros((5, 5), np.uint8))
    code, out, _ = matloop("predict", "best", "new", "--masks", "found", "--output", "areas.csv")
    assert code == 3 and "tiny.png" in out
    for row in rows("areas.csv"):
        with image.open(row["mask"]) as mask, image.open(row["mask"].replace(".png", "_overlay.png")) as overlay:
            classes = np.asarray(mask)
            assert overlay.mode == "RGB" and overlay.size == mask.size
        assert classes.shape == sizes[row["id"]]
        assert [float(v) for k, v in row.items() if k.startswith("area_")][1] == pytest.approx(classes.mean(), abs=1e-6)
    assert len(rows("areas.csv")) == 2
    code, _, err = matloop("predict", "best", "new", "--masks", "found")
    assert code == 1 and "already there" in err


def test_tables_with_a_bad_row(matloop) -> None:
    rng = np.random.default_rng(3)
    warm, cooled = rng.uniform(300, 900, 60), ["oil", "air"] * 30
    lines = [f"{t},{k},{0.01 * t + (k == 'oil'):.3f}" for t, k in zip(warm, cooled, strict=True)]
    Path("steel.csv").write_text("\n".join(["temperature,quench,hardness", *lines]), encoding="utf-8")
    data = "{kind: table, path: steel.csv, target: hardness}"
    searched(matloop, task="regression", data=data, space="dense_network", trials=3)
    Path("new.csv").write_text("temperature,quench\n500,oil\nwarm,air\n600,water\n", encoding="utf-8")
    code, out, _ = matloop("predict", "best", "new.csv")
    assert code == 3 and out.count("left out") == 2 and "warm" in out and "water" in out
    import pandas as pd

    frame = load_bundle("best").predict(pd.DataFrame({"temperature": [500.0, 9e5], "quench": ["oil", "air"]}))
    assert frame["out_of_domain"].tolist() == [False, True]
    assert list(load_bundle("best").explain(Path("steel.csv")).frame().columns)[:1] == ["temperature"]
    # Another trial, and several together.
    trials = [t.id for t in read(Path("runs/demo/ledger.db")).trials]
    code, out, _ = matloop("export", "runs/demo", "--bundle", "first", "--trial", trials[0])
    assert code == 0 and f"bundle of trial {trials[0]} " in out
    code, out, _ = matloop("export", "runs/demo", "--bundle", "both", "--ensemble", 2)
    assert code == 0 and len(load_bundle("both").networks.members) == 2
    code, out, _ = matloop("export", "runs/demo", "--bundle", "front", "--ensemble", "front")
    assert code == 0 and 1 <= len(load_bundle("front").networks.members) <= 3
    for wrong, words in (("1", "a number of networks from 2"), ("9", "got 3")):
        code, _, err = matloop("export", "runs/demo", "--bundle", "none", "--ensemble", wrong)
        assert code == 1 and words in err and not Path("none").exists()


def test_odd_names_and_files(matloop, tmp_path: Path) -> None:
    """Of files that are not there, are empty, end in another way, or are called what no text can be."""
    from matloop.drivers.training.driver import Training
    from tests.bundles import trained as small

    lines = [f"{a},{b},{a - b}" for a, b in np.random.default_rng(0).normal(size=(60, 2))]
    Path("table.csv").write_text("\n".join(["a,b,y", *lines]), encoding="utf-8")
    data = {"kind": "table", "path": tmp_path / "table.csv", "target": "y"}
    small.bundled(tmp_path / "best", Training(data=data, epochs=1), small.dense(2))
    row = "a,b\n0.1,0.2\n"
    for name in ("new.dat", "with [bold] ü.csv", "sur\udcff.csv"):
        Path(name).write_text(row, encoding="utf-8")
        code, out, err = matloop("predict", "best", name, "--output", f"of {name}.csv")
        assert code == 0 and err == "", err
        (found,) = rows(f"of {name}.csv")
        assert found["id"] == f"{name.encode('utf-8', 'backslashreplace').decode()}, line 2"
        assert "1 prediction → of " in out and ("[bold]" in out) == ("[bold]" in name)
    Path("empty.csv").write_text("a,b\n", encoding="utf-8")
    code, out, _ = matloop("predict", "best", "empty.csv", "new.dat", "")
    assert code == 3 and "got none below its names of columns; left out" in out and "new.dat, line 2" in out
    code, out, err = matloop("predict", "best", "new.dat", "--output", "new.dat/x.csv")
    assert code == 1 and "cannot make the folder new.dat: " in err and out == ""  # before anything is computed
    assert matloop("predict", "best", "new.dat", "--output", "new/x.csv")[0] == 0 and len(rows("new/x.csv")) == 1
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))  # as on a disk that is full
    try:
        code, _, err = matloop("predict", "best", "new.dat", "--output", "full.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1 and "cannot write full.csv: " in err and not Path("full.csv").exists()
    for name in ("no.csv", "-"):
        code, out, err = matloop("predict", "best", name)
        assert code == 1 and f"{name}: there is no such file or folder" in out and "nothing could be read" in err


def test_a_formula_that_is_a_folder_too(matloop, tmp_path: Path) -> None:
    from matloop.drivers.training.driver import Training
    from tests.bundles import trained as small

    texts = [f"{m}{a}{o}" for m in ("Li", "Na", "K", "Fe", "Zn") for a in ("", 2, 3, 4) for o in ("O", "S", "Cl")]
    Path("f.csv").write_text("\n".join(["formula,gap", *(f"{t},{len(t)}" for t in texts)]), encoding="utf-8")
    driver = Training(data={"kind": "formulas", "path": tmp_path / "f.csv", "target": "gap"}, epochs=1)
    small.bundled(tmp_path / "best", driver, small.dense(driver.fills["input"][0]))
    Path("Fe2O3").mkdir()
    code, out, _ = matloop("predict", "best", "Fe2O3")
    assert code == 0 and "Fe2O3" in out
    Path("micrographs").mkdir()
    code, out, _ = matloop("predict", "best", "micrographs")
    assert code == 1 and "micrographs: expected a table" in out


def test_options_of_the_other_kind_are_refused(matloop, tmp_path: Path) -> None:
    from matloop.drivers.training.driver import Training
    from tests.bundles import trained as small

    small.bundled(tmp_path / "best", Training(data=small.numbers(tmp_path / "x.npz"), epochs=1), small.dense(2))
    code, _, err = matloop("predict", "best", "x.npz", "--csv", "y.csv")
    assert code == 2 and "--csv belongs to a lab" in " ".join(err.replace("│", " ").split())
    code, _, err = matloop("predict", "best", "x.npz", "--masks", "m")
    assert code == 1 and "expected --masks with a segmentation, got regression" in err
