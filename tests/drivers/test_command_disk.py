"""Command on a disk that fails: before the program begins it is not the trial's fault, afterwards nothing is lost."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from matloop.drivers.command import Command
from matloop.drivers.parsing import Output
from matloop.orchestrator.errors import NotBegun
from matloop.orchestrator.trial import Trial
from matloop.orchestrator.workplace import Workplace


def failing(real: Callable[..., object], name: str, code: int) -> Callable[..., object]:
    def call(self: Path, *args: object, **options: object) -> object:
        if self.name == name:
            raise OSError(code, "of the machine", str(self))
        return real(self, *args, **options)

    return call


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    plain = Trial(id=3, study="s", number=2, point={"a": 1.5}, seed=11)
    return replace(plain, workplace=Workplace(str(tmp_path / "trials" / "3")))


def driver(log: Path, **options: object) -> Command:
    code = f"open({str(log)!r}, 'a').write('.'); print('y={{{{a}}}}')"
    run = [sys.executable, "-c", code]
    return Command(run=run, output={"y": Output(regex=r"^y=(\S+)")}, keep="none", repeatable=False, **options)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("name", ["stdout.txt", "stderr.txt", "in.txt"])
def test_a_folder_that_cannot_be_prepared_is_no_beginning(tmp_path, trial, monkeypatch, name, code):
    monkeypatch.setattr(Path, "open", failing(Path.open, name, code))
    with pytest.raises(NotBegun, match="cannot prepare the working folder"):
        driver(tmp_path / "log", inputs={"in.txt": "{{a}}"})(trial)
    assert not (tmp_path / "log").exists()


def test_a_file_that_can_never_be_written_is_not_waited_for(tmp_path, trial, monkeypatch):
    monkeypatch.setattr(Path, "open", failing(Path.open, "in.txt", errno.ENAMETOOLONG))
    with pytest.raises(OSError, match="of the machine"):
        driver(tmp_path / "log", inputs={"in.txt": "{{a}}"})(trial)


def test_what_cannot_be_put_away_costs_no_measurement(tmp_path, trial, monkeypatch):
    monkeypatch.setattr(Path, "unlink", failing(Path.unlink, ".matloop-scratch", errno.EIO))
    assert driver(tmp_path / "log", fresh=True)(trial).values == {"y": 1.5}
    assert (tmp_path / "log").read_text() == "."
