"""The page on statistics names every option and value of the driver, its functions exist, and what it shows is true."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matloop.drivers.reconstruction import MEASURED, Reconstruction

PAGE = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")


def first_cells(header: str) -> list[str]:
    """Names in the first column of the table with a header."""
    rows = PAGE.split(f"\n| {header} |", 1)[1].split("\n\n", 1)[0].splitlines()
    return [re.findall(r"`([^`]+)`", row.split("|")[1])[0] for row in rows if row.startswith("| `")]


def test_the_tables_are_complete() -> None:
    assert first_cells("option") == [
        name for name in inspect.signature(Reconstruction).parameters if name != "objectives"
    ]
    assert first_cells("value") == [*MEASURED]


def test_the_functions_are_there() -> None:
    named = re.findall(r"\| `(\w+)\.(\w+)`(?:, `(\w+)`)?", PAGE)
    assert len(named) == 11
    for module, *functions in named:
        room = importlib.import_module(f"matloop.surrogates.microstructure.{module}")
        assert all(callable(getattr(room, name)) for name in functions if name)


def test_what_is_shown_is_true() -> None:
    first, second = re.findall(r"^```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(first, names)
    assert names["made"].labels.shape == (32, 32) and names["made"].labels.sum() == 32 * 12
    assert names["made"].agreement.covariance_error < 0.05
    exec(second, names)
    shown = {line.split("#")[0].strip() for line in second.splitlines() if "#" in line}
    values = {line: eval(line, names) for line in shown}
    np.testing.assert_allclose(values["two_point_correlation(stripes)[0, :4]"], [3 / 8, 2 / 8, 1 / 8, 0], atol=1e-12)
    np.testing.assert_allclose(values["mean_chord(stripes)"], [32, 3])
    assert values["smallest_feature(stripes, pixel=12.5)"] == 37.5
    assert values["smallest_feature(~stripes, pixel=12.5)"] == 62.5
    assert values["thin(stripes, 4).mean()"] == pytest.approx(3 / 8)
