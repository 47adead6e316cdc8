"""What is optional is never imported unasked; where it is missing, the error names the extra that brings it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from matloop.orchestrator.errors import EXTRAS, MissingExtra
from tests.orchestrator.lab.files import furnace

ROOT = Path(__file__).parents[2]
PARTS = ("orchestrator", "search_spaces", "surrogates", "drivers", "hpc", "campaigns", "testing")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ASKED_FOR = {"deap", "botorch", "torch", "mpi4py", "optuna", "scikit-learn", "pymatgen"}
BROUGHT = {
    "gpytorch": "botorch",
    "h11": "uvicorn",
    "linear-operator": "botorch",
    "markupsafe": "jinja2",
    "pillow": "matplotlib",
    "pydantic-core": "pydantic",
    "starlette": "fastapi",
}
"""Packages that are imported although another one, named in pyproject.toml, brings them."""


def normal(requirement: str) -> str:
    """Name of the distribution that is required."""
    end = next((i for i, c in enumerate(requirement) if c in "<>=!~;[ "), len(requirement))
    return requirement[:end].lower().replace("_", "-").replace(".", "-")


PLAIN = {normal(requirement) for requirement in PROJECT["dependencies"]}
OPTIONAL = {name: {normal(r) for r in found} for name, found in PROJECT["optional-dependencies"].items()}


INSTALLED = packages_distributions()


def distribution(package: str) -> str:
    """What has to be named in pyproject.toml for a package to be there."""
    names = {name.lower().replace("_", "-") for name in INSTALLED.get(package, [package])}
    return next((name for name in names if name in PLAIN), BROUGHT.get(min(names), min(names)))


def imported() -> Iterator[tuple[str, Path]]:
    """Packages of others that matloop imports, anywhere in its files, unless for type checkers."""
    for part in PARTS:
        for path in (ROOT / part).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                    names = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                else:
                    continue
                for name in {name.partition(".")[0] for name in names}:
                    if name not in sys.stdlib_module_names and name != "matloop":
                        yield name, path


def test_the_packages_that_were_asked_for_are_plain_dependencies() -> None:
    assert ASKED_FOR <= PLAIN


def test_every_import_is_a_dependency_or_an_extra_with_an_error_of_its_own() -> None:
    found = dict(imported())
    assert len(found) > 25
    optional = {name for name in found if distribution(name) not in PLAIN}
    assert optional == set(EXTRAS)
    for name in optional:
        assert distribution(name) in OPTIONAL[EXTRAS[name]], name
        assert f"pip install 'matloop[{EXTRAS[name]}]'" in str(MissingExtra(name))


def test_the_readme_lists_the_extras() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| .* \| [\d.]+ \|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(rows) == sorted(OPTIONAL.keys() - {"dev"})


SERVE = "from matloop.orchestrator.cli.commands import serve"
READ = "from matloop.drivers.training.sources.registry import source; "
USES = {
    "distributed": "from matloop.hpc.dask import Dask; Dask(address='tcp://127.0.0.1:1')",
    "fastapi": SERVE,
    "gdstk": "from matloop.orchestrator.export.gds import write; write(Path('x.gds'), [[1]], (400.0, 400.0))",
    "h11": SERVE,
    "h5py": f"{READ}source({{'kind': 'hdf5', 'path': 'x.h5'}}).read()",
    "hypothesis": "from matloop.testing import LedgerContract",
    "onnx": "from matloop.search_spaces.networks.onnx import to_onnx",
    "openpyxl": "with Lab.open('furnace.yaml') as lab: lab.write_xlsx([])",
    "pandas": "with Lab.open('furnace.yaml') as lab: lab.frame()",
    "pytest": "from matloop.testing import StrategyContract",
    "pyarrow": f"{READ}source({{'kind': 'table', 'path': 'x.parquet', 'target': 'y'}}).read()",
    "python_multipart": SERVE,
    "starlette": SERVE,
    "tifffile": "from matloop.drivers.training.sources.volumes import read as one; one(Path('x.tif'))",
    "uvicorn": SERVE,
    "zarr": f"{READ}source({{'kind': 'zarr', 'path': 'x.zarr'}}).read()",
}
"""By package, what needs it."""
BLOCKED = """\
import sys
from pathlib import Path
from matloop import Lab


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == PACKAGE:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
assert PACKAGE not in sys.modules
try:
    USE
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("package", sorted(EXTRAS))
def test_a_missing_package_names_its_extra(package: str, tmp_path: Path) -> None:
    assert set(USES) == set(EXTRAS)
    furnace(tmp_path)
    code = BLOCKED.replace("PACKAGE", repr(package)).replace("USE", USES[package])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"MissingExtra {MissingExtra(package)}\n"


def test_a_command_says_it_in_one_line(tmp_path: Path) -> None:
    furnace(tmp_path)
    code = (
        "import sys; sys.modules['fastapi'] = None; sys.argv = ['matloop', 'serve', 'furnace.yaml', '--port', '0']\n"
        "from matloop.orchestrator.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {MissingExtra('fastapi')}\n")
    assert not (tmp_path / "runs").exists()


LAB_DAY = """\
import sys
from matloop import Lab, Result

with Lab.create("hardness", space={"t": {"type": "float", "low": 0, "high": 1}}, objectives={"y": "maximise"}) as lab:
    for _ in range(12):
        (trial,) = lab.recommend(1)
        lab.tell([Result(trial=trial.id, values={"y": (trial.point["t"] - 0.3) ** 2})])
    assert trial.prediction is not None, "the model was not asked"
    lab.outlook()
print(*sys.modules)
"""
NOT_IN_A_LAB = {"deap", "optuna", "mpi4py", "pymatgen", *EXTRAS} - {"pandas", "pyarrow"}  # one brings the other


def test_a_day_in_a_lab_needs_little(tmp_path: Path) -> None:
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", LAB_DAY], cwd=tmp_path, capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr
    modules = {name.partition(".")[0] for name in done.stdout.split()}
    assert "botorch" in modules and not NOT_IN_A_LAB & modules
