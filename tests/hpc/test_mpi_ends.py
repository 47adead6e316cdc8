"""An MPI job in which something fails ends at once, everywhere, and says why; it does not wait for its wall time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from matloop.orchestrator.ledger.ledger import read
from tests.hpc.launchers import ENVIRONMENT, MPICH, OPEN_MPI, TOLERANT, Launcher, job_of

EVERYWHERE = pytest.mark.parametrize(
    ("launcher", "options"), [(OPEN_MPI, ()), (OPEN_MPI, TOLERANT), (MPICH, ())], ids=["openmpi", "ulfm", "mpich"]
)
HANGS_S = 90.0  # a job that has not ended by then waits for ever
TRIALS = 60
HERE = socket.gethostname()


def ended(command: list[str], folder: Path) -> tuple[int, str]:
    """Exit code and output of a job, none of whose processes is left; `folder` is one of its arguments."""
    with job_of(command) as job:
        try:
            out, _ = job.communicate(timeout=HANGS_S)
        except subprocess.TimeoutExpired:
            for process in members(folder):
                process.kill()
            pytest.fail(f"the job hangs: {job.communicate()[0]}")
    deadline = time.monotonic() + HANGS_S
    while (left := members(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left, f"left behind: {left}"
    return job.returncode, out


def members(folder: Path) -> list[psutil.Process]:
    """Processes with this folder on their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


BREAKING = f"""\
import sys
from pathlib import Path
from matloop.hpc.mpi_manager import Manager
from tests.hpc import faulty_job

folder = Path(sys.argv[1])
turn = Manager._turn

def injected(manager):
    told = folder / "acknowledged"
    if told.exists() and len(told.read_text().splitlines()) >= 10 and not (folder / "mended").exists():
        raise ArithmeticError("injected")
    return turn(manager)

Manager._turn = injected
faulty_job.main(folder, "none", 0, {TRIALS})
"""


@pytest.mark.mpi
@EVERYWHERE
def test_the_death_of_the_manager_s_thread_ends_the_job(
    tmp_path: Path, launcher: Launcher, options: tuple[str, ...]
) -> None:
    command = launcher(4, "-c", BREAKING, tmp_path, options=options)
    code, out = ended(command, tmp_path)
    assert code not in (0, 75) and "OUTCOME" not in out, out
    assert "ArithmeticError: injected" in out and "in injected" in out, out
    assert f"rank 0 on {HERE}: the thread that carries messages has failed, so the job ends now" in out, out
    told = {int(line) for line in (tmp_path / "acknowledged").read_text().splitlines()}
    history = read(tmp_path / "ledger.db")
    assert told and told <= set(history.finished)
    # what ran is neither a result nor a lost attempt: it is begun again
    assert not history.lost and {t.state for t in history.trials} <= {"answered", "pending", "running"}

    (tmp_path / "mended").touch()
    code, out = ended(command, tmp_path)
    assert code == 0 and "OUTCOME finished 3\n" in out, out
    history = read(tmp_path / "ledger.db")
    assert sorted(history.finished) == list(range(TRIALS)) and not history.lost
    assert [(t.state, t.attempt) for t in history.trials] == [("answered", 1)] * TRIALS
    begun = Counter(int(line.split()[0]) for line in (tmp_path / "begun").read_text().splitlines())
    assert all(begun[trial] == 1 for trial in told) and max(begun.values()) <= 2


BUSY = """\
import sys, time
from matloop.hpc import mpi_manager
from matloop.hpc.mpi import Mpi

def injected(manager):
    if manager._calls:
        raise ArithmeticError("injected")
    return turn(manager)

turn, mpi_manager.Manager._turn = mpi_manager.Manager._turn, injected
mpi_manager.GRACE_S = 0.5
with Mpi() as executor:
    if executor is not None:
        future = executor.submit(abs, -1)
        print("CANCELLED", type(future.exception()).__name__, flush=True)
        time.sleep(1000)
"""


@pytest.mark.mpi
@EVERYWHERE
def test_a_main_thread_that_is_busy_holds_up_nothing(
    tmp_path: Path, launcher: Launcher, options: tuple[str, ...]
) -> None:
    code, out = ended(launcher(3, "-c", BUSY, tmp_path, options=options), tmp_path)
    assert code not in (0, 75) and "ArithmeticError: injected" in out and "CANCELLED CancelledError" in out, out


BETWEEN = """\
import sys
from matloop.hpc.mpi import Mpi
with Mpi() as executor:
    rank = 0 if executor is not None else 1
if rank == int(sys.argv[2]):
    raise LookupError("between two blocks")
with Mpi() as executor:
    pass
"""


@pytest.mark.mpi
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("launcher", [OPEN_MPI, MPICH], ids=["openmpi", "mpich"])
def test_an_exception_outside_the_block_is_waited_for_by_nobody(tmp_path: Path, launcher: Launcher, rank: int) -> None:
    code, out = ended(launcher(3, "-c", BETWEEN, tmp_path, str(rank)), tmp_path)
    assert code not in (0, 75) and "LookupError: between two blocks" in out, out


