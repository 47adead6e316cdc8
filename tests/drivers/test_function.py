"""Function: a user's own function, found by module or by file."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from matloop.drivers.function import Function
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.trial import Objective, Trial
from matloop.testing.driver import DriverContract

SOURCE = """
from dataclasses import dataclass
import helper_of_mine

@dataclass
class Constants:
    k: "float" = 2.0

def double(point):
    point["x"] *= Constants().k * helper_of_mine.ONE
    return point["x"]

def seeded(point, trial):
    return {"y": point["x"], "seed": trial.seed}

def three(point, a, b):
    return 0.0

VALUE = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "measure.py").write_text(SOURCE)
    (tmp_path / "lab" / "helper_of_mine.py").write_text("ONE = 1")
    return tmp_path


TRIAL = Trial(id=0, study="s", number=0, point={"x": 1.5}, seed=7)


class TestContract(DriverContract):
    @pytest.fixture
    def driver(self, folder: Path) -> Function:
        return Function(path="lab/measure.py:seeded", folder=folder)

    @pytest.fixture
    def trial(self) -> Trial:
        return TRIAL

    @pytest.fixture
    def objectives(self) -> tuple[Objective, ...]:
        return (Objective("y"), Objective("seed", "maximise"))


def test_a_file_of_the_campaign(folder: Path) -> None:
    driver = Function(path="lab/measure.py:double", folder=folder)
    assert driver(TRIAL) == 3.0
    assert TRIAL.point == {"x": 1.5}  # the function got a copy
    assert Function(path="lab/measure.py:seeded", folder=folder)(TRIAL) == {"y": 1.5, "seed": 7}


def test_pickled_it_runs_in_a_fresh_process(folder: Path) -> None:
    pickled = pickle.dumps((Function(path="lab/measure.py:double", folder=folder), TRIAL))
    assert len(pickled) < 1500
    code = "import pickle, sys; d, t = pickle.load(sys.stdin.buffer); print(d(t))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], input=pickled, capture_output=True, cwd=root, check=True)
    assert done.stdout.strip() == b"3.0"


def test_an_installed_module_is_not_hidden_by_the_folder(folder: Path) -> None:
    (folder / "json.py").write_text("def loads(point): return 1")
    assert Function(path="math:cos", folder=folder).path == "math:cos"
    with pytest.raises(ConfigError, match="has no function 'measure_me'"):
        Function(path="json:measure_me", folder=folder)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("measure", "expected 'module:function' or 'file.py:function', got 'measure'"),
        ("lab/nothing.py:double", r"no file .*nothing\.py"),
        ("no_such_module_here:f", "cannot import 'no_such_module_here'"),
        ("lab/measure.py:dubble", "has no function 'dubble'; it has double, seeded, three"),
        ("lab/measure.py:VALUE", "to be a function, got a int"),
        ("lab/measure.py:three", "missing a required argument: 'a'"),
    ],
)
def test_errors_at_construction(path: str, text: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=text):
        Function(path=path, folder=folder)


def test_an_error_inside_the_file_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("x = 1\ny = 1 / 0\n")
    with pytest.raises(ConfigError, match=r"ZeroDivisionError: division by zero \(.*broken\.py, line 2\)"):
        Function(path="broken.py:f", folder=tmp_path)


def test_a_script_that_ends_itself_while_it_is_imported_does_not_end_us(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys\nf = float\nsys.exit(0)\n")
    for path in ("script.py:f", "script:f"):
        with pytest.raises(ConfigError, match=r"it calls sys\.exit \(.*script\.py, line 3\); put what it does"):
            Function(path=path, folder=tmp_path)
