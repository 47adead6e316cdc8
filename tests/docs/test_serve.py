"""The guide to the server is followed to the letter, but for the port."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from matloop.orchestrator.ledger.ledger import read
from tests.orchestrator.web.conftest import Server

GUIDE = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the guide's examples use curl")
def test_the_guide(tmp_path):
    name, content = re.findall(r"^`(\w+\.yaml)`:\n\n```yaml\n(.*?)```", GUIDE, re.MULTILINE | re.DOTALL)[0]
    (tmp_path / name).write_text(content, encoding="utf-8")
    commands = [c for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for c in split(block)]
    serving = [c for c in commands if c.startswith("matloop ")]
    asking = [c for c in commands if c.startswith("curl ")]
    assert len(serving) == 2 and len(asking) == 10 and len(commands) == 12
    for command in serving:
        assert f"matloop serve {name}" in command
    server = Server(tmp_path / name, *serving[1].split()[3:], directory=None)
    try:
        answers = [ask(command, server.port, tmp_path) for command in asking]
    finally:
        assert server.stop() == 0
    assert answers[0]["counts"]["to do"] == 0 and [e["id"] for e in answers[2]] == [0, 1, 2]
    assert [e["state"] for e in answers[4]] == ["answered", "failed", "answered"]
    assert answers[5]["state"] == "cancelled" and answers[6] == {}
    assert answers[7]["measured"][0]["values"] == {"yield": 61.5} and answers[7]["expected"] == []
    assert answers[9] == {"recorded": [], "known": [], "waiting": 0, "doubts": [], "remarks": []}
    assert len(read(tmp_path / "runs" / "furnace" / "ledger.db").trials) == 4


def split(block: str) -> list[str]:
    """Commands of a block; one goes on over lines while a quote is open."""
    found: list[str] = []
    for line in block.strip().splitlines():
        if found and found[-1].count("'") % 2:
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return found


def ask(command: str, port: int, folder: Path) -> object:
    """Run a curl command as a shell would; its answer."""
    if "Authorization" not in command:  # the server of the test is open to the network, so everybody needs the token
        command = command.replace("curl ", 'curl -H "Authorization: Bearer $(cat runs/furnace/serve.token)" ', 1)
    done = subprocess.run(
        ["bash", "-c", command.replace("curl ", "curl -sS --fail-with-body ", 1).replace(":8000", f":{port}")],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "no_proxy": "localhost"},
    )
    assert done.returncode == 0, command + done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout else None


def test_options_are_those_of_the_command(matloop, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    _, help_text, _ = matloop("serve", "--help")
    for option in set(re.findall(r"`(--[a-z-]+)", GUIDE)):
        assert option in help_text, option
