"""What the documents show is run, as a reader would run it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from matloop.orchestrator.ledger.ledger import read

ROOT = Path(__file__).parents[2]
MATLOOP = str(Path(sys.executable).with_name("matloop"))


def command(*arguments: str, cwd: Path) -> str:
    """Run `matloop` in a process of its own; what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([MATLOOP, *arguments], cwd=cwd, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_extending(tmp_path):
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)```", text, re.MULTILINE | re.DOTALL))
    assert set(files) == {"lab.py", "campaign.yaml", "test_lab.py"}
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    commands = re.findall(r"^matloop (.+)$", text, re.MULTILINE)
    assert commands == ["validate campaign.yaml", "run campaign.yaml"]
    for line in commands:
        command(*line.split(), cwd=tmp_path)
    trials = read(tmp_path / "runs" / "hardness" / "ledger.db").trials
    values = [t.values["hardness"] for t in trials]
    assert len(values) == 40 and max(values[20:]) > max(values[:2])
    (python,) = [
        code for code in re.findall(r"^```python\n(.*?)```", text, re.MULTILINE | re.DOTALL) if "open_campaign" in code
    ]
    (tmp_path / "again.py").write_text(f"{python}print(hardest)\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "again.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and float(done.stdout) == max(values), done.stderr
    assert len(read(tmp_path / "runs" / "hardness" / "ledger.db").sessions) == 2


@pytest.mark.parametrize("broken", [False, True])
def test_the_suites_are_passed_outside_of_the_checkout(broken, tmp_path):
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)```", text, re.MULTILINE | re.DOTALL))
    if broken:
        files["lab.py"] = files["lab.py"].replace("low <= point[name] <= high", "low <= point[name]")
    for name in ("lab.py", "test_lab.py"):
        (tmp_path / name).write_text(files[name], encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "test_lab.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    passed = int(re.findall(r"(\d+) passed", done.stdout)[0])
    assert done.returncode == int(broken) and passed > 10, done.stdout + done.stderr
    if broken:
        assert "DID NOT RAISE" in done.stdout and "TestFurnace::" in done.stdout


def test_what_init_writes_runs_as_it_is(tmp_path, matloop, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line in ("init campaign.yaml", "validate campaign.yaml"):
        code, _, complaint = matloop(*line.split())
        assert code == 0, complaint


@pytest.mark.parametrize("campaign", sorted((ROOT / "campaigns").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_campaigns_are_valid(campaign, tmp_path, matloop, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said, complaint = matloop("validate", campaign)
    assert code == 0 and f"{campaign} is valid" in said.replace("\n", ""), complaint


def _commands() -> list[tuple[str, str]]:
    """Every line in a block of shell commands that calls matloop, with the document that it stands in."""
    found = []
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in re.findall(r"^```sh\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(document.name, line) for line in lines if line.startswith("matloop ")]
    return found


def test_every_command_in_documents_is_understood():
    import typer

    from matloop.orchestrator.cli.main import app

    group = typer.main.get_command(app)
    parent = group.make_context("matloop", ["status"])
    usage_error = typer.BadParameter.__mro__[1]
    assert usage_error.__name__ == "UsageError" and len(_commands()) > 50
    wrong = []
    for document, line in _commands():
        words = shlex.split(re.split(r" [|>&;]", line)[0], comments=True)[1:]
        try:
            name, command, rest = group.resolve_command(parent, words)
            command.make_context(name, rest, parent=parent)
        except (usage_error, typer.Exit) as error:  # a file of the reader's, or a word that stands for a number, may be
            if type(error) is not typer.BadParameter:
                wrong.append(f"{document}: {line}: {error}")
    assert not wrong, wrong


def test_links_in_documents_lead_somewhere():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
