"""Text of tables cannot be taken for a formula, and is the same again when it is read."""

from __future__ import annotations

import ast
import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import matloop
from matloop.orchestrator.export import trials as export
from matloop.orchestrator.lab.fields import Field
from matloop.orchestrator.lab.filled import read as read_filled
from matloop.orchestrator.lab.tables import Layout, write
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.spreadsheets import read, written
from matloop.orchestrator.trial import Answer, Objective, Proposal, Trial
from matloop.search_spaces.table import read_table

DANGEROUS = tuple("=+-@\t\r\n＝＋－＠")
LETTERS = st.sampled_from("=+-@＝＋－＠'\"; \t\r\n,aé1.5")
TEXTS = st.text(LETTERS, max_size=12) | st.text(max_size=12)


def cells(text: str) -> list[str]:
    """What the programs that we know of make of a text: one cell, or what stands between semicolons, tabs, lines."""
    found = [text]
    for separator in ";\t\r\n":
        found += [cell for part in found for cell in part.split(separator)]
    return found


def number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@settings(max_examples=1000)
@given(TEXTS)
@example("'=1")
@example('a;""=1')
@example("\r\n=1")
@example("-5;=1")
def test_text_is_no_formula_and_the_same_when_read(text: str) -> None:
    safe = written(text)
    assert read(safe) == text
    for cell in cells(safe):
        assert not cell.lstrip('"').startswith(DANGEROUS) or number(cell), (safe, cell)


@pytest.mark.parametrize("value", [-5, -5.5, "-5", "+5.5e-3", "-.5", "5", "a", "it's", "'quoted'", None, True])
def test_what_is_no_formula_is_left_alone(value: object) -> None:
    assert written(value) == value and written(value) is value


@pytest.mark.parametrize("text", ["=1", "+49 89 123", "-", "-OH", "@home", "\t=1", "-1+1", "-5 °C", "=", "＝A1"])
def test_what_looks_like_one_is_marked(text: str) -> None:
    assert written(text).startswith("'") and written(text).endswith(text[1:])


PLAIN = st.text(LETTERS, min_size=1, max_size=8).filter(lambda text: text == " ".join(text.split()))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, TEXTS, PLAIN, st.floats(allow_nan=False, allow_infinity=False))
def test_a_table_of_trials_is_the_same_when_read(tmp_path: Path, note: str, category: str, name: str, x: float) -> None:
    objectives = {"y": {"direction": "maximise"}}
    config = {"name": "demo", "studies": {"s": {"objectives": objectives}}}
    note, category = (text.encode("utf-8", "backslashreplace").decode() for text in (note, category))
    (tmp_path / "ledger.db").unlink(missing_ok=True)
    with Ledger.open(tmp_path / "ledger.db", config=config, environment={}) as ledger:
        trial = ledger.propose("s", Proposal(point={name: category, "x": -x}, reason=note), seed=1, ask=0)
        answer = Answer(values={"y": -x}, started_at=0.0, finished_at=1.0, info={"note": note, name: -x}, worker=note)
        ledger.answer(trial, answer)
        export.trials_csv(ledger.history, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        titles, row = csv.reader(file)
    assert not any(cell.lstrip('"').startswith(DANGEROUS) and not number(cell) for cell in (*titles, *row))
    found = dict(zip(map(read, titles), row, strict=True))
    texts = {key: read(found[key]) for key in ("reason", "worker", "info.note", f"point.{name}") if key != "point.x"}
    expected = {"reason": note, "worker": note, "info.note": note, f"point.{name}": category}
    assert texts == {key: value for key, value in expected.items() if key in texts}
    if name not in ("x", "note"):
        assert float(found["point.x"]) == -x == float(found["value.y"]) == float(found[f"info.{name}"])


@settings(deadline=None, max_examples=200)
@given(st.lists(PLAIN.filter(lambda t: "," not in t), min_size=2, max_size=4, unique_by=str.casefold), PLAIN)
def test_a_table_of_recommendations_is_the_same_when_read(choices: list[str], name: str) -> None:
    layout_names = {"trial", "y", "failed", "note", "cost", "reason"}
    if name in layout_names or name.startswith(("y ", "#")) or "(" in name:
        return
    layout = Layout([Field(name=name, kind="choice", choices=tuple(choices))], [Objective("y")])
    trials = [Trial(id=i, study="s", number=i, point={name: choice}, seed=0) for i, choice in enumerate(choices)]
    content = write(trials, layout).decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(content, newline="")))
    assert not any(cell.lstrip('"').startswith(DANGEROUS) and not number(cell) for row in rows for cell in row)
    place = rows[0].index("y")
    out = io.StringIO()
    csv.writer(out).writerows([rows[0], *([*row[:place], "-5", *row[place + 1 :]] for row in rows[1:])])
    filled = read_filled(out.getvalue().encode(), layout, {trial.id: trial for trial in trials})
    assert not filled.problems, filled.problems
    assert [result.point for result in filled.results] == [trial.point for trial in trials]
    assert [result.values for result in filled.results] == [{"y": -5.0}] * len(trials)


def test_a_table_that_was_exported_is_a_table_of_the_same_candidates(tmp_path: Path) -> None:
    names = ["=1+1", "-OH", "@x", "plain", "'=quoted"]
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[written("=name"), "x"], *([written(name), -1] for name in names)])
    assert read_table(tmp_path / "t.csv") == {"=name": names, "x": [-1] * 5}


def test_every_table_that_is_written_is_written_so() -> None:
    """Whoever writes rows marks the text in them, the titles as well."""
    root = Path(matloop.__file__).resolve().parent
    calls = {
        f"{file.relative_to(root)}: {ast.unparse(node)}"
        for room in ("orchestrator", "bundles", "drivers", "search_spaces", "surrogates", "hpc")
        for file in sorted((root / room).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("writerow")
    }
    assert len(calls) >= 8 and not [call for call in calls if not re.search(r"\bwritten\b", call)]
