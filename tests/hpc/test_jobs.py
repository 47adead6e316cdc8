"""Job scripts: what they say, and what they do when the scheduler's and the launcher's commands are played by others.

Slurm is tested for real in `test_slurm.py`; LSF and PBS are not at hand.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from matloop.hpc import jobs
from matloop.hpc.jobs import Job
from matloop.orchestrator.cli.commands.progress import verdict
from matloop.orchestrator.errors import ConfigError, MatloopError
from matloop.orchestrator.ledger.history import History
from matloop.orchestrator.ledger.ledger import Ledger, read
from matloop.orchestrator.trial import Answer, Failure, Proposal

HERE = Path(__file__).parent
MATLOOP = [sys.executable, "-m", "matloop.orchestrator.cli.main"]

HOME = Path("/home/me")
JOB = Job(
    scheduler="slurm",
    name="alloys",
    campaign=HOME / "alloys.yaml",
    results=HOME / "runs/alloys",
    working=HOME,
    bin=HOME / ".venv/bin",
    nodes=4,
    gpus_per_node=6,
    time_s=43200,
    account="MAT123",
)
SCRIPTS = {
    "slurm": JOB,
    "slurm-mpiexec": replace(JOB, launcher="mpiexec", gpus_per_node=0, tasks_per_node=16, cpus_per_task=2),
    "lsf": replace(JOB, scheduler="lsf", launcher="auto", queue="batch"),
    "lsf-mpiexec": replace(JOB, scheduler="lsf", launcher="mpiexec", nodes=1, extra=("#BSUB -M 64GB",)),
    "pbs": replace(JOB, scheduler="pbs", launcher="auto", modules=("openmpi/5.0",)),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_read_as_they_should(name: str) -> None:
    """After a change on purpose: `python -m tests.hpc.test_jobs` writes them anew, for review."""
    assert jobs.text(SCRIPTS[name]) == (HERE / "scripts" / f"{name}.sh").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SCRIPTS)
def test_bash_accepts_them(name: str) -> None:
    odd = replace(
        SCRIPTS[name], campaign=Path("/a b/it's $HOME.yaml"), results=Path("/a b/runs"), modules=("x y", "a;b")
    )
    for job in (SCRIPTS[name], odd):
        done = subprocess.run(["bash", "-n"], input=jobs.text(job), capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr


@pytest.mark.parametrize(
    ("nodes", "workers", "launcher", "ranks"),
    [(1, 1, "mpiexec", 2), (3, 4, "mpiexec", 13), (1, 4, "jsrun", 5), (3, 4, "jsrun", 12)],
)
def test_the_manager_comes_on_top(nodes: int, workers: int, launcher: jobs.Launcher, ranks: int) -> None:
    """But jsrun fills several nodes alike, and a worker of the first gives way."""
    job = replace(JOB, scheduler="lsf", launcher=launcher, nodes=nodes, gpus_per_node=workers, tasks_per_node=None)
    assert job.ranks == ranks and job.workers == ranks - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": 0}, "--nodes >= 1"),
        ({"gpus_per_node": -1}, "--gpus-per-node >= 0"),
        ({"gpus_per_node": 0, "tasks_per_node": None}, "--tasks-per-node K, got neither"),
        ({"tasks_per_node": 0}, "--tasks-per-node >= 1"),
        ({"cpus_per_task": 0}, "--cpus-per-task >= 1"),
        ({"time_s": 59}, "a minute or more"),
        ({"launcher": "jsrun"}, "srun or mpiexec under slurm, got jsrun"),
        ({"extra": ("#SBATCH -x\nrm -r /",)}, "single lines"),
        ({"extra": ("#SBATCH -x\rrm -r /",)}, "single lines"),
        ({"modules": ("gcc\ntouch x",)}, "single lines"),
        ({"name": "a\ntouch x"}, "single lines"),
        ({"results": HOME / "a\ntouch x"}, "single lines"),
        ({"campaign": HOME / "a\ntouch x.yaml"}, "single lines"),
        ({"working": HOME / "\x1b"}, "single lines"),
        ({"campaign": Path("-rf")}, "absolute paths"),
        ({"queue": "gpu -w x"}, "--partition with a name"),
        ({"queue": "-w"}, "--partition with a name"),
        ({"queue": ""}, "--partition with a name"),
        ({"account": "$(touch x)"}, "--account with a name"),
        ({"account": "a\ntouch x"}, "single lines"),
        ({"scheduler": "lsf", "launcher": "auto", "results": HOME / "%J"}, "LSF would put a number"),
    ],
)
def test_options_out_of_range_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        replace(JOB, **change)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("alloys-2.b_c", "alloys-2.b_c"),
        ("my alloys", "my_alloys"),
        ("$(touch x)", "touch_x"),
        ("-rf", "rf"),
        ("2 alloys", "run_2_alloys"),
        ("a[1-10]", "a_1-10"),
        ("αβ", "run"),
        ("x" * 200, "x" * 64),
    ],
)
def test_a_job_has_a_name_that_schedulers_take(name: str, label: str) -> None:
    for scheduler, directive in (("slurm", "#SBATCH --job-name="), ("lsf", "#BSUB -J "), ("pbs", "#PBS -N ")):
        text = jobs.text(replace(JOB, scheduler=scheduler, launcher="auto", name=name))
        assert f"\n{directive}{label}\n" in text


# --- what the scripts do -------------------------------------------------------------------------------------------

PLAYERS = {
    # the launcher: notes its arguments; SIGUSR1 ends it, as it ends the campaign
    "mpiexec": 'case "$1" in --version) echo "$MPI"; exit;; esac\n',
    "srun": 'case "$1" in --mpi=list) echo "MPI plugin types are... pmix"; exit;; esac\n',
    "jsrun": "",
    "matloop": 'echo "matloop $*" >> calls; exit $(cat code)\n',
    "scontrol": 'echo "scontrol $*" >> calls\n',
    "qsub": 'echo "qsub $*" >> calls\n',
    "squeue": "echo 2030-01-01T00:00:00\n",
}
LAUNCH = 'echo "$(basename "$0") $*" >> calls; echo "pmi: $SLURM_MPI_TYPE" >> calls\n'
LAUNCH += "trap 'echo warned >> calls; exit 75' USR1\n[ -e quick ] || for i in $(seq 300); do sleep 0.1; done\n"


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A folder whose `bin` plays the cluster; `code` holds what `matloop progress` is to say."""
    (tmp_path / "bin").mkdir()
    for name, lines in PLAYERS.items():
        body = lines + (LAUNCH if name in ("mpiexec", "srun", "jsrun") else "")
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{body}")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "quick").touch()
    return tmp_path


