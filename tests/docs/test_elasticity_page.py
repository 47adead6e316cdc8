"""The page on elasticity names every option and value there is, and what it shows runs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from matloop.drivers.elasticity.driver import MEASURED, Elasticity
from matloop.drivers.robust import Robust
from matloop.drivers.several import Several
from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from tests.docs.tables import first_cells

PAGE = (Path(__file__).parents[2] / "docs" / "elasticity.md").read_text(encoding="utf-8")


def test_the_tables_are_complete() -> None:
    options = {*inspect.signature(Elasticity).parameters} - {"objectives"}  # which the study states
    assert sorted(first_cells(PAGE, "Options")) == sorted(options)
    assert {name for name in MEASURED if not re.fullmatch(r"c\d\d", name)} < set(first_cells(PAGE, "What is measured"))
    assert set(first_cells(PAGE, "What is measured")) <= set(MEASURED)
    options = {*inspect.signature(Robust).parameters} - {"objectives", "driver"}
    assert sorted(first_cells(PAGE, "Fabrication errors")) == sorted(options)


def campaigns() -> list[str]:
    return re.findall(r"^```yaml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", campaigns())
def test_the_campaigns_are_valid(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    (study,), _ = validate(load(tmp_path / "c.yaml"))
    if isinstance(study.driver, Several):
        assert f"here {study.driver.call_cost:g}" in PAGE.replace("\n", " ")
        assert [o.name for o in study.objectives if o.sought] == ["absorption", "bulk_modulus"]


def test_the_solver_is_called_as_shown() -> None:
    (text,) = re.findall(r"^```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(text.replace("(16, 16, 16)", "(4, 5, 6)"), names)
    assert names["strain"].shape == (6, 6, 4, 5, 6)  # type: ignore[attr-defined]
