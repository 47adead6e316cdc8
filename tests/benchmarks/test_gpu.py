"""The script for GPUs: all of it runs here on tiny sizes, and no row that fails takes another with it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from matloop.search_spaces.networks.conv import ConvNetworks

LIMIT_S = 1500
pytestmark = pytest.mark.timeout(LIMIT_S)
QUICK = ("--quick", "--seconds", str(LIMIT_S))

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

MADE_UP = """
import time, os, signal
from device.row import Figure, Row

def well(setting):
    yield Figure("x", 2.0, "1/s")
    yield Figure("y", None, note="no time was left")

def broken(setting):
    yield Figure("before", 1.0)
    raise ZeroDivisionError("oh")

def dead(setting):
    yield Figure("alive", 1.0)
    os.kill(os.getpid(), signal.SIGSEGV)

def endless(setting):
    yield Figure("first", 3.0)
    time.sleep(600)

ROW = Row("made up", {seconds}, {needs}, {measure})
"""


def outcome(script: Path, *arguments: str, **environ: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the line of JSON and everything printed."""
    command = [sys.executable, str(script), "--device", "cpu", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environ}, timeout=LIMIT_S)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stdout


@pytest.mark.slow  # every row has a process of its own, and most of them import all of torch
def test_all_rows_run_one_after_another() -> None:
    code, found, printed = outcome(BENCHMARKS / "gpu.py", *QUICK)
    assert code == 0 and found["quick_cpu_not_measured"] == {}, printed
    assert all(key.startswith("quick_cpu_") for key in found)
    assert found["quick_cpu_tests_collected"] >= 14 and found["quick_cpu_tests_unreadable"] == 0, printed
    for key in ("trials_per_hour_2", "epochs_per_s_wide_mixed", "posterior_images_points_per_s"):
        assert found[f"quick_cpu_{key}"] > 0
    assert found["quick_cpu_generator_8_steps_per_s"] > 0 and found["quick_cpu_rcwa_order_1_structures_per_s"] > 0


def test_a_machine_with_few_packages_still_runs_the_rest(tmp_path: Path) -> None:
    """As on a machine for GPUs that has torch and little of what matloop needs."""
    missing = ("pydantic", "torcwa", "gstools", "grcwa", "deap", "optuna", "pymatgen", "fastapi", "rich")
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules |= dict.fromkeys({missing})\n")
    rows = ("--rows", "marked_tests", "rcwa", "generator_training")
    code, found, printed = outcome(BENCHMARKS / "gpu.py", *QUICK, *rows, PYTHONPATH=str(tmp_path))
    assert code == 0, printed
    assert found["quick_cpu_not_measured"] == {} and found["quick_cpu_tests_unreadable"] == 0, printed
    assert found["quick_cpu_generator_8_steps_per_s"] > 0 and found["quick_cpu_rcwa_order_1_structures_per_s"] > 0


def test_a_row_that_fails_dies_or_hangs_takes_no_other_with_it(tmp_path: Path) -> None:
    rows = {
        "broken": {"measure": "broken"},
        "dead": {"measure": "dead"},
        "endless": {"measure": "endless", "seconds": 8},
        "lacking": {"measure": "well", "needs": ("no_such_package",)},
        "well": {"measure": "well"},
    }
    shutil.copytree(BENCHMARKS / "device", tmp_path / "benchmarks" / "device")
    shutil.copy(BENCHMARKS / "gpu.py", tmp_path / "benchmarks")
    for name, options in rows.items():
        text = MADE_UP.format(**({"seconds": 60, "needs": ()} | options))
        (tmp_path / "benchmarks" / "device" / f"{name}.py").write_text(text)
    with (tmp_path / "benchmarks" / "device" / "row.py").open("a") as file:
        file.write(f"\nORDER = {tuple(rows)}\n")
    code, found, printed = outcome(tmp_path / "benchmarks" / "gpu.py")
    figures = {key.removeprefix("cpu_"): value for key, value in found.items()}
    assert code == 1
    assert {key: figures[key] for key in ("before", "alive", "first", "x")} == {
        "before": 1.0,
        "alive": 1.0,
        "first": 3.0,
        "x": 2.0,
    }
    reasons = figures["not_measured"]
    assert set(reasons) == {"broken", "dead", "endless", "lacking", "y"}
    assert "ZeroDivisionError: oh" in reasons["broken"] and "failed" in reasons["dead"]
    assert "killed after 8 s" in reasons["endless"] and "no_such_package" in reasons["lacking"]
    assert "ZeroDivisionError: oh" in printed.split("--- the last lines of broken")[1]


