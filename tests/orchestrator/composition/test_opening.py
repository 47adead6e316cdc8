"""A campaign file run from Python: begun, gone on with, and closed in order whatever happens."""

from __future__ import annotations

import signal
from concurrent.futures import Executor
from contextlib import nullcontext
from pathlib import Path

import pytest

from matloop import Campaign, MatloopError, open_campaign
from matloop.orchestrator.composition import executors
from matloop.orchestrator.errors import ConfigChanged, ConfigError, LedgerLocked
from matloop.orchestrator.ledger.ledger import read
from tests.orchestrator.lab.files import furnace

TEXT = """\
name: Small One
executor: EXECUTOR
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: -1, high: 1}}}
    driver: {kind: python, path: "m.py:f"}
    strategy: random
    objectives: {y: minimise}
    budget: {trials: 4}
"""
INTERRUPTED = """\
import os, signal
def f(point, trial):
    if trial.number == 1 and not os.path.exists(FLAG):
        open(FLAG, "w").close()
        os.kill(os.getpid(), signal.SIGINT)
    return point["x"] ** 2
"""


@pytest.fixture(params=["serial", "{kind: local, slots: 1}"], ids=["serial", "local"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(tmp_path, request.param)


def write(folder: Path, executor: str = "serial") -> Path:
    path = folder / "c.yaml"
    path.write_text(TEXT.replace("EXECUTOR", executor))
    (folder / "m.py").write_text("def f(point):\n    return point['x'] ** 2\n")
    return path


def ended(file: Path) -> list[str | None]:
    return [session.ended for session in read(file.parent / "runs/small-one/ledger.db").sessions]


def test_run_and_go_on(file: Path) -> None:
    with open_campaign(file) as campaign:
        assert isinstance(campaign, Campaign) and campaign.history.trials == [] and campaign.outcome == ""
        assert campaign.run() == "finished" == campaign.outcome
        values = [trial.values["y"] for trial in campaign.history.of("search")]
        assert values == [trial.point["x"] ** 2 for trial in campaign.history.trials] and len(values) == 4
    with pytest.raises(RuntimeError):
        campaign.executor.submit(abs, 1)
    file.write_text(file.read_text().replace("trials: 4", "trials: 6"))
    with open_campaign(str(file)) as campaign:
        assert len(campaign.history.finished) == 4
        campaign.run()
    again = read(file.parent / "runs/small-one/ledger.db")
    assert [trial.values["y"] for trial in again.trials][:4] == values and len(again.finished) == 6
    assert ended(file) == ["finished", "finished"]


def test_only_opened(file: Path) -> None:
    with open_campaign(file):
        pass
    assert ended(file) == ["opened only"]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit, MatloopError])
def test_an_exception_ends_the_session(error: type[BaseException], file: Path) -> None:
    used: list[Executor] = []

    def fail() -> None:
        with open_campaign(file) as campaign:
            used.append(campaign.executor)
            campaign.run()
            raise error

    with pytest.raises(error):
        fail()
    with pytest.raises(RuntimeError):
        used[0].submit(abs, 1)
    assert ended(file) == [f"stopped by {error.__name__}"]
    with open_campaign(file) as campaign:  # nobody holds the ledger any more
        assert len(campaign.history.finished) == 4 and campaign.run() == "finished"


def test_ctrl_c_during_a_run(tmp_path: Path) -> None:
    file = write(tmp_path)
    (tmp_path / "m.py").write_text(f"FLAG = {str(tmp_path / 'flag')!r}\n{INTERRUPTED}")
    before = signal.getsignal(signal.SIGINT)
    with open_campaign(file) as campaign:
        assert campaign.run() == "interrupted" and len(campaign.history.finished) == 2
    assert signal.getsignal(signal.SIGINT) is before and ended(file) == ["interrupted"]
    with open_campaign(file) as campaign:
        assert campaign.run() == "finished" and len(campaign.history.finished) == 4


def test_a_folder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path)
    monkeypatch.chdir(tmp_path)
    with open_campaign(file, directory="out") as campaign:
        campaign.run()
    assert len(read(tmp_path / "out/ledger.db").finished) == 4 and not (tmp_path / "runs").exists()


def test_one_writer(tmp_path: Path) -> None:
    file = write(tmp_path)
    with open_campaign(file), pytest.raises(LedgerLocked), open_campaign(file):
        pass


def test_a_changed_file(tmp_path: Path) -> None:
    file = write(tmp_path)
    with open_campaign(file) as campaign:
        campaign.run()
    file.write_text(file.read_text().replace("low: -1", "low: -2"))
    with pytest.raises(ConfigChanged), open_campaign(file):
        pass
    with open_campaign(file, accept_changes=True) as campaign:
        assert len(campaign.history.finished) == 4


def test_nothing_to_run_makes_no_record(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to run: study anneal is measured by people"):
        open_campaign(furnace(tmp_path)).__enter__()
    assert list(tmp_path.rglob("ledger.db")) == []


def test_worker_ranks_are_sent_to_the_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "make", lambda config, log: nullcontext(None))
    with pytest.raises(ConfigError, match="asks for MPI, whose other ranks serve"):
        open_campaign(write(tmp_path)).__enter__()
