"""The page of promises names tests that exist, at least one for each promise."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(test[\w/]+\.py)::(\w+)`", PAGE)


def names_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test")}


def test_every_test_that_is_named_exists():
    missing = [f"{file}::{name}" for file, name in NAMED if not (ROOT / file).is_file() or name not in names_in(file)]
    assert len(NAMED) >= 30 and missing == []


def test_every_promise_names_a_test():
    rows = [row for row in PAGE.splitlines() if row.startswith("| ") and not row.startswith("| promise")]
    assert len(rows) >= 20
    assert [row for row in rows if "::test_" not in row] == []


def test_it_says_what_is_not_promised():
    assert PAGE.split("## What is not promised")[1].count("\n- **") >= 5
