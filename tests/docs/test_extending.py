"""The command that the page on extending shows is taken, and runs nothing of a value."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from matloop.drivers.command import Command
from matloop.drivers.parsing import CommandFailed, Output
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.processes import POSIX
from matloop.orchestrator.trial import Trial

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not POSIX, reason="there is no /bin/sh")
def test_the_command(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml\n(driver:\n  kind: command\n.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    options = yaml.safe_load(text)["driver"]
    assert options.pop("kind") == "command"
    options["output"] = {name: Output(**spec) for name, spec in options["output"].items()}
    driver = Command(**options, scratch=tmp_path, keep="all")
    point = {"gas": "argon; touch x", "hours": 3, "label": "$(touch x) 'a"}
    measured = driver(Trial(id=0, study="s", number=0, point=point, seed=0))
    assert measured.values == {"hardness": 30.0}  # type: ignore[union-attr]
    (folder,) = tmp_path.iterdir()
    assert (folder / "log.txt").read_text() == "--gas=argon; touch x\nlabel $(touch x) 'a\n"
    assert not (folder / "x").exists()
    with pytest.raises(ConfigError, match="stands inside double quotes"):
        Command(**options | {"run": options["run"].replace("$LABEL", "{{label}}")})


def test_json_brings_its_own_quotes(tmp_path: Path) -> None:
    assert "{{gas | tojson}}" in PAGE
    inputs, output = {"in.json": '{"gas": {{gas | tojson}}}'}, {"y": Output(regex="y=(.)")}
    driver = Command(run=["no-such-program"], inputs=inputs, output=output, keep="all", scratch=tmp_path)
    with pytest.raises(CommandFailed, match="cannot start"):
        driver(Trial(id=0, study="s", number=0, point={"gas": 'a", "b": "c'}, seed=0))
    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "in.json").read_text()) == {"gas": 'a", "b": "c'}
