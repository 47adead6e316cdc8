"""What the documents show is run, as a reader would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from matloop.orchestrator.ledger.ledger import read

ROOT = Path(__file__).parents[2]
MATLOOP = str(Path(sys.executable).with_name("matloop"))


def matloop(*arguments: str, cwd: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([MATLOOP, *arguments], cwd=cwd, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_extending(tmp_path):
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)```", text, re.MULTILINE | re.DOTALL))
    assert set(files) == {"lab.py", "campaign.yaml"}
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    commands = re.findall(r"^matloop (.+)$", text, re.MULTILINE)
    assert commands == ["validate campaign.yaml", "run campaign.yaml"]
    for command in commands:
        matloop(*command.split(), cwd=tmp_path)
    trials = read(tmp_path / "runs" / "hardness" / "ledger.db").trials
    values = [t.values["hardness"] for t in trials]
    assert len(values) == 40 and max(values[20:]) > max(values[:2])


def test_what_init_writes_runs_as_it_is(tmp_path):
    matloop("init", "campaign.yaml", cwd=tmp_path)
    matloop("validate", "campaign.yaml", cwd=tmp_path)


@pytest.mark.parametrize("campaign", sorted((ROOT / "campaigns").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_campaigns_are_valid(campaign, tmp_path):
    matloop("validate", str(campaign), cwd=tmp_path)


def test_links_in_documents_lead_somewhere():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
