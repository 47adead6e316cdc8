"""The benchmark of elasticity: its finite elements on cases known exactly, and its keys."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from matloop.drivers.elasticity.phases import Phases

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PHASES = Phases(youngs_moduli=(1.0, 10.0), poissons_ratios=(0.3, 0.2))


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import elasticity  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(BENCHMARKS))
    return elasticity


@pytest.mark.parametrize("selective", [False, True])
@pytest.mark.parametrize("shape", [(1, 6), (1, 1, 6)])
def test_elements_give_laminates(bench: ModuleType, shape: tuple[int, ...], selective: bool) -> None:
    layers = np.array([0, 1, 1, 0, 0, 0], dtype=np.uint8).reshape(shape)
    d = len(shape)
    elements = bench.Elements(layers, PHASES, selective=selective)
    bulk, shear = np.array(PHASES.bulk_moduli(d)), np.array(PHASES.shear_moduli)
    across = bulk + 2 * (d - 1) / d * shear
    assert elements.stiffness(0) == pytest.approx(1 / np.dot([4 / 6, 2 / 6], 1 / across), rel=1e-6)
    sliding = 1 / np.dot([4 / 6, 2 / 6], 1 / shear)
    assert elements.stiffness(2 if d == 2 else 5) == pytest.approx(sliding, rel=1e-6)  # xy
    assert elements.mean_strain(0).mean() == pytest.approx(1.0, abs=1e-9)


def test_elements_are_stiffer_the_more_they_are_integrated(bench: ModuleType) -> None:
    structure = bench.field(8, 2.0)
    full, selective = (bench.Elements(structure, bench.PHASES, selective=s).stiffness() for s in (False, True))
    assert full > selective > bench.ours(structure)[0, 0]


def test_a_quick_run_has_all_keys(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(sys, "argv", ["elasticity.py", "--quick"])
    monkeypatch.delenv("MATLOOP_DATA", raising=False)
    bench.main()
    torch.set_num_threads(threads)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert all(key.startswith("quick_") for key in found)
    assert found["quick_laminate_error"] < 1e-9
    assert sorted(found["quick_gradient_error"]) == ["laminate", "mirror", "random", "uniform", "volume"]
    assert max(found["quick_gradient_error"].values()) < 1e-6
    assert {"quick_seconds", "quick_gradient_cost", "quick_discretisation_error_percent"} <= set(found)
