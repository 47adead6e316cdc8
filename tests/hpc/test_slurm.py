"""Batch jobs under a real Slurm: a clean stop before the wall time, a restart, a record without gap or double."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import pytest

from matloop.orchestrator.ledger.ledger import read
from tests.hpc.cluster import Slurm, slurm

pytestmark = [pytest.mark.slow, pytest.mark.mpi, pytest.mark.timeout(900)]

MATLOOP = str(Path(sys.executable).with_name("matloop"))

CAMPAIGN = """\
name: night
executor: mpi
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: -1, high: 1}}}
    driver: {kind: python, path: "m.py:measure"}
    strategy: random
    objectives: {y: minimise}
    budget: {trials: TRIALS}
"""
# Half a minute into the first run, one evaluation begins that cannot finish in it.
MEASURE = """\
import os, time
from pathlib import Path
FOLDER = Path(__file__).parent
def measure(point):
    if time.time() > FOLDER.joinpath("c.yaml").stat().st_mtime + 30:
        try:
            FOLDER.joinpath("long").mkdir()
        except FileExistsError:
            pass
        else:
            time.sleep(300)
    time.sleep(0.4)
    with FOLDER.joinpath("log").open("a") as log:
        log.write(f"{point['x']!r}\\n")
    return point["x"] ** 2
"""


def prepare(folder: Path, trials: int, measure: str = MEASURE) -> None:
    folder.mkdir()
    (folder / "m.py").write_text(measure)
    (folder / "c.yaml").write_text(CAMPAIGN.replace("TRIALS", str(trials)))


def submit(cluster: Slurm, folder: Path, *options: str) -> str:
    said = cluster(MATLOOP, "submit", "c.yaml", "--scheduler", "slurm", "--time", "1m", *options, "--now", cwd=folder)
    found = re.search(r"^job (\d+)$", said, re.MULTILINE)
    assert found, said
    return found.group(1)


@pytest.mark.parametrize(
    ("nodes", "options", "trials"),
    [
        (1, ["--nodes", "1", "--tasks-per-node", "2", "--cpus-per-task", "1", "--launcher", "srun"], 180),
        (3, ["--nodes", "3", "--tasks-per-node", "1", "--launcher", "mpiexec"], 250),
    ],
    ids=["srun", "mpiexec"],
)
def test_a_campaign_longer_than_its_wall_time(tmp_path: Path, nodes: int, options: list[str], trials: int) -> None:
    folder = tmp_path / "campaign"
    with slurm(tmp_path, nodes) as cluster:
        prepare(folder, trials)
        job = cluster.finish(submit(cluster, folder, *options), within_s=600)
    log = (folder / "runs/night/job.log").read_text()
    assert job["JobState"] == "COMPLETED" and int(job["Restarts"]) >= 1, log
    history = read(folder / "runs/night/ledger.db")
    ended = [session.ended for session in history.sessions]
    assert ended == ["out of time"] * int(job["Restarts"]) + ["finished"], log
    assert len({trial.worker for trial in history.trials}) == max(2, nodes)

    # nothing lost, nothing failed, nothing counted twice
    assert [t.number for t in history.trials] == list(range(trials))
    assert sorted(history.finished) == list(range(trials))
    assert {t.state for t in history.trials} == {"answered"} and not history.lost
    assert {t.attempt for t in history.trials} == {1}

    # nothing measured twice, but what was withdrawn
    with sqlite3.connect(folder / "runs/night/ledger.db") as ledger:
        withdrawn = Counter(trial for (trial,) in ledger.execute("SELECT trial FROM events WHERE kind = 'withdrawn'"))
    ledger.close()
    measured = Counter((folder / "log").read_text().splitlines())
    assert sum(withdrawn.values()) >= 1, log  # the long one
    assert set(measured) == {repr(t.point["x"]) for t in history.trials}
    for trial in history.trials:
        assert measured[repr(trial.point["x"])] <= 1 + withdrawn[trial.id]
    assert "runs/night/report.html" in log and f"{trials} in all; finished" in log


def test_a_run_that_gets_nowhere_is_not_started_again(tmp_path: Path) -> None:
    folder = tmp_path / "campaign"
    with slurm(tmp_path) as cluster:
        prepare(folder, 10, "import time\ndef measure(point):\n    time.sleep(300)\n    return 0.0\n")
        job = submit(cluster, folder, "--nodes", "1", "--tasks-per-node", "1", "--cpus-per-task", "1")
        known = cluster.finish(job, within_s=200)
    assert known["JobState"] == "FAILED" and known["Restarts"] == "0" and known["ExitCode"] == "1:0"
    history = read(folder / "runs/night/ledger.db")
    assert [s.ended for s in history.sessions] == ["out of time"] and not history.finished and not history.lost
    assert "no evaluation finished in the time there was" in (folder / "runs/night/job.log").read_text()


def test_a_campaign_that_cannot_run_is_not_started_again(tmp_path: Path) -> None:
    folder = tmp_path / "campaign"
    with slurm(tmp_path) as cluster:
        prepare(folder, 10)
        options = ("--scheduler", "slurm", "--time", "1m", "--nodes", "1", "--tasks-per-node", "1")
        cluster(MATLOOP, "submit", "c.yaml", *options, "--cpus-per-task", "1", cwd=folder)
        (folder / "m.py").unlink()  # `submit` refuses what cannot run, so the file goes before the job begins
        job = cluster("sbatch", "--parsable", str(folder / "runs/night/job.sh"), cwd=folder).strip()
        known = cluster.finish(job, within_s=60)
    assert known["JobState"] == "FAILED" and known["Restarts"] == "0"
    assert "m.py" in (folder / "runs/night/job.log").read_text()
