"""What programs will miss in their working folders is said beforehand."""

from __future__ import annotations

import sys

from matloop.drivers.command import Command
from matloop.drivers.parsing import Output
from matloop.search_spaces.box import Box

SPACE = Box(parameters={"x": {"type": "float", "low": 0, "high": 1}})  # type: ignore[dict-item]


def said(run, files=(), **options):
    return Command(run=run, output={"y": Output(regex="(.*)")}, files=list(files), **options).check(SPACE)


def test_modules_beside_a_script_that_are_not_taken_along(tmp_path):
    (tmp_path / "train.py").write_text("import json, nets\nfrom parts.layers import conv\nfrom numpy import pi\n")
    (tmp_path / "nets.py").write_text("")
    (tmp_path / "parts").mkdir()
    found = said([sys.executable, "train.py"], [tmp_path / "train.py"])
    assert [line.partition(",")[0] for line in found] == ["train.py imports nets.py", "train.py imports parts"]
    assert "add nets.py to `files`" in found[0]
    every = [tmp_path / name for name in ("train.py", "nets.py", "parts")]
    assert said([sys.executable, "train.py"], every) == []


def test_scripts_and_programs_that_are_not_there(tmp_path):
    assert said([sys.executable, "train.py"]) == ["train.py is not in the working folder; name it in `files`"]
    assert said([sys.executable, "train.py"], inputs={"train.py": "print({{ x }})"}) == []
    assert said(["./simulate"]) == ["simulate is not in the working folder; name it in `files`"]
    assert "'no-such-program' is not found" in said(["no-such-program", "a.txt"])[0]
    assert said(["{{ x }}", "a.txt"]) == []