def staged(stage: Path, name: str) -> Job:
    job = replace(SCRIPTS[name], results=stage, working=stage, bin=stage / "bin", modules=())
    job.script.write_text(jobs.text(job))
    return job


def play(stage: Path, job: Job, **environment: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "PBS", "LSB"))}
    given = kept | {"SLURM_JOB_ID": "7", "MPI": "mpiexec (Open MPI) 5.0.11"} | environment
    return subprocess.Popen(["bash", job.script], cwd="/", env=given)


def calls(stage: Path) -> list[str]:
    return (stage / "calls").read_text().splitlines() if (stage / "calls").exists() else []


HOSTILE = """-rf b; touch x $(touch x) `touch x` 'q' "q" $HOME & | > x * \\ # % %j é"""
"""A name of a folder or file; a newline in one is refused."""


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_name_becomes_a_command(stage: Path, name: str) -> None:
    """A script whose folders, files and modules are made of what a shell would run does what any other does."""
    (stage / "code").write_text("75")
    home = stage / HOSTILE
    (home / "x in here").mkdir(parents=True)
    job = replace(
        SCRIPTS[name],
        name=HOSTILE,
        results=home,
        working=stage,
        campaign=home / f"{HOSTILE}.yaml",
        bin=stage / "bin",
        modules=(HOSTILE,),
    )
    job.script.write_text(jobs.text(job))
    (stage / "bin" / "module").write_text('#!/bin/bash\necho "module $*" >> calls\n')
    (stage / "bin" / "module").chmod(0o755)
    environment = {"PATH": f"{stage / 'bin'}:{os.environ['PATH']}"}
    assert play(stage, job, **environment).wait(30) == 75
    said = calls(stage)
    assert f"module load {HOSTILE}" in said
    assert any(line.endswith(f"matloop run {job.campaign} --dir {home} --until {line.split()[-3]} --warning 120s")
               for line in said)  # fmt: skip
    assert any(line.startswith(f"matloop progress {home} --since ") for line in said)
    if job.scheduler == "pbs":
        assert f"qsub {job.script}" in said
    assert not [found for found in stage.rglob("x") if found.is_file()]
    if job.scheduler == "slurm":
        (output,) = (line for line in jobs.text(job).splitlines() if line.startswith("#SBATCH --output="))
        (path,) = shlex.split(output.partition("=")[2])
        assert path == str(job.log).replace("%", "%%")


