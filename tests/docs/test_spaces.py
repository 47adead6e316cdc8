"""What docs/spaces.md shows: its campaign runs, its spaces are valid and give valid points, its Python works."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from tests.search_spaces.formulas.test_crystals import structures

PAGE = (Path(__file__).parents[2] / "docs" / "spaces.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))
SPACES = re.findall(r"^```yaml\n(space:\n.*?)```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    rows = [f'{name},"{text.replace(chr(34), chr(34) * 2)}"' for name, text in structures().items()]
    with gzip.open(tmp_path / "structures.csv.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(["material_id,cif", *rows]))
    return tmp_path


def test_the_page_has_an_example_of_everything():
    assert len(SPACES) == 9
    for word in ("float", "integer", "categorical", "ordinal", "descriptors", "step", "log", "when", "at_least"):
        assert any(word in text for text in SPACES)


@pytest.mark.parametrize("number", range(len(SPACES)))
def test_spaces_are_valid(number, folder):
    head = "name: page\nstudies:\n  only:\n    "
    tail = '    driver: {kind: python, path: "lab:measure"}\n    strategy: {kind: random}\n'
    tail += "    objectives: {y: {direction: maximise}}\n    budget: {trials: 1}\n"
    path = folder / "page.yaml"
    path.write_text(head + "    ".join(SPACES[number].splitlines(keepends=True)) + tail, encoding="utf-8")
    (study,), _ = validate(load(path))
    rng = np.random.default_rng(0)
    points = [study.space.sample(rng) for _ in range(5)]
    for point in points:
        study.space.check(point)
    assert study.space.encode(points).shape == (5, len(study.space.columns))


def test_the_python_of_the_page_works():
    (code,) = re.findall(r"^## In Python\n```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    exec(code, {})


@pytest.mark.slow
def test_the_campaign_of_the_page_runs(folder):
    assert re.findall(r"^matloop (.+)$", PAGE, re.MULTILINE) == ["validate campaign.yaml", "run campaign.yaml"]
    for command in ("validate", "run"):
        program = [str(Path(sys.executable).with_name("matloop")), command, "campaign.yaml"]
        done = subprocess.run(program, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "runs" / "magnets" / "report.html").exists()
