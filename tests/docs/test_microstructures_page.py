"""The page on the design of microstructures: its campaign is run in small, and its commands on what comes of it."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.ledger.ledger import read

FOLDER = Path(__file__).parents[2] / "docs"
PAGE = (FOLDER / "microstructures.md").read_text(encoding="utf-8")
(CAMPAIGN,) = re.findall(r"^```yaml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("matloop ")
]


def small(text: str) -> str:
    """The same campaign with few trials of a coarse simulation."""
    campaign = yaml.safe_load(text)
    campaign["executor"] = {"kind": "serial"}
    studies = campaign["studies"]
    for study in studies.values():
        if "kind" in study["driver"]:
            study["driver"] |= {"order": 1, "wavelength_nm": [500, 700]}
    studies["check"]["driver"]["check_orders"] = 1
    studies["sample"]["budget"] = {"trials": 21}
    studies["free"]["budget"] = studies["design"]["budget"] = {"cost": 8}
    studies["free"]["strategy"]["steps"] = 2
    studies["design"]["strategy"] |= {"modelled": 2, "initial": 2}
    studies["check"]["budget"] = {"trials": 2}
    return yaml.safe_dump(campaign, sort_keys=False)


def test_the_campaign_is_valid(tmp_path: Path) -> None:
    (tmp_path / "absorber.yaml").write_text(CAMPAIGN, encoding="utf-8")
    studies, _ = validate(load(tmp_path / "absorber.yaml"))
    assert [study.name for study in studies] == ["sample", "free", "design", "check"]


@pytest.mark.filterwarnings("default")
def test_what_the_page_shows_is_run(
    tmp_path: Path, matloop: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "absorber.yaml").write_text(small(CAMPAIGN), encoding="utf-8")
    assert COMMANDS[0] == "matloop run absorber.yaml"
    code, said, complaint = matloop("run", "absorber.yaml")
    assert code == 0 and "what the bound “free” gains" in " ".join(said.split()), said + complaint
    trials = read(next(tmp_path.rglob("ledger.db"))).trials
    (other,) = [t.id for t in trials if t.study == "design"][:1]
    for line in COMMANDS[1:]:
        code, said, complaint = matloop(*shlex.split(line.replace("--trial 120", f"--trial {other}"))[1:])
        assert code == 0, f"{line}: {complaint}"
    report = next(tmp_path.rglob("report.html")).read_text(encoding="utf-8")
    titles = re.findall(r"^### (.*)$", PAGE, re.MULTILINE)
    assert {*titles} - {"What trades against what", "Is it worth going on?"} <= {*re.findall(r"<h3>(.*?)</h3>", report)}
    assert "could not be made" not in report and ">calls<" in report and "bound: free" in report
    assert {f.name for f in tmp_path.glob("*.*")} >= {f"best.{kind}" for kind in ("png", "npy", "gds", "stl")}
    assert np.load("best.npy").shape == (32, 32) and Path("wafer.gds").stat().st_size < 20_000


def test_the_page_names_every_option_of_a_structure() -> None:
    import typer

    from matloop.orchestrator.cli.main import app

    command = typer.main.get_command(app).commands["export"]  # type: ignore[attr-defined]
    elsewhere = {"csv", "table", "optuna", "network", "bundle", "ensemble", "campaign", "help"}
    options = {parameter.name for parameter in command.params} - elsewhere
    named = {*re.findall(r"--(\w+)", PAGE)}
    assert options <= named


def test_each_picture_is_taken_by_the_script() -> None:
    spec = importlib.util.spec_from_file_location("pictures", FOLDER / "pictures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shown = re.findall(r"\]\(pictures/(\w+)\.png\)", PAGE)
    assert sorted(shown) == sorted(module.SHOWN)
    titles = re.findall(r"^### (.*)$", PAGE, re.MULTILINE)
    assert {title for _, _, title in module.SHOWN.values()} <= {*titles}