@pytest.mark.parametrize("code", [0, 75, 1])
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_starts_itself_again_only_where_there_is_more_to_do(stage: Path, name: str, code: int) -> None:
    (stage / "code").write_text(str(code))
    began, job = int(time.time()), staged(stage, name)
    assert play(stage, job).wait(30) == code
    said = calls(stage)
    again = [line for line in said if line.startswith(("scontrol", "qsub"))]
    expected = {"slurm": ["scontrol requeue 7"], "pbs": [f"qsub {job.script}"], "lsf": []}[job.scheduler]
    assert again == (expected if code == 75 else [])
    if job.scheduler == "lsf":
        assert "#BSUB -Q 75" in job.script.read_text()  # which is how LSF is told
    asked = next(line for line in said if line.startswith("matloop progress"))
    assert 0 <= int(asked.split()[-1]) - began <= 30
    until = re.search(r"--until (\S+)", said[0])
    assert until is not None
    if job.scheduler == "slurm":
        assert until.group(1) == "2030-01-01T00:00:00"
    else:
        assert 0 <= int(until.group(1)) - began - job.time_s <= 30


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_warning_reaches_the_launcher_and_is_waited_for(stage: Path, name: str) -> None:
    (stage / "code").write_text("75")
    (stage / "quick").unlink()
    script = play(stage, staged(stage, name))
    while not any(line.startswith("pmi") for line in calls(stage)):
        time.sleep(0.02)
    time.sleep(0.3)  # the trap is set right after
    script.send_signal(signal.SIGUSR1)
    assert script.wait(20) == 75
    said = calls(stage)
    assert said.index("warned") < next(i for i, line in enumerate(said) if line.startswith("matloop progress"))


@pytest.mark.parametrize(
    ("name", "environment", "expected"),
    [
        ("slurm", {}, "srun --ntasks=25 --distribution=cyclic --cpu-bind=none matloop run /home/me/alloys.yaml"),
        ("slurm", {"SLURM_JOB_END_TIME": "1900000000"}, "--until 1900000000 --warning 120s"),
        ("slurm-mpiexec", {}, "mpiexec --with-ft ulfm --map-by node:OVERSUBSCRIBE --bind-to none -n 65 matloop run"),
        ("slurm-mpiexec", {"MPI": "mpiexec (Open MPI) 4.1.6"}, "mpiexec --map-by node:OVERSUBSCRIBE --bind-to none -n"),
        ("slurm-mpiexec", {"MPI": "HYDRA build details: Version: 5.0"}, "mpiexec -ppn 1 -n 65 matloop run"),
        ("lsf", {}, "jsrun -n 4 -r 1 -a 6 -c ALL_CPUS -g ALL_GPUS -b none matloop run"),
        ("lsf-mpiexec", {"LSB_DJOB_HOSTFILE": "/h"}, "--bind-to none --hostfile /h -n 7 matloop run"),
        (
            "pbs",
            {"PBS_NODEFILE": "/h"},
            "--with-ft ulfm --map-by node:OVERSUBSCRIBE --bind-to none --hostfile /h -n 25",
        ),
        ("pbs", {"PBS_NODEFILE": "/h", "MPI": "HYDRA"}, "mpiexec -ppn 1 -f /h -n 25 matloop run"),
    ],
)
def test_how_ranks_are_launched(stage: Path, name: str, environment: dict[str, str], expected: str) -> None:
    (stage / "code").write_text("0")
    play(stage, staged(stage, name), **environment).wait(30)
    assert expected in calls(stage)[0]


