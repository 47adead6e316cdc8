"""A wheel holds what belongs in it, and works outside of the checkout beside folders that are called as ours are."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from matloop.orchestrator.ledger.ledger import read

ROOT = Path(__file__).parents[2]
PARTS = ("orchestrator", "search_spaces", "surrogates", "drivers", "bundles", "hpc", "campaigns", "testing")
LEFT_OUT = (".*", "build", "dist", "runs", "__pycache__", "*.egg-info", "*.tmp")

CAMPAIGN = """\
name: Their Own
executor: {kind: local, slots: 2}
studies:
  function:
    space: {kind: "drivers.mine:Square"}
    driver: {kind: python, path: "drivers.mine:measure"}
    strategy: {kind: "orchestrator.mine:Corner"}
    objectives: {y: minimise}
    budget: {trials: 4}
  driver:
    space: {from: function}
    driver: {kind: "drivers.mine:Driver"}
    strategy: random
    budget: {trials: 3}
"""
MINE = """\
import hpc.mine
from matloop import Measurement, Objective
from matloop.drivers.function import Function  # ours and theirs in one file


def measure(point):
    return hpc.mine.FACTOR * point["x"] ** 2


class Square:
    def sample(self, rng):
        return {"x": float(rng.uniform())}

    def check(self, point):
        assert set(point) == {"x"}


class Driver:
    repeatable = True
    objectives = (Objective("z", "maximise"),)

    def __call__(self, trial):
        return Measurement(values={"z": trial.point["x"]})
"""
STRATEGY = """\
from matloop import Proposal


class Corner:
    def __init__(self, *, space):
        self.told = 0

    def ask(self, n, pending, rng):
        return [Proposal(point={"x": 0.25}, reason="the corner") for _ in range(n)]

    def tell(self, trial):
        self.told += 1
"""
SCRIPT = """\
import sys
import hpc, orchestrator, testing
import hpc.mine
from drivers.mine import measure
from matloop import Lab, Result
import matloop

assert hpc.__file__.startswith(sys.argv[1]) and orchestrator.__file__.startswith(sys.argv[1])
assert testing.THEIRS and measure({"x": 1.0}) == 3.0
with Lab.open("lab.yaml") as lab:
    trial, = lab.recommend(1)
    lab.tell([Result(trial=trial.id, values={"hardness": 412.0})])
print(matloop.__version__, matloop.__file__, trial.id)
"""


def python(*arguments: str, at: Path = Path(sys.executable), cwd: Path, **variables: str) -> str:
    """What Python prints; without the settings by which this checkout may be found."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(at), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**kept, "OMP_NUM_THREADS": "1", **variables},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the checkout stays as it is."""
    pytest.importorskip("setuptools", "77", reason="builds a wheel; pip install 'setuptools>=77'")
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*LEFT_OUT))
    code = "import setuptools.build_meta as backend; backend.build_wheel('..')"
    python("-c", code, cwd=folder / "source")
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def home(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has the wheel installed, and all other packages from the environment of these tests."""
    folder = tmp_path_factory.mktemp("home") / "venv"
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    bin_ = folder / ("Scripts" if os.name == "nt" else "bin")
    pip = ("-m", "pip", "--python", str(bin_ / "python"), "install", "--no-index", "--no-deps", "--quiet")
    python(*pip, str(wheel), cwd=folder)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(python("-c", code, at=bin_ / "python", cwd=folder).strip())
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    return bin_


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A user's folder, with folders called as ours are."""
    for part in PARTS:
        (tmp_path / part).mkdir()
        (tmp_path / part / "__init__.py").write_text("THEIRS = True\n")
    (tmp_path / "drivers" / "__init__.py").unlink()  # as many leave it out
    (tmp_path / "drivers" / "mine.py").write_text(MINE)
    (tmp_path / "hpc" / "mine.py").write_text("FACTOR = 3.0\n")
    (tmp_path / "orchestrator" / "mine.py").write_text(STRATEGY)
    (tmp_path / "own.yaml").write_text(CAMPAIGN)
    return tmp_path


def test_what_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        (info,) = {name.partition("/")[0] for name in names} - {"matloop"}
        top = archive.read(f"{info}/top_level.txt").decode().split()
    assert re.fullmatch(r"matloop-\d[^/]*\.dist-info", info) and top == ["matloop"]
    ours = {name.removeprefix("matloop/") for name in names if name.startswith("matloop/")}
    source = wheel.parent / "source"
    expected = {
        path.relative_to(source).as_posix() for part in PARTS for path in (source / part).rglob("*") if path.is_file()
    }
    assert ours == expected | {"__init__.py", "__main__.py", "py.typed"}
    for kind in (".safetensors", ".html", ".css", ".js", ".svg", ".yaml", ".sh"):
        assert any(name.endswith(kind) for name in ours), kind


def test_a_campaign_beside_folders_of_the_same_names(home: Path, theirs: Path) -> None:
    def matloop(*arguments: str) -> str:
        return python(str(home / "matloop"), *arguments, at=home / "python", cwd=theirs)

    assert "own.yaml is valid" in matloop("validate", "own.yaml")
    assert "report: runs/their-own/report.html" in matloop("run", "own.yaml")
    history = read(theirs / "runs/their-own/ledger.db")
    assert [trial.values for trial in history.of("function")] == [{"y": 3 * 0.25**2}] * 4
    assert len(history.of("driver")) == 3 and all(trial.values for trial in history.trials)
    assert "their-own/report.html" in matloop("report", "own.yaml")
    assert "wrote job/campaign.yaml" in matloop("init", "job/campaign.yaml")
    assert "campaign.yaml is valid" in matloop("validate", "job/campaign.yaml")
    assert "quickstart is valid" in matloop("validate", "quickstart")  # also the generator and the optics are there
    assert "their own" in python("-m", "matloop", "status", "own.yaml", at=home / "python", cwd=theirs).lower()


def test_a_lab_beside_folders_of_the_same_names(home: Path, theirs: Path) -> None:
    python(str(home / "matloop"), "init", "lab.yaml", "--template", "lab", at=home / "python", cwd=theirs)
    script = theirs / "notebook.py"
    script.write_text(SCRIPT)
    notebook = "import hpc, drivers.mine, matloop.hpc.jobs, matloop.drivers.table; print(hpc.THEIRS)"
    assert python("-c", notebook, at=home / "python", cwd=theirs) == "True\n"  # a notebook's path begins as that of -c
    version, file, trial = python("notebook.py", str(theirs), at=home / "python", cwd=theirs).split()
    assert Path(file).is_relative_to(home.parent) and trial == "0"
    assert version == python(str(home / "matloop"), "--version", at=home / "python", cwd=theirs).split()[1]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    server = subprocess.Popen(
        [home / "python", home / "matloop", "serve", "lab.yaml", "--port", "0"],
        cwd=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**kept, "PYTHONUNBUFFERED": "1", "no_proxy": "*"},
    )
    try:
        said = ""
        assert server.stdout is not None
        while "Ctrl-C" not in said:
            line = server.stdout.readline()
            assert line, said
            said += line
        (url,) = re.findall(r"http://\S+:\d+", said)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/history", timeout=60) as answer:
            assert "412" in answer.read().decode()
        with opener.open(f"{url}/static/style.css", timeout=60) as answer:
            assert answer.status == 200
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.communicate()
