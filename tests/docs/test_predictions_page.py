"""The page about predictions is followed word by word, in a lab that has results."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.lab import Lab, Result

pytest.importorskip("pandas")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "predictions.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def fill(folder: Path) -> Path:
    """The lab's file with results beside it."""
    folder.mkdir(exist_ok=True)
    file = folder / "lab.yaml"
    file.write_bytes((ROOT / "campaigns" / "lab.yaml").read_bytes())
    with Lab.open(file) as lab:
        rng = np.random.default_rng(0)
        points = [lab.space.sample(rng) for _ in range(8)]
        lab.tell([Result(point=p, values={"hardness": 300 + 5 * p["Cr"] + p["temperature"] / 10}) for p in points])
    return file


def test_the_commands_and_the_code(tmp_path, matloop, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    fill(tmp_path)
    (points,) = blocks("csv")
    (tmp_path / "points.csv").write_text(points, encoding="utf-8")
    shown = []
    for line in "".join(blocks("sh")).splitlines():
        assert line.startswith("matloop ")
        code, said, complaint = matloop(*line.split()[1:])
        assert code == 0, complaint
        shown.append(said)
    predicted, best = shown
    assert "temperature above 1000 °C" in predicted and "2 predictions → expected.csv" in predicted
    assert "best measured: hardness" in best and "the model expects hardness" in best
    (code,) = blocks("python")
    exec(compile(code, "predictions.md", "exec"), {})


def test_an_earlier_campaign_as_the_page_writes_it(tmp_path):
    fill(tmp_path / "last-year")
    (snippet,) = blocks("yaml")
    content = yaml.safe_load((ROOT / "campaigns" / "lab.yaml").read_text(encoding="utf-8"))
    study = content["studies"]["anneal"]
    study["strategy"] = {**yaml.safe_load(snippet)["strategy"], "initial": 6}
    study["space"]["parameters"]["pressure"] = {"type": "float", "low": 1.0, "high": 3.0, "unit": "bar"}
    (tmp_path / "now").mkdir()
    file = tmp_path / "now" / "lab.yaml"
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    ((built,), _) = validate(load(file))
    (earlier,) = built.strategy.earlier
    assert len(earlier.trials) == 8 and {t.point["pressure"] for t in earlier.trials} == {1.0} and not earlier.notes