def test_a_users_choice_of_pmi_is_kept(stage: Path) -> None:
    (stage / "code").write_text("0")
    play(stage, staged(stage, "slurm")).wait(30)
    play(stage, staged(stage, "slurm"), SLURM_MPI_TYPE="pmi2").wait(30)
    assert [line for line in calls(stage) if line.startswith("pmi:")] == ["pmi: pmix", "pmi: pmi2"]


NIGHT = """\
name: night
executor: mpi
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: -1, high: 1}}}
    driver: {kind: python, path: "m.py:f"}
    strategy: random
    objectives: {y: minimise}
    budget: {trials: 250}
"""


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.timeout(600)
def test_the_script_for_pbs_from_start_to_finish_but_without_pbs(tmp_path: Path) -> None:
    """Bash starts it, and `qsub` is bash; ranks, clock and record are real."""
    (tmp_path / "c.yaml").write_text(NIGHT)
    (tmp_path / "m.py").write_text("import time\ndef f(point):\n    time.sleep(0.8)\n    return point['x']\n")
    (tmp_path / "hosts").write_text("localhost\n" * 3)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/qsub").write_text('#!/bin/bash\necho again >> again\nexec bash "$1"\n')
    (tmp_path / "bin/qsub").chmod(0o755)
    command(tmp_path, "submit", "c.yaml", "--scheduler", "pbs", "--nodes", "1", "--tasks-per-node", "2", "--time", "2m")
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMP_NUM_THREADS": "1"}
    path = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "PBS_NODEFILE": f"{tmp_path}/hosts"}
    script = tmp_path / "runs/night/job.sh"
    done = subprocess.run(["bash", script], cwd=tmp_path, env=os.environ | root | path)
    log = (tmp_path / "runs/night/job.log").read_text()
    history = read(tmp_path / "runs/night/ledger.db")
    restarts = len((tmp_path / "again").read_text().split())
    assert restarts >= 1 and done.returncode == 75, log  # the first run's; those after it are its children
    assert [s.ended for s in history.sessions] == ["out of time"] * restarts + ["finished"], log
    assert sorted(history.finished) == list(range(250)) and not history.lost
    assert {(t.state, t.attempt) for t in history.trials} == {("answered", 1)}


# --- submitting ----------------------------------------------------------------------------------------------------

