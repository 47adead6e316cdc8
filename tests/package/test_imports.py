"""Imports point one way, and the command line starts without the heavy packages."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "search_spaces", "surrogates", "drivers", "bundles", "hpc")
HEAVY = {"torch", "botorch", "gpytorch", "sklearn", "optuna", "deap", "pymatgen", "scipy", "matplotlib", "pandas"}
HEAVY |= {"fastapi", "uvicorn"}
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

BELOW: dict[str, set[str]] = {
    "base": set(),
    "ledger": {"base"},
    "hpc": {"base"},
    "search_spaces": {"base"},
    "surrogates": {"base", "search_spaces"},
    "drivers": {"base", "search_spaces", "surrogates"},
    "bundles": {"base", "search_spaces", "surrogates", "drivers"},
    "loop": {"base", "ledger"},
    "strategies": {"base", "ledger", "search_spaces", "surrogates"},
    "composition": {"base", "ledger", "loop", "hpc"},
    "report": {"base", "ledger"},
    "lab": {"base", "ledger", "loop", "composition", "report"},
    "export": {"base", "ledger", "composition", "report", "search_spaces", "drivers", "bundles"},
    "web": {"base", "ledger", "lab", "report"},
    "cli": {"base", "ledger", "loop", "hpc", "composition", "report", "lab", "export", "web", "bundles"},
}
"""Rooms, and those that each may import besides itself. Base is what stands at the root of `orchestrator`."""

DEFERRED = {
    ("drivers", "ledger"): "results of another campaign are training data",
    ("loop", "hpc"): "a slow strategy is kept in a process of its own",
    ("search_spaces", "surrogates"): "a latent space loads its generator",
    ("report", "composition"): "the comparison of active learning builds surrogates again",
    ("report", "surrogates"): "structures are compared by their statistics",
}
"""Allowed inside functions only."""


def room(module: str) -> str:
    """Room of a module, by its dotted name below `matloop`."""
    first, _, rest = module.partition(".")
    if first != "orchestrator":
        return first
    part = rest.partition(".")[0]
    return part if part in BELOW else "base"


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
            names = [
                f"{module}.{alias.name}" if module in ("matloop", "matloop.orchestrator") else module
                for alias in node.names
            ]
            yield from ((name, node.lineno, at_import) for name in dict.fromkeys(names))
        inner = at_import and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inner)

    yield from walk(tree, True)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    own = room(name_of(path))
    wrong = []
    for module, line, at_import in imports(ast.parse(path.read_text(encoding="utf-8"))):
        if not module.startswith("matloop."):
            continue
        target = room(module.removeprefix("matloop."))
        allowed = target == own or target in BELOW[own] or ((own, target) in DEFERRED and not at_import)
        if not allowed:
            wrong.append(f"{path.relative_to(ROOT)}:{line} ({own}) imports {module} ({target})")
    assert not wrong, "\n".join(wrong)


def test_the_rooms_stand_on_floors() -> None:
    """What a room may import stands below it, so there is no circle between rooms."""
    floor: dict[str, int] = {}
    while len(floor) < len(BELOW):
        ready = [name for name, below in BELOW.items() if name not in floor and below <= set(floor)]
        assert ready, f"a circle among {sorted(set(BELOW) - set(floor))}"
        floor |= {name: 1 + max((floor[b] for b in BELOW[name]), default=0) for name in ready}


def test_every_import_between_modules_of_a_room_ends() -> None:
    """No module imports itself by way of others, whatever the room."""
    graph = {}
    for path in FILES:
        found = imports(ast.parse(path.read_text(encoding="utf-8")))
        graph[name_of(path)] = {m.removeprefix("matloop.") for m, _, at_import in found if at_import}
    order = TopologicalSorter({name: {m for m in named if m in graph} - {name} for name, named in graph.items()})
    order.prepare()


def test_every_room_says_what_it_is() -> None:
    for path in FILES:
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path.relative_to(ROOT)


def test_only_the_table_of_kinds_names_concrete_parts() -> None:
    """The composition reaches spaces, strategies, surrogates and drivers by the names in its table alone."""
    for path in FILES:
        if room(name_of(path)) == "composition":
            named = {m for m, _, _ in imports(ast.parse(path.read_text(encoding="utf-8"))) if m.startswith("matloop.")}
            rooms = {room(m.removeprefix("matloop.")) for m in named}
            assert not rooms & {"search_spaces", "surrogates", "drivers", "bundles", "strategies"}, path


@pytest.mark.parametrize(
    "module",
    [
        "matloop.orchestrator.cli.main",
        "matloop.orchestrator.composition.build",
        "matloop.orchestrator.cli.commands.run",
        "matloop.hpc.local",
    ],
)
def test_nothing_heavy_is_imported_at_the_start(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert not HEAVY & set(loaded.split())
    if module == "matloop.orchestrator.cli.main":
        assert not {"numpy", "pydantic", "yaml"} & set(loaded.split())


def test_the_walk_sees_what_it_should() -> None:
    source = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\nelse:\n    import b\n"
        "from matloop.orchestrator import ledger\ndef f():\n    import c.d\n"
    )
    assert list(imports(ast.parse(source))) == [
        ("typing", 1, True),
        ("b", 5, True),
        ("matloop.orchestrator.ledger", 6, True),
        ("c.d", 8, False),
    ]