IMPATIENT = """\
import signal, sys, time
from matloop.hpc.mpi import Mpi
with Mpi() as executor:
    if executor is not None:
        executor.submit(time.sleep, 1000)
        def interrupt(*_):
            raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, interrupt)
        signal.alarm(2)
"""


@pytest.mark.mpi
@EVERYWHERE
def test_an_interrupted_end_is_an_end(tmp_path: Path, launcher: Launcher, options: tuple[str, ...]) -> None:
    code, out = ended(launcher(3, "-c", IMPATIENT, tmp_path, options=options), tmp_path)
    assert code not in (0, 75) and "KeyboardInterrupt" in out, out


COMMAND = """\
import os, sys
from matloop.hpc import mpi_post
from matloop.orchestrator import errors
from matloop.orchestrator.composition import executors

rank = next(os.environ[name] for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK") if name in os.environ)

def blind(*_):
    raise OSError(5, "the GPU has fallen off the bus")

def incomplete(*_):
    raise errors.MissingExtra("onnx")

if rank == "1":
    if sys.argv[2] == "blind":
        mpi_post.look = blind
    if sys.argv[2] == "incomplete":
        executors.make = incomplete
sys.argv[1:] = ["run", sys.argv[1] + "/campaign.yaml"]
from matloop.orchestrator.cli.main import main
main()
"""
CAMPAIGN = """\
name: tiny
executor: {kind: mpi, trials_per_gpu: GPUS}
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: 0.0, high: 1.0}}}
    driver: {kind: python, path: "bowl.py:measure"}
    strategy: random
    objectives: {y: minimise}
    budget: {trials: 3}
"""


def campaign(folder: Path, gpus: int = 1) -> None:
    (folder / "campaign.yaml").write_text(CAMPAIGN.replace("GPUS", str(gpus)))
    (folder / "bowl.py").write_text("def measure(point): return point['x'] ** 2\n")


@pytest.mark.mpi
@pytest.mark.parametrize("launcher", [OPEN_MPI, MPICH], ids=["openmpi", "mpich"])
def test_a_rank_that_cannot_see_its_devices_is_named_once(tmp_path: Path, launcher: Launcher) -> None:
    campaign(tmp_path)
    code, out = ended(launcher(3, "-c", COMMAND, tmp_path, "blind"), tmp_path)
    assert code not in (0, 75), out
    assert out.count(f"error: rank 1 on {HERE}: OSError: [Errno 5] the GPU has fallen off the bus") == 1, out


@pytest.mark.mpi
@pytest.mark.parametrize("launcher", [OPEN_MPI, MPICH], ids=["openmpi", "mpich"])
def test_what_a_rank_alone_lacks_is_said_by_it(tmp_path: Path, launcher: Launcher) -> None:
    campaign(tmp_path)
    code, out = ended(launcher(3, "-c", COMMAND, tmp_path, "incomplete"), tmp_path)
    assert code not in (0, 75), out
    assert out.count(f"error: rank 1 on {HERE}: needs the package 'onnx'") == 1, out


@pytest.mark.mpi
def test_what_all_ranks_find_is_said_once(tmp_path: Path) -> None:
    campaign(tmp_path)
    crowded = {**ENVIRONMENT, "CUDA_VISIBLE_DEVICES": "0"}
    command = OPEN_MPI(4, "-c", COMMAND, tmp_path, "crowded")
    done = subprocess.run(command, env=crowded, capture_output=True, text=True, timeout=HANGS_S)
    said = done.stdout + done.stderr
    assert done.returncode not in (0, 75) and said.count("error:") == 1 and "rank 1" not in said, said


@pytest.mark.mpi
def test_processes_of_a_launcher_that_mpi_does_not_know_each_say_so(tmp_path: Path) -> None:
    """Plain `srun`: every process is alone in its MPI world."""
    pytest.importorskip("mpi4py")
    campaign(tmp_path)
    matloop = str(Path(sys.executable).with_name("matloop"))
    for rank in (0, 2):
        told = {**os.environ, "SLURM_PROCID": str(rank), "SLURM_STEP_NUM_TASKS": "3"}
        done = subprocess.run(
            [matloop, "run", "campaign.yaml"], cwd=tmp_path, env=told, capture_output=True, text=True, timeout=HANGS_S
        )
        place = f"rank {rank} on {HERE}: " if rank else ""
        assert done.returncode == 2 and f"error: {place}expected one MPI job of 3 ranks" in done.stderr, done.stderr
        assert "srun --mpi=list" in done.stderr


@pytest.mark.mpi
def test_the_remedy_for_two_libraries_is_the_right_launcher(tmp_path: Path) -> None:
    """MPICH's mpiexec with mpi4py of Open MPI; with Open MPI's, `test_the_usual_command_runs_a_campaign` holds."""
    campaign(tmp_path)
    command = [MPICH(2, "-c", COMMAND)[0], "-n", "2", sys.executable, "-c", COMMAND, str(tmp_path), "none"]
    code, out = ended(command, tmp_path)
    assert code not in (0, 75) and "got 2 processes that do not know of each other" in out, out
    assert f"rank 1 on {HERE}: expected one MPI job of 2 ranks" in out, out
