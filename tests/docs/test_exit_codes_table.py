"""The table of exit codes in docs/hpc.md is that of the code."""

from __future__ import annotations

import re

from matloop.orchestrator.job import OUTCOMES
from tests.docs.test_readme import ROOT

TEXT = (ROOT / "docs" / "hpc.md").read_text(encoding="utf-8")


def test_the_table_has_every_exit_code_once() -> None:
    table = TEXT.split("| exit code of `matloop run` |")[1].split("\n\n")[0]
    listed = [int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for code in row.split(",")]
    assert listed == sorted({1, 2, *OUTCOMES.values()})
