"""`matloop run` on a disk that really is full: it waits, says so once, and ends as documented."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import read

SIZE = 2 * 2**20

CAMPAIGN = """\
name: full
executor: {{kind: {executor}, outage_s: {outage_s}}}
studies:
  search:
    space: {{kind: box, parameters: {{x: {{type: float, low: 0.0, high: 1.0}}}}}}
    driver: {{kind: "big:Big", scratch: {scratch}}}
    strategy: random
    objectives: {{y: minimise}}
    budget: {{trials: 12, failures: 1}}
"""
DRIVER = """\
import os
from dataclasses import dataclass
from pathlib import Path

from matloop import Measurement

@dataclass(frozen=True)
class Big:
    folder: Path
    scratch: bool = False
    repeatable = True
    objectives = ()

    def __call__(self, trial):
        print("a line that the disk may not take\\n" * 1000)
        with (self.folder / "log").open("a") as file:
            file.write(f"{trial.id}\\n")
        if trial.number == 3 and not (self.folder / "once").exists():
            (self.folder / "once").touch()
            fill(self.folder / "disk")
        if self.scratch:
            (self.folder / "disk" / f"scratch{trial.number}").write_bytes(bytes(5000))
        content = os.urandom(20_000)
        return Measurement(values={"y": trial.point["x"]}, info={"text": "x" * 5000}, artifacts={"raw": content})

def fill(disk):
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = sys.platform == "linux" and os.getuid() == 0
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if not mounted or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def start(folder: Path, executor: str, outage_s: float, scratch: bool = False) -> subprocess.Popen[str]:
    (folder / "big.py").write_text(DRIVER)
    (folder / "campaign.yaml").write_text(
        CAMPAIGN.format(executor=executor, outage_s=outage_s, scratch=str(scratch).lower())
    )
    return subprocess.Popen(
        [sys.executable, "-m", "matloop.orchestrator.cli.main", "run", "campaign.yaml", "--dir", "disk/run"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])},
    )


def finished(folder: Path, executor: str, outage_s: float) -> tuple[int, str]:
    with start(folder, executor, outage_s) as process:
        watch = threading.Timer(240.0, process.kill)
        watch.start()
        output, _ = process.communicate()
        watch.cancel()
    return process.returncode, output


@pytest.mark.parametrize(("executor", "scratch"), [("serial", False), ("local", False), ("local", True)])
def test_a_full_disk_that_is_freed_costs_nothing(disk: Path, executor: str, scratch: bool) -> None:
    with start(disk.parent, executor, 600.0, scratch) as process:
        watch = threading.Timer(240.0, process.kill)
        watch.start()
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            if "waiting: " in line:
                (disk / "filler").unlink(missing_ok=True)  # it is said of each thing that is out of reach
        watch.cancel()
    output = "".join(lines)
    assert process.returncode == 0, output
    assert "no report" not in output and 1 <= output.count("waiting: ") == output.count("going on after") <= 3
    history, store = read(disk / "run" / "ledger.db"), ArtifactStore(disk / "run" / "artifacts")
    assert [(t.state, t.attempt) for t in history.trials] == [("answered", 1)] * 12 and history.lost == []
    assert all(len(store.load_bytes(t.artifacts["raw"])) == 20_000 for t in history.trials)
    begun = sorted(map(int, (disk.parent / "log").read_text().split()))
    assert set(begun) == set(range(12)) and (scratch or len(begun) == 12)


@pytest.mark.parametrize("executor", ["serial", "local"])
def test_a_disk_that_stays_full_ends_the_run_with_5_and_the_same_command_goes_on(disk: Path, executor: str) -> None:
    code, output = finished(disk.parent, executor, 1.0)
    assert code == 5, output
    assert 1 <= output.count("waiting: ") <= 2 and "Traceback" not in output
    (disk / "filler").unlink()
    before = read(disk / "run" / "ledger.db")
    assert not any(trial.failure for trial in before.trials) and len(before.finished) >= 2
    code, output = finished(disk.parent, executor, 2.0)  # how long to wait may be changed
    assert code == 0 and "waiting" not in output, output
    history = read(disk / "run" / "ledger.db")
    assert [t.state for t in history.trials] == ["answered"] * 12


def test_a_disk_that_is_full_at_the_start_is_said_at_once(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    code, output = finished(disk.parent, "serial", 600.0)
    assert code == 5 and "waiting" not in output and "Traceback" not in output
    assert "error: cannot write" in output and "the disk is full" in output
    (disk / "filler").unlink()
    (disk.parent / "once").touch()  # it is not filled again
    assert finished(disk.parent, "serial", 600.0)[0] == 0