def test_no_time_left_is_said_and_not_measured() -> None:
    code, found, _ = outcome(BENCHMARKS / "gpu.py", "--seconds", "6")
    assert code == 0
    assert list(found["cpu_not_measured"].values()) == ["skipped: no time was left"] * 6


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    name = "benchmark_of_gpus"  # `gpu` may be the name of the checkout's folder, which has an __init__.py
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / "gpu.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


TINY = {
    "trials": {"trials_per_hour_2"},
    "precision": {f"{kind}_{size}_{bits}" for kind in ("epochs_per_s", "error") for size in ("small", "wide")
                  for bits in ("float32", "mixed")},
    "posterior": {"posterior_vectors_points_per_s", "posterior_images_points_per_s"},
    "generator_training": {"generator_8_steps_per_s"},
    "rcwa": {"rcwa_order_1_structures_per_s"},
}  # fmt: skip


@pytest.mark.parametrize("name", TINY)
def test_every_row_runs_here_on_tiny_sizes(gpu: Any, name: str, tmp_path: Path) -> None:
    from device.row import ORDER, Setting

    assert {*TINY, "marked_tests"} == set(ORDER)
    row = gpu.row(name)
    for package in row.needs:
        pytest.importorskip(package)
    found = {f.key: f.value for f in row.measure(Setting("cpu", True, time.monotonic() + LIMIT_S, tmp_path))}
    assert found.keys() == TINY[name] and all(value > 0 for value in found.values())


def test_only_a_full_run_on_a_gpu_has_the_plain_keys(gpu: Any) -> None:
    outcomes = {"row": gpu.Outcome([gpu.Figure("rate", 12.3456)])}
    keys = [
        set(gpu.as_json(outcomes, {"torch": "2"}, device, quick))
        for device in ("cuda", "cpu")
        for quick in (False, True)
    ]
    assert keys[0] == {"rate", "not_measured", "torch"}
    assert all(not keys[i] & keys[j] for i in range(4) for j in range(i))


def test_tests_are_counted_and_those_that_failed_are_named(gpu: Any) -> None:
    from device.marked_tests import counted

    report = """<testsuites><testsuite>
    <testcase classname="a" name="one"/><testcase classname="a" name="two"><failure>x</failure></testcase>
    <testcase classname="b" name="three"><error>x</error></testcase>
    <testcase classname="b" name="four"><skipped/></testcase>
    </testsuite></testsuites>"""
    assert {f.key: (f.value, f.note) for f in counted(report)} == {
        "tests_passed": (1, ""),
        "tests_failed": (2, "a::two, b::three"),
        "tests_skipped": (1, "b::four"),
    }


def test_its_time_fits_into_eight_minutes(gpu: Any) -> None:
    assert gpu.LIMIT_S <= 470
    assert sum(gpu.row(name).seconds for name in gpu.ORDER) <= gpu.LIMIT_S


def test_what_is_trained_can_be_found_by_a_search(gpu: Any) -> None:
    from device.problems import SIDE, small, wide

    ConvNetworks(input=[1, SIDE, SIDE]).check(small())
    ConvNetworks(input=[1, SIDE, SIDE], max_multiply_adds=10**10).check(wide())
