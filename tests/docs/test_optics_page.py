"""The page on optics names every option, value and material there is, and what it shows runs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from matloop.drivers.optics.driver import MEASURED, Optics
from matloop.drivers.optics.materials import MATERIALS
from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from tests.docs.tables import first_cells

PAGE = (Path(__file__).parents[2] / "docs" / "optics.md").read_text(encoding="utf-8")


def test_the_tables_are_complete() -> None:
    options = set(inspect.signature(Optics).parameters) - {"objectives"}  # which the study states
    assert sorted(first_cells(PAGE, "Options")) == sorted(options)
    assert first_cells(PAGE, "What is measured") == [*MEASURED]
    assert first_cells(PAGE, "Materials") == [*MATERIALS]


@pytest.mark.parametrize("name", [name for name in MATERIALS if name != "air"])
def test_materials_have_their_range_and_source(name: str) -> None:
    (row,) = [row for row in PAGE.splitlines() if row.startswith(f"| `{name}` |")]
    material = MATERIALS[name]
    assert f"| {material.low_nm:g}–{material.high_nm:g} |" in row
    assert material.source.split(" (")[0] in row


def test_the_campaign_is_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "c.yaml").write_text(text)
    studies, _ = validate(load(tmp_path / "c.yaml"))
    assert [study.objectives[0].name for study in studies] == ["absorption_in_film"] * 2
    assert studies[0].driver.wavelengths_nm[::5] == (450.0, 700.0)  # type: ignore[attr-defined]


def test_the_solver_is_called_as_shown() -> None:
    (text,) = re.findall(r"^```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(text.replace("(8, 32, 32", "(2, 32, 32"), names)
    light = names["light"]
    assert light.absorbed.shape == (2, 2, 2) and light.transmitted.shape == (2, 2, 2, 49)  # type: ignore[attr-defined]
    assert names["densities"].grad.abs().max() > 0  # type: ignore[attr-defined]
