"""The page about using a network is followed word by word."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from matloop.orchestrator.ledger.ledger import read

pytest.importorskip("pandas")
pytestmark = pytest.mark.filterwarnings("default")  # of packages that are imported here for the first time

PAGE = (Path(__file__).parents[2] / "docs" / "use-your-network.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def follow(commands: str, matloop, *, codes: tuple[int, ...] = (0,)) -> str:
    said = ""
    for line in commands.strip().splitlines():
        assert line.startswith("matloop ")
        code, out, complaint = matloop(*line.split()[1:])
        assert code in codes, out + complaint
        said += out
    return said


def table(path: Path, metals: list[str]) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{m}{a}O{b},{rng.uniform(1, 5):.3f}" for m in metals for a in ("", 2, 3) for b in ("", 2, 3, 5)]
    path.write_text("\n".join(["formula,gap", *lines]), encoding="utf-8")


def test_numbers(folder: Path, matloop) -> None:
    table(Path("oxides.csv"), ["Li", "Mg", "Ca", "Ti", "Mn", "Fe", "Zn", "Sr"])
    Path("candidates.csv").write_text("formula\nCaO\nSrTiO3\n", encoding="utf-8")
    campaigns, commands, code = blocks("yaml"), blocks("sh"), blocks("python")
    Path("oxides.yaml").write_text("executor: serial\n" + campaigns[0], encoding="utf-8")
    said = follow(commands[0], matloop)
    assert "no training data with Tc" in said and "2 predictions → predictions.csv" in said
    assert "bundle of trials" in follow(commands[1], matloop)
    files = set(re.findall(r"`([\w.]+\.(?:md|json|safetensors|py|onnx|npz))`", PAGE)) & {*re.findall(r"`(\S+)`", PAGE)}
    assert {path.name for path in Path("best").iterdir()} == files
    exec(compile(code[0], "use-your-network.md", "exec"), {})
    sys.path.insert(0, str(folder / "best"))
    try:
        scope: dict = {}
        exec(compile(code[1], "use-your-network.md", "exec"), scope)
    finally:
        sys.modules.pop("network", None)
    assert not scope["network"].training

    table(Path("new.csv"), ["Fe", "Mg", "Ca"])
    content = yaml.safe_load(campaigns[0])
    study = content["studies"]["nets"]
    study["driver"] = yaml.safe_load(campaigns[2])["driver"]
    study["budget"]["trials"] = 1
    Path("again.yaml").write_text(yaml.safe_dump({**content, "name": "again", "executor": "serial"}))
    follow("matloop run again.yaml", matloop)
    (trial,) = read(Path("runs/again/ledger.db")).trials
    assert 0 < trial.info["inherited"] <= 1

    space = {"kind": "formulas", "formulas": ["CaO", "MgO", "Fe2O3", "SrO", "ZnO"]}
    study = {"space": space, "driver": {"kind": "python", "path": "m.py:f"}, "budget": {"trials": 4}}
    study |= {"objectives": {"gap": "maximise"}, **yaml.safe_load(campaigns[3])}
    Path("m.py").write_text("def f(point):\n    return len(point['formula'])\n")
    design = {"name": "design", "executor": "serial", "studies": {"next": study}}
    Path("design.yaml").write_text(yaml.safe_dump(design))
    follow("matloop run design.yaml", matloop)
    trials = read(Path("runs/design/ledger.db")).trials
    assert len(trials) == 4 and trials[-1].prediction is not None


def test_masks(folder: Path, matloop) -> None:
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for name, size in (("images", 32), ("new", 45)):
        Path(name).mkdir()
        for i in range(6 if name == "images" else 2):
            phase = (np.add.outer(np.arange(size), np.arange(size)) // 8 % 2).astype(np.uint8)
            grey = (80 + 90 * phase + rng.normal(0, 10, phase.shape)).clip(0, 255).astype(np.uint8)
            image.fromarray(grey).save(Path(name) / f"{i}.png")
            if name == "images":
                Path("masks").mkdir(exist_ok=True)
                image.fromarray(phase).save(Path("masks") / f"{i}.png")
    Path("micrographs.yaml").write_text("executor: serial\n" + blocks("yaml")[1], encoding="utf-8")
    follow(blocks("sh")[2], matloop)
    found = sorted(path.name for path in Path("masks-of-new").iterdir())
    assert found == ["0.png", "0_overlay.png", "1.png", "1_overlay.png"]
    assert Path("areas.csv").read_text().startswith("id,area_")
