"""The command, run in the process of a test."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from matloop.orchestrator.cli import main as cli


@pytest.fixture
def matloop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs it with these arguments; exit code, what it printed, and what it complained about."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["matloop", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        shown = capsys.readouterr()
        return int(caught.value.code or 0), shown.out, shown.err

    return run
