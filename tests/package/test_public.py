"""The public face: `import matloop` costs next to nothing, and every name leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest

import matloop
import matloop.testing

ROOT = Path(__file__).parents[2]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_imports_nothing_else() -> None:
    code = "import sys, typing; before = set(sys.modules); import matloop; print(*sorted(set(sys.modules) - before))"
    assert python(code).split() == ["matloop"]
    assert python(code.replace("matloop", "matloop.testing")).split() == ["matloop", "matloop.testing"]


def test_importing_it_takes_less_than_50_ms() -> None:
    """Processor time of the import alone, the least of five: others on the machine do not count."""
    code = "import time; start = time.process_time(); import matloop; print(time.process_time() - start)"
    assert min(float(python(code)) for _ in range(5)) < 0.05


@pytest.mark.parametrize("module", [matloop, matloop.testing], ids=lambda module: module.__name__)
def test_every_name_leads_somewhere(module) -> None:
    assert list(module.__all__) == sorted(set(module.__all__)) == dir(module)
    code = f"import {module.__name__} as m; print(*(type(getattr(m, name)).__name__ for name in m.__all__))"
    kinds = dict(zip(module.__all__, python(code).split(), strict=True))
    assert kinds.pop("open_campaign", "function") == kinds.pop("load_bundle", "function") == "function"
    assert kinds.pop("__version__", "str") == "str"
    assert set(kinds.values()) <= {"type", "_ProtocolMeta"}
    for name in kinds:
        assert getattr(module, name).__name__ == name
        assert getattr(module, name) is getattr(module, name)


@pytest.mark.parametrize("module", [matloop, matloop.testing], ids=lambda module: module.__name__)
def test_the_docstring_names_what_there_is(module) -> None:
    words = set(re.findall(r"\w+", module.__doc__))
    assert set(module.__all__) - {"__version__"} <= words


def test_names_are_those_of_the_rooms() -> None:
    from matloop import Lab, Trial, open_campaign
    from matloop.orchestrator.composition import opening
    from matloop.orchestrator.lab.lab import Lab as Original
    from matloop.orchestrator.trial import Trial as Other

    assert Lab is Original and Trial is Other and open_campaign is opening.open_campaign


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        (matloop, "lab", r"no attribute 'lab'; did you mean 'Lab'\?; dir\(matloop\) lists what there is"),
        (matloop, "zzz", r"no attribute 'zzz'; dir\(matloop\) lists what there is"),
        (matloop.testing, "zzz", r"no attribute 'zzz'; it has .*SpaceContract"),
    ],
)
def test_an_unknown_name_is_explained(module: ModuleType, name: str, message: str) -> None:
    with pytest.raises(AttributeError, match=message):
        getattr(module, name)
    with pytest.raises(ImportError, match="Trail"):
        from matloop import Trail  # noqa: F401


def test_the_version_is_the_distributions() -> None:
    assert matloop.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_it_says_that_it_is_typed() -> None:
    assert (files("matloop") / "py.typed").is_file()


@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_the_suites_say_what_they_need(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\nimport matloop.testing\n"
        "try:\n    from matloop.testing import SpaceContract\nexcept Exception as error:\n"
        "    print(type(error).__name__, error)"
    )
    expected = (
        f"MissingExtra needs the package {missing!r}, which is not installed; run: pip install 'matloop[testing]'"
    )
    assert python(code).strip() == expected


def test_the_suites_explain_their_failures_as_test_files_do(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\nfrom matloop.testing import DriverContract\n"
        "class Driver:\n    repeatable, objectives = 'yes', ()\n"
        "class TestIt(DriverContract):\n    @pytest.fixture\n    def driver(self):\n        return Driver()\n"
    )
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-k", "repeatable", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "where False = isinstance('yes', bool)" in done.stdout, done.stdout


def test_the_suites_need_nothing_of_the_tests() -> None:
    for path in (ROOT / "testing").glob("*.py"):
        assert not re.search(r"^\s*(from|import) tests\b", path.read_text(encoding="utf-8"), re.MULTILINE), path
