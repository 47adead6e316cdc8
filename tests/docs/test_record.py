"""What docs/record.md says is so: its messages are those of the code, and its commands work."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from matloop.orchestrator.cli import main as cli
from matloop.orchestrator.ledger import disk, file, ledger, lock, writer
from matloop.orchestrator.ledger.ledger import read

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")
CAMPAIGN = """\
name: alloys
executor: serial
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: -1, high: 1}}}
    driver: {kind: python, path: "m.py:f"}
    strategy: random
    objectives: {y: {direction: minimise}}
    budget: {trials: 3}
"""


def test_messages_are_those_of_the_code() -> None:
    code = " ".join(
        Path(str(module.__file__)).read_text(encoding="utf-8") for module in (disk, file, ledger, lock, writer)
    )
    said = re.findall(r"^\| `(.+?)` \|", TEXT, re.MULTILINE)
    assert len(said) == 6 and [message for message in said if message not in code] == []
    assert f"every {file.CHECKPOINT_S:g}\n  seconds" in TEXT and file.BUSY_WAIT_S == 120


@pytest.mark.filterwarnings("default")  # of packages that are imported here for the first time
def test_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "alloys.yaml").write_text(CAMPAIGN)
    (tmp_path / "m.py").write_text("def f(point):\n    return point['x']\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    commands = [" ".join(command.split()) for command in re.findall(r"matloop ((?:repair|status|run)\s[^`]+)", TEXT)]
    assert commands == [
        "repair runs/alloys",
        "status runs/alloys-repaired",
        "run alloys.yaml --dir runs/alloys-repaired",
    ]
    for command in ["run alloys.yaml", *commands]:
        monkeypatch.setattr(sys, "argv", ["matloop", *command.split()])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert not caught.value.code, command
    assert len(read(tmp_path / "runs/alloys-repaired/ledger.db").trials) == 3
