"""The RCWA benchmark: its error of a gradient on one known, and its keys."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

FILE = Path(__file__).parents[2] / "benchmarks" / "rcwa.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rcwa_benchmark", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_an_error_is_seen_at_its_size(bench: ModuleType) -> None:
    torch.manual_seed(0)
    slope = torch.rand(bench.SIDE, bench.SIDE, dtype=torch.float64)

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
            return (slope * x).sum()

        @staticmethod
        def backward(ctx: object, of: torch.Tensor) -> torch.Tensor:
            return 1.5 * slope * of

    start = torch.zeros_like(slope)
    assert bench.gradient_error(lambda x: (slope * x).sum(), start) < 1e-9
    rng = bench.derive("rcwa directions")
    along = [abs(float((slope.numpy() * rng.standard_normal(slope.shape)).sum())) for _ in range(bench.DIRECTIONS)]
    expected = 0.5 * max(along) / (1.5 * float(slope.norm()))
    assert bench.gradient_error(Wrong.apply, start) == pytest.approx(expected, rel=1e-6)
    assert bench.gradient_error(lambda x: (x / 0 * x).sum(), start) is None


def test_ratios_are_taken_round_by_round(bench: ModuleType) -> None:
    times = bench.Times({"a": np.array([1.0, 20.0, 3.0]), "b": np.array([2.0, 40.0, 3.0])})
    assert times.ratio("a", "b") == 0.5 and times.median("a") == 3.0


def test_a_quick_run_has_all_keys(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torcwa")
    pytest.importorskip("grcwa")
    threads = torch.get_num_threads()
    monkeypatch.setattr(sys, "argv", ["rcwa.py", "--quick"])
    monkeypatch.setattr(bench, "PEERS", ("torcwa", "grcwa"))  # JAX takes a minute to compile on a busy machine
    bench.main()
    torch.set_num_threads(threads)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert all(key.startswith("quick_") for key in found)
    assert {f"quick_{k}" for k in ("forward_share_of_torcwa", "gradient_cost", "agreement")} <= set(found)
    errors = found["quick_gradient_error"]
    assert sorted(errors) == ["grating", "mirror", "random", "uniform"] and max(errors.values()) < 1e-5
    assert found["quick_agreement"]["torcwa"] < 1e-7
    assert found["quick_agreement"]["grcwa"] < 1e-7 and found["quick_agreement"]["fresnel"] < 1e-9