CAMPAIGN = """\
name: Small One
executor: mpi
studies:
  search:
    space: {kind: box, parameters: {x: {type: float, low: -1, high: 1}}}
    driver: {kind: python, path: "m.py:f"}
    strategy: random
    objectives: {y: minimise}
    budget: {trials: 12}
"""
SCHEDULERS = {
    "slurm": ("sbatch", 'cat "$2" > taken; echo "4711;cluster"', "4711"),
    "lsf": ("bsub", 'cat > taken; echo "Job <4711> is submitted to queue <normal>."', "4711"),
    "pbs": ("qsub", 'cat "$1" > taken; echo 4711.server.site', "4711.server.site"),
}


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{folder}/bin:/usr/bin:/bin"}
    return subprocess.run([*MATLOOP, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_submit_writes_hands_in_and_names_the_job(tmp_path: Path, scheduler: str) -> None:
    name, play_it, job_id = SCHEDULERS[scheduler]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{play_it}\n")
    (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "c.yaml").write_text(CAMPAIGN)
    (tmp_path / "m.py").write_text("def f(point):\n    return point['x']\n")
    size = ["--nodes", "2", "--gpus-per-node", "4", "--time", "2h"]
    done = command(tmp_path, "submit", "c.yaml", "--scheduler", scheduler, *size, "--now")
    assert done.returncode == 0, done.stderr
    assert f"job {job_id}\n" in done.stdout
    script = tmp_path / "runs/small-one/job.sh"
    assert (tmp_path / "taken").read_text() == script.read_text() and os.access(script, os.X_OK)


def test_submit_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CAMPAIGN.replace("mpi", "local"))
    size = ["--nodes", "1", "--tasks-per-node", "2", "--time", "2h"]
    done = command(tmp_path, "submit", "c.yaml", "--scheduler", "slurm", *size)
    assert done.returncode == 2 and "c.yaml:2:11" in done.stderr and "{kind: mpi}" in done.stderr
    assert not (tmp_path / "runs").exists()
    done = command(tmp_path, "submit", "c.yaml", "--scheduler", "sge", *size)
    assert done.returncode == 2 and "expected --scheduler slurm, lsf, pbs, got 'sge'" in done.stderr


def test_a_scheduler_that_is_not_here_or_refuses(stage: Path) -> None:
    job = replace(staged(stage, "slurm"), scheduler="lsf", launcher="auto")
    with pytest.raises(MatloopError, match="there is no bsub here"):
        jobs.submit(job)
    (stage / "bin/bsub").write_text("#!/bin/bash\necho 'Unknown project' >&2; exit 255\n")
    (stage / "bin/bsub").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{stage}/bin:{os.environ['PATH']}")
        with pytest.raises(MatloopError, match=r"lsf did not take .*: Unknown project; correct"):
            jobs.submit(job)


# --- whether to start again ----------------------------------------------------------------------------------------


def history_of(path: Path, *, results: int, ended: str | None) -> History:
    """A session that recorded some results; those at and after 1000 s of the ledger's clock."""
    ledger = Ledger.open(path, config={}, environment={}, clock=lambda: 1000.0)
    for _ in range(results):
        trial = ledger.propose("s", Proposal(point={"x": 1}), seed=0, ask=0)
        ledger.answer(trial, Answer(values={"y": 1.0}, started_at=1000.0, finished_at=1001.0))
    ledger.commit()
    if ended is None:
        ledger._release()  # as a killed process leaves it
    else:
        ledger.close(ended)
    return read(path)


@pytest.mark.parametrize(
    ("results", "ended", "code"),
    [
        (3, "finished", 0),
        (0, "finished", 0),
        (3, "out of time", 75),
        (3, None, 75),
        (0, "out of time", 1),
        (0, None, 1),
        (3, "interrupted", 130),
        (3, "terminated", 143),
        (0, "nothing answered", 3),
        (3, "failures in a row", 4),
        (3, "out of reach", 5),
        (3, "stopped by MatloopError", 1),
    ],
)
def test_verdict(tmp_path: Path, results: int, ended: str | None, code: int) -> None:
    history = history_of(tmp_path / "ledger.db", results=results, ended=ended)
    assert verdict(history, 1000.0)[0] == code
    assert verdict(history, 1002.0) == (1, "no run has begun; see what it printed")


def test_nothing_but_failures_are_no_progress(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.db", config={}, environment={}, clock=lambda: 1000.0) as ledger:
        trial = ledger.propose("s", Proposal(point={"x": 1}), seed=0, ask=0)
        failure = Failure(cause="exception", message="no such file")
        ledger.answer(trial, Answer(failure=failure, started_at=1000.0, finished_at=1001.0))
        ledger.close("out of time")
    code, sentence = verdict(read(tmp_path / "ledger.db"), 1000.0)
    assert code == 1 and "nothing but failures" in sentence


def test_results_of_earlier_runs_are_no_progress(tmp_path: Path) -> None:
    history_of(tmp_path / "ledger.db", results=3, ended="out of time")
    Ledger.open(tmp_path / "ledger.db", config={}, environment={}, clock=lambda: 2000.0).close("out of time")
    code, sentence = verdict(read(tmp_path / "ledger.db"), 2000.0)
    assert code == 1 and sentence.startswith("0 results recorded, 3 in all; no evaluation finished")


if __name__ == "__main__":
    for name, job in SCRIPTS.items():
        (HERE / "scripts" / f"{name}.sh").write_text(jobs.text(job), encoding="utf-8")
