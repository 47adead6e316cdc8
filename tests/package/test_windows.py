"""A day in a lab whose computer runs Windows, as far as that can be played elsewhere (see `windows/sitecustomize.py`).

It was not run on a real Windows. What Windows lacks is missing here too, for matloop's own modules; output is in the
alphabet of a Western European Windows; open files cannot be removed.
"""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import textwrap
import urllib.request
from pathlib import Path

import pytest
import yaml

from matloop.orchestrator.ledger.ledger import read

ROOT = Path(__file__).parents[2]
PREAMBLE = Path(__file__).parent / "windows"
WINDOWS = sys.platform == "win32"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path.resolve()


def environment(folder: Path) -> dict[str, str]:
    path = [*([] if WINDOWS else [str(PREAMBLE)]), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONIOENCODING": "cp1252",
        "PYTHONWARNDEFAULTENCODING": "1",
        "MATLOOP_WINDOWS": str(folder),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "160",
    }


def python(folder: Path, code: str) -> str:
    """What a program prints, which runs in a module of matloop's."""
    run = f"exec(compile({textwrap.dedent(code)!r}, 'probe', 'exec'), {{'__name__': 'matloop.probe'}})"
    done = subprocess.run(
        [sys.executable, "-c", run], cwd=folder, env=environment(folder), capture_output=True, text=True,
        encoding="cp1252", timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def matloop(folder: Path, *arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "matloop", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, encoding="cp1252", timeout=240, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A command that goes on until it is interrupted."""
    if WINDOWS:
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    else:  # shells have it ignored by what runs in the background
        apart = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    return subprocess.Popen(
        [sys.executable, "-m", "matloop", *arguments], cwd=folder, env={**environment(folder), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="cp1252", **apart,
    )  # fmt: skip


def interrupt(process: subprocess.Popen[str]) -> str:
    """Interrupt it as its user would; return what it still said."""
    process.send_signal(signal.CTRL_BREAK_EVENT if WINDOWS else signal.SIGINT)
    rest = process.communicate(timeout=60)[0]
    assert WINDOWS or process.returncode == 0, rest
    return rest


@pytest.mark.skipif(WINDOWS, reason="this is the real one")
def test_the_stage_is_set(folder: Path) -> None:
    """What this file relies on: the names are gone, and files behave."""
    said = python(
        folder,
        """
        import os, select, signal, subprocess, sys
        from pathlib import Path
        print(sys.platform, os.name, [hasattr(os, n) for n in ("killpg", "fork", "getuid", "O_NOCTTY")],
              [hasattr(signal, n) for n in ("SIGKILL", "SIGUSR1", "pthread_kill", "SIGINT")], hasattr(select, "poll"))
        for module in ("fcntl", "resource", "pwd", "termios"):
            try:
                exec(f"import {module}", {"__name__": "matloop.other"})
            except ModuleNotFoundError:
                print("no", module)
        try:
            from signal import SIGKILL
        except ImportError:
            print("no SIGKILL")
        for option in ({"start_new_session": True}, {"pass_fds": (1,)}, {"preexec_fn": print}):
            try:
                subprocess.Popen(["true"], **option)
            except ValueError as error:
                print(error)
        for name in ("a:b", "what?", "nul.txt", "dot."):
            try:
                Path(name).absolute().write_text("", encoding="utf-8")
            except OSError as error:
                print(error.strerror)
        with open("held", "w", encoding="utf-8") as held:
            other = Path("other")
            other.write_text("", encoding="utf-8")
            for attempt in (Path("held").unlink, lambda: other.replace("held")):
                try:
                    attempt()
                except PermissionError as error:
                    print(error.strerror)
        Path("held").unlink()
        try:
            open("other")
        except EncodingWarning:
            print("no encoding")
        """,
    )
    assert said.splitlines() == [
        "win32 nt [False, False, False, False] [False, False, False, True] False",
        *(f"no {module}" for module in ("fcntl", "resource", "pwd", "termios", "SIGKILL")),
        *(f"{option} not supported on Windows platforms" for option in ("start_new_session", "pass_fds", "preexec_fn")),
        *["Invalid argument: not a file name on Windows"] * 4,
        *["The process cannot access the file because it is being used"] * 2,
        "no encoding",
    ]


def test_everything_can_be_imported(folder: Path) -> None:
    modules = [
        ".".join(["matloop", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
        for part in ("orchestrator", "hpc", "drivers", "search_spaces", "surrogates", "testing")
        for path in sorted((ROOT / part).rglob("*.py"))
        if "templates" not in path.parts
    ]
    said = python(
        folder,
        f"""
        import importlib
        import matloop
        from matloop.orchestrator.errors import MissingExtra
        for module in {modules!r}:
            try:
                importlib.import_module(module)
            except MissingExtra:
                pass
        print("all")
        """,
    )
    assert said == "all\n"


def fill(file: Path) -> None:
    """Measure what was recommended."""
    text = file.read_text(encoding="utf-8-sig")
    dialect = csv.Sniffer().sniff(text.splitlines()[0])
    rows = list(csv.reader(io.StringIO(text), dialect))
    column = next(i for i, title in enumerate(rows[0]) if title.startswith("hardness") and "predicted" not in title)
    for i, row in enumerate(rows[1:]):
        row[column] = str(400 + 7 * i)
    with file.open("w", encoding="utf-8-sig", newline="") as out:
        csv.writer(out, dialect).writerows(rows)


def test_a_day_in_the_lab(folder: Path) -> None:
    matloop(folder, "init", "lab.yaml", "--template", "lab")
    assert "lab.yaml is valid" in matloop(folder, "validate", "lab.yaml")
    matloop(folder, "recommend", "lab.yaml", "-n", "3", "--csv", "next.csv")
    assert "is already there" in matloop(folder, "recommend", "lab.yaml", "-n", "1", "--csv", "next.csv", code=1)
    fill(folder / "next.csv")
    matloop(folder, "tell", "lab.yaml", "next.csv")
    (ledger,) = folder.rglob("ledger.db")
    trials = read(ledger).trials
    assert [t.state for t in trials] == ["answered"] * 3
    assert sorted(next(iter(t.values.values())) for t in trials) == [400.0, 407.0, 414.0]
    assert "nobody is writing" in matloop(folder, "status", str(ledger.parent))
    matloop(folder, "report", str(ledger.parent))
    assert "<html" in (ledger.parent / "report.html").read_text(encoding="utf-8")[:200]

    server = start(folder, "serve", "lab.yaml", "--port", "0")
    assert server.stdout is not None
    said: list[str] = []
    while not (said and said[-1].startswith("http://")):
        said.append(server.stdout.readline())
        assert said[-1], said
    with urllib.request.urlopen(said[-1].strip(), timeout=60) as page:
        assert page.status == 200 and b"400" in page.read()
    rest = interrupt(server)
    assert "Traceback" not in rest, rest


def write_campaign(folder: Path, executor: dict[str, object]) -> None:
    """The file that `matloop init` writes, with another executor."""
    matloop(folder, "init", "campaign.yaml")
    file = folder / "campaign.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["studies"]["search"]["budget"] = {"trials": 8}
    if executor["kind"] == "serial":
        content["studies"]["search"]["strategy"] = "random"
    file.write_text(yaml.safe_dump({**content, "executor": executor}), encoding="utf-8")


@pytest.mark.parametrize("executor", ["serial", "local"])
def test_a_campaign_that_a_machine_measures(folder: Path, executor: str) -> None:
    write_campaign(folder, {"kind": executor, **({"slots": 2} if executor == "local" else {})})
    matloop(folder, "validate", "campaign.yaml")
    assert "report: " in matloop(folder, "run", "campaign.yaml")
    (ledger,) = folder.rglob("ledger.db")
    history = read(ledger)
    assert len(history.finished) == len(history.trials) == 8
    assert {t.state for t in history.trials} == {"answered"}
    assert all(t.worker.startswith("slot ") == (executor == "local") for t in history.trials)
    assert history.sessions[-1].ended == "finished"
    matloop(folder, "run", "campaign.yaml", "--time-left", "1h")  # there is nothing left to do


def test_a_program_is_run_and_killed_in_time(folder: Path) -> None:
    said = python(
        folder,
        f"""
        import sys
        from pathlib import Path
        from matloop.drivers.command import Command, split
        from matloop.drivers.parsing import Output
        from matloop.orchestrator.errors import ConfigError
        from matloop.orchestrator.trial import Trial
        if __name__ == "matloop.probe":
            data = Path("data.txt")
            data.write_text("42", encoding="utf-8")
            trial = Trial(id=0, study="s", number=0, point={{"x": 2}}, seed=0)
            code = "print('y =', {{{{x}}}} * float(open('data.txt').read()))"
            numbers = {{"y": Output(file="stdout.txt", regex="y = (.*)")}}
            print(Command(run=[{sys.executable!r}, "-c", code], output=numbers, files=[data])(trial).values)
            try:
                asleep = [{sys.executable!r}, "-c", "import time; time.sleep(99)"]
                Command(run=asleep, output=numbers, timeout_s=1)(trial)
            except TimeoutError as error:
                print("took longer" in str(error))
            print(split(r'"C:\\Program Files\\sim.exe" -in C:\\lab\\a.txt'))
            try:
                Command(run="a | b", output=numbers, shell=True)
            except ConfigError as error:
                print(error)
        """,
    )
    assert said.splitlines() == [
        "{'y': 84.0}",
        "True",
        r"['C:\\Program Files\\sim.exe', '-in', 'C:\\lab\\a.txt']",
        "shell: there is no /bin/sh here; name the program and its arguments, or a script, in `run`",
    ]


def test_what_needs_linux_says_so(folder: Path) -> None:
    write_campaign(folder, {"kind": "mpi"})
    assert "MPI needs Linux; choose `executor: {kind: local}`" in matloop(folder, "run", "campaign.yaml", code=2)
    options = ["--scheduler", "slurm", "--nodes", "1", "--time", "1h", "--gpus-per-node", "1"]
    assert "job scripts need Linux; run" in matloop(folder, "submit", "campaign.yaml", *options, code=2)


def test_a_lab_from_python(folder: Path) -> None:
    said = python(
        folder,
        """
        from matloop import Lab, Result
        space = {"T": {"type": "float", "low": 300, "high": 900, "unit": "K"}}
        with Lab.create("lab", space=space, objectives={"hardness": "maximise"}, name="Ofen: \u00fc") as lab:
            for value in (1.0, 2.0):
                (trial,) = lab.recommend(1, by="Ada")
                lab.tell([Result(trial=trial.id, values={"hardness": value})])
            with Lab.open("lab") as other:
                print(len(other.trials()), lab.trials() == other.trials())
        """,
    )
    assert said == "2 True\n"
