"""The benchmark of reconstruction: which micrographs it finds, equal time, and what it prints."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from matloop.surrogates.microstructure import Settings

FILE = Path(__file__).parents[2] / "benchmarks" / "reconstruction.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reconstruction_benchmark", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_micrographs_are_found_by_name(bench: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "microstructures"
    folder.mkdir()
    labels = np.arange(16).reshape(4, 4) % 3
    for name in ("iron_resized_s", "iron_resized", "pymks_ms_64x64_1"):
        np.save(folder / f"{name}.npy", labels)
    found = bench.materials(tmp_path)
    assert [*found] == ["iron", "synthetic"]
    np.testing.assert_array_equal(found["iron"], labels)
    assert [*bench.materials(folder)] == ["iron", "synthetic"]
    with pytest.raises(SystemExit, match="got none"):
        bench.materials(tmp_path / "empty")


def test_annealing_gets_the_time_of_the_method(bench: ModuleType) -> None:
    material = bench.example()[:24, :24]
    once = bench.measured(material, 0, "annealing", Settings(steps=30, starts=1))
    many = bench.annealed(material, 0, 10 * once["seconds"])
    assert 2 * once["seconds"] < many["seconds"] < 40 * once["seconds"]
    assert many["covariance_error"] < once["covariance_error"]


def test_methods_go_where_they_can(bench: ModuleType, tmp_path: Path) -> None:
    two, three = np.array([[0, 1]]), np.array([[0, 2]])
    assert [m for m in bench.METHODS if bench.applicable(m, two, None)] == ["descriptors", "annealing", "gram"]
    assert [m for m in bench.METHODS if bench.applicable(m, two, tmp_path)] == [*bench.METHODS]
    assert [m for m in bench.METHODS if bench.applicable(m, three, tmp_path)] == ["descriptors", "gram"]


def test_rows_that_are_done_are_not_done_again(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def row(*arguments: object) -> dict[str, float]:
        made.append(arguments[1])
        return {
            "covariance_error": 0.2 * len(made),
            "lineal_path_error": 0.1,
            "seconds": 1.0,
            "likeness": 0,
            "speckle": 1,
        }

    made: list[object] = []
    monkeypatch.setattr(bench, "row", row)
    monkeypatch.setattr(sys, "argv", ["x", "--results", str(tmp_path / "rows.json"), "--seeds", "2", "--quick"])
    for _ in range(2):
        bench.main()
        assert made == ["descriptors", "annealing", "gram"]
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["example_32"]["annealing"]["covariance_error"] == pytest.approx(0.4)
    assert set(printed["example_32"]["gram"]) == {"covariance_error", "lineal_path_error", "seconds", "spread"}
