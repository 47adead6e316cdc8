"""What docs/hpc.md shows is run: its campaign, its commands, and its messages are those of the code."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from matloop.orchestrator.composition.config import ExecutorConfig
from matloop.orchestrator.ledger.ledger import read
from tests.docs.test_readme import MATLOOP, ROOT, command
from tests.hpc.launchers import OPEN_MPI, output_of

TEXT = (ROOT / "docs" / "hpc.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = dict(re.findall(r"^`([\w.]+)`[^\n]*:\n\n```\w+\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL))
    assert set(files) == {"alloys.yaml", "measure.py", "relax.yaml", "relax.py"}
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


def test_validate_and_submit(
    folder: Path, matloop: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    commands = re.findall(r"^matloop ((?:validate|submit) .+)$", TEXT, re.MULTILINE)
    assert len(commands) == 4
    for line in commands:
        code, said, complaint = matloop(*shlex.split(line))
        assert code == 0, complaint
        if line.startswith("submit"):
            assert "wrote" in said
            subprocess.run(["bash", "-n", "runs/alloys/job.sh"], cwd=folder, check=True)


@pytest.mark.slow
def test_run_status_report_export(folder: Path) -> None:
    """The campaign of the document, on this machine and without the waiting."""
    file = folder / "alloys.yaml"
    file.write_text(file.read_text().replace("{kind: mpi}", "{kind: local, slots: 2}"))
    (folder / "measure.py").write_text((folder / "measure.py").read_text().replace("sleep(0.5)", "sleep(0.01)"))
    command("run", "alloys.yaml", cwd=folder)
    commands = re.findall(r"^matloop ((?:status|report|export) .+)$", TEXT, re.MULTILINE)
    assert len(commands) == 3
    for line in commands:
        command(*shlex.split(line), cwd=folder)
    assert len((folder / "trials.csv").read_text().splitlines()) == 61
    assert len(read(folder / "runs/alloys/ledger.db").finished) == 60


@pytest.mark.slow
def test_options_in_the_text_exist() -> None:
    offered = "".join(
        subprocess.run([MATLOOP, name, "--help"], capture_output=True, text=True, env={"COLUMNS": "200"}).stdout
        for name in ("submit", "run", "progress", "report", "export", "decide", "amend", "void")
    )
    others = {"--no-binary", "--force-reinstall", "--nodes", "--ntasks", "--time", "--mpi", "--batch", "--signal"}
    others |= {"--with-ft", "--quick"}  # of pip, Slurm, Open MPI and the benchmarks
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT)) - others
    assert shown and all(option in offered for option in shown)


def shortened(folder: Path, steps: int, executor: str) -> Path:
    """The recipe for long evaluations, with short steps and a log of those that are done; returns the log."""
    log, file, program = folder / "steps.log", folder / "relax.yaml", folder / "relax.py"
    file.write_text(file.read_text().replace("{kind: mpi}", executor).replace("run: python", f"run: {sys.executable}"))
    work = f"time.sleep(0.05)\n    print(sys.argv[1], state['step'], file=open({str(log)!r}, 'a'))"
    shown = program.read_text()
    assert shown.count("time.sleep(1)") == shown.count("100_000") == 1
    program.write_text(shown.replace("time.sleep(1)", work).replace("100_000", str(steps)))
    return log


def check_continued(folder: Path, log: Path, steps: int) -> None:
    """Every step of both trials was done once, in two jobs and one attempt."""
    history = read(folder / "runs/relax/ledger.db")
    assert [(trial.state, trial.attempt) for trial in history.trials] == [("answered", 1)] * 2
    assert history.lost == [] and len(history.sessions) == 2
    for trial in history.trials:
        assert trial.values["energy"] == pytest.approx(trial.point["x"] * 0.999**steps)
    done = Counter(log.read_text().splitlines())
    assert done == {f"{trial.point['x']} {step}": 1 for trial in history.trials for step in range(steps)}
    assert not (folder / "runs/relax/trials").exists()


def test_long_evaluations_go_on_where_they_were_stopped(folder: Path) -> None:
    log = shortened(folder, 150, "{kind: local, slots: 2}")
    run = subprocess.Popen([MATLOOP, "run", "relax.yaml"], cwd=folder, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (log.exists() and len(log.read_text().splitlines()) > 20):
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        time.sleep(0.2)
        run.send_signal(signal.SIGINT)
        assert run.wait(120) == 130
    finally:
        run.kill()
    assert len(list((folder / "runs/relax/trials").glob("*/checkpoint.json"))) == 2
    command("run", "relax.yaml", cwd=folder)
    check_continued(folder, log, 150)


@pytest.mark.slow
def test_long_evaluations_go_on_in_the_next_job(folder: Path) -> None:
    log = shortened(folder, 900, "{kind: local, slots: 2}")
    first = subprocess.run([MATLOOP, "run", "relax.yaml", "--time-left", "40s"], cwd=folder, timeout=120)
    assert first.returncode == 75
    command("run", "relax.yaml", cwd=folder)
    check_continued(folder, log, 900)


@pytest.mark.mpi
def test_long_evaluations_go_on_in_the_next_job_of_ranks(folder: Path) -> None:
    log = shortened(folder, 900, "{kind: mpi}")
    for options, code in ((["--time-left", "40s"], 75), ([], 0)):
        ended, said = output_of(OPEN_MPI(3, MATLOOP, "run", "relax.yaml", *options), cwd=folder)
        assert ended == code, said
    check_continued(folder, log, 900)


def test_the_dask_section_is_a_valid_executor() -> None:
    sections = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]
    (executor,) = [s["executor"] for s in sections if s.get("executor", {}).get("kind") == "dask"]
    assert ExecutorConfig.model_validate(executor).cluster["class"] == "dask_jobqueue.SLURMCluster"


def test_messages_in_the_text_are_those_of_the_code() -> None:
    code = "".join(
        p.read_text(encoding="utf-8") for folder in ("orchestrator", "hpc") for p in (ROOT / folder).rglob("*.py")
    )
    messages = re.findall(r"^\| `([^`]+)`", TEXT.partition("## When something fails")[2], re.MULTILINE)
    ours = [message for message in messages if "plugin" not in message]
    assert len(ours) >= 4
    assert all(message.removeprefix("ledger.db ") in code for message in ours)
