"""The guide for laboratories is followed word by word, and the example notebook is run."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from matloop.orchestrator.ledger.ledger import read

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}


def fill_in(file: Path, changes: dict[int, dict[str, str]]) -> None:
    """As a person would, in a spreadsheet program."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = list(csv.DictReader(text))
    for i, cells in changes.items():
        assert cells.keys() <= rows[i].keys()
        rows[i].update(cells)
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


RESULTS = {
    0: {"hardness (HV)": "412", "hardness ± (HV)": "6"},
    1: {"hardness (HV)": "380", "temperature (°C)": "803", "gas": "argon"},
    2: {"failed": "cracked"},
}


def test_the_guide(tmp_path, matloop, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "lab.md").read_text(encoding="utf-8")
    for name, content in re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)```", text, re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(content, encoding="utf-8")
    commands = re.findall(r"^matloop (.+)$", text, re.MULTILINE)
    assert len(commands) == 20
    shown = {}
    for command in commands:
        if "--amend" in command:
            fill_in(tmp_path / "next.csv", {0: {"hardness (HV)": "421"}})
        code, shown[command], complaint = matloop(*shlex.split(command))
        assert code == 0, (command, complaint)
        if command.startswith("recommend"):
            fill_in(tmp_path / "next.csv", RESULTS)
    assert "3 recorded, 1 row without a result" in shown["tell lab.yaml next.csv --by Grace"]
    assert "1 amended, 2 on record already" in shown["tell lab.yaml next.csv --amend --by Grace"]
    assert "2 recorded that nobody had recommended" in shown["tell lab.yaml own.csv --by Ada"]
    assert "the strategy cannot say" in shown["outlook lab.yaml --delta 5 -n 3"]  # its model has too few results yet
    status = shown["status lab.yaml"]
    assert "trial 0: hardness = 421 → hardness = 418" in status and "the thermocouple was loose" in status
    history = read(tmp_path / "runs/furnace/ledger.db")
    done = [t for t in history.trials if t.state != "running"]
    assert [t.state for t in done] == ["answered", "cancelled", "failed", "cancelled", "answered", "answered"]
    wished = [t for t in history.trials if t.state == "running"]
    assert len(wished) == 5 and all("as wished: " in t.reason for t in wished)
    assert {(t.point["gas"], t.point["Mo"]) for t in wished[:3]} == {("argon", 0)}
    (temperature,) = {t.point["temperature"] for t in wished[:3]}
    assert 700 <= temperature <= 800 and all("near trial 0" in t.reason for t in wished[3:])
    assert [t.values["hardness"] for t in history.trials if t.values] == [418.0, 385.0, 441.0]
    assert history.trials[1].point["temperature"] == 803.0 and history.trials[1].planned is not None
    assert (tmp_path / "runs/furnace/report.html").is_file() and (tmp_path / "trials.csv").is_file()
    assert "8 experiments → all.csv" in shown["export runs/furnace --table all.csv"]


@pytest.mark.slow
def test_the_guides_python(tmp_path, matloop, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert matloop("init", "lab.yaml", "--template", "lab")[0] == 0
    text = (ROOT / "docs" / "lab.md").read_text(encoding="utf-8")
    (python,) = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "Lab.open" in code]
    done = subprocess.run([sys.executable, "-c", python], cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    history = read(tmp_path / "runs/furnace/ledger.db")
    assert [t.state for t in history.trials if t.state != "running"] == ["answered", "answered", "failed"]
    wished = [t for t in history.trials if t.state == "running"]
    assert len(wished) == 3 and all("as wished: " in t.reason for t in wished)
    assert history.trials[0].noise == {"hardness": 6.0}


def test_the_example_is_what_init_writes():
    example = ROOT / "campaigns" / "lab.yaml"
    assert example.read_bytes() == (ROOT / "orchestrator" / "cli" / "templates" / "lab.yaml").read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the libraries of notebooks
def test_the_notebook(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(ROOT / "examples" / "lab.ipynb", as_version=4)
    kernel = client.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    kernel.execute()
    folder = tmp_path / "hardness"
    history = read(folder / "ledger.db")
    assert len(history.finished) >= 12 and any(t.prediction for t in history.trials)
    images = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(images) == 5
