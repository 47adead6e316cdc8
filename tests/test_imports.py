"""Imports point one way, and the command line starts without the heavy packages."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("orchestrator", "search_spaces", "surrogates", "drivers", "hpc")
HEAVY = {"torch", "botorch", "gpytorch", "sklearn", "optuna", "deap", "pymatgen", "scipy", "matplotlib", "pandas"}
HEAVY |= {"fastapi", "uvicorn"}
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

BOTTOM = {"trial", "pending", "protocols", "errors", "randomness", "plain"}
"""Modules of `orchestrator` that anything may import."""
RECORDS = {"artifacts", "evaluation", "history", "ledger", "ledger_file", "lock", "budget", "study", "trials"}
RECORDS |= {"shared_ledger"}
LOOP = RECORDS | {"asker", "proposer", "campaign", "inbox", "interrupts", "loop", "walltime"}
ROOTS = {"config", "source", "binding", "build", "outcomes", "executors", "environment", "export", "progress", "cli"}
ROOTS |= {"commands", "networks", "templates", "web"}
ROOTS |= {"cli_lab", "lab", "terminal"}

ALLOWED: dict[str, set[str]] = {
    "bottom": {"bottom"},
    "loop": {"bottom", "loop"},
    "hpc": {"bottom", "hpc"},
    "search_spaces": {"bottom", "search_spaces"},
    "surrogates": {"bottom", "surrogates", "search_spaces"},
    "drivers": {"bottom", "drivers", "search_spaces", "surrogates"},
    "strategies": {"bottom", "strategies", "surrogates", "search_spaces"},
    "report": {"bottom", "report", "loop"},
}
"""Layers, and those that each may import; the composition root may import all of them."""

DEFERRED = {("loop", "hpc"), ("report", "root"), ("search_spaces", "surrogates"), ("report", "search_spaces")}
"""Allowed inside functions only: the loop keeps a slow strategy in a process of its own, the report builds surrogates
again, a latent space loads its generator."""


def layer(module: str) -> str:
    """Layer of a module, by its dotted name."""
    first, _, rest = module.partition(".")
    if first != "orchestrator":
        return first
    part = rest.partition(".")[0]
    if part in ("strategies", "report"):
        return part
    return "bottom" if part in BOTTOM or not part else "root" if part in ROOTS else "loop"


def imports(tree: ast.Module) -> Iterator[tuple[str, int, bool]]:
    """Modules imported, with the line and whether it happens at import time; imports for type checkers are left out."""

    def walk(node: ast.AST, at_import: bool) -> Iterator[tuple[str, int, bool]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.orelse:
                yield from walk(child, at_import)
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [f"{module}.{alias.name}" if module == "orchestrator" else module for alias in node.names]
            yield from ((name, node.lineno, at_import) for name in dict.fromkeys(names))
        inner = at_import and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inner)

    yield from walk(tree, True)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    own = layer(name_of(path))
    wrong = []
    for module, line, at_import in imports(ast.parse(path.read_text(encoding="utf-8"))):
        if module.partition(".")[0] not in PACKAGES or own == "root":
            continue
        target = layer(module)
        if target not in ALLOWED[own] and (at_import or (own, target) not in DEFERRED):
            wrong.append(f"{path.relative_to(ROOT)}:{line} ({own}) imports {module} ({target})")
    assert not wrong, "\n".join(wrong)


def test_every_module_of_the_orchestrator_has_a_layer() -> None:
    known = BOTTOM | LOOP | ROOTS | {"strategies", "report", "__init__"}
    found = {path.stem for path in (ROOT / "orchestrator").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert found - known - {"__pycache__", "py"} == set()


def test_only_the_table_of_kinds_names_concrete_parts() -> None:
    """Outside of it, the composition root reaches spaces, strategies, surrogates and drivers by name alone."""
    for path in FILES:
        if layer(name_of(path)) != "root":
            continue
        named = {m for m, _, _ in imports(ast.parse(path.read_text(encoding="utf-8")))}
        concrete = {m for m in named if layer(m) in ("search_spaces", "surrogates", "drivers", "strategies")}
        assert concrete <= {"search_spaces.networks.source", "search_spaces.networks.onnx"}, f"{path}: {concrete}"


@pytest.mark.parametrize("module", ["orchestrator.cli", "orchestrator.build", "orchestrator.commands.run", "hpc.local"])
def test_nothing_heavy_is_imported_at_the_start(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert not HEAVY & set(loaded.split())
    if module == "orchestrator.cli":
        assert not {"numpy", "pydantic", "yaml"} & set(loaded.split())


def test_the_walk_sees_what_it_should() -> None:
    source = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\nelse:\n    import b\n"
        "from orchestrator import ledger\ndef f():\n    import c.d\n"
    )
    assert list(imports(ast.parse(source))) == [
        ("typing", 1, True),
        ("b", 5, True),
        ("orchestrator.ledger", 6, True),
        ("c.d", 8, False),
    ]
