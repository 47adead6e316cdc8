"""Stands for a simulation program: reads an input file, prints one number and writes another into a file."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    conversion = math.exp(-(((given["T"] - 700) / 250) ** 2)) * given["p"] / (1 + given["p"])
    print(f"conversion = {conversion:.6f}")
    Path("result.json").write_text(json.dumps({"cost": {"total": given["p"] * given["T"] / 1000}}), encoding="utf-8")
