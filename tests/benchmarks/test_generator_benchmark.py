"""The generator benchmark: every mark at both sizes for each kind, and no key of the full run for a smaller one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).parents[2] / "benchmarks" / "generator.py"
MARKS = {"covariance_error", "s2_error", "lineal_path_error", "nearest", "speckle", "volume_fraction_spread"}


def test_quick_run_has_all_marks_under_keys_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, FILE, "--quick", "--generator", "grf16"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {"quick_gan", "quick_field", "quick_real", "quick_n", "quick_size"}
    assert found["quick_size"] == [16, 16]
    kinds = [found["quick_gan"].pop("corners"), *(found[f"quick_{kind}"] for kind in ("gan", "field", "real"))]
    for kind in kinds:
        assert set(kind) == {*MARKS, "doubled"} and set(kind["doubled"]) == MARKS
        for figures in (kind, kind["doubled"]):
            assert 0.8 < figures["nearest"] < 1.2 and 0.6 < figures["speckle"] < 1.5
            assert 0 < figures["s2_error"] < 0.3 and 0 < figures["covariance_error"] < 0.6
    assert done.stdout.count("real again") == 2 and "of 32 x 32" in done.stdout
