"""The server starts, takes results and shows what is on record without the strategy's heavy packages."""

from __future__ import annotations

import subprocess
import sys

from matloop.orchestrator.lab import Lab, Result
from tests.orchestrator.web.conftest import CAMPAIGN

CODE = """
import asyncio, sys
from pathlib import Path
import httpx
from matloop.orchestrator.cli.commands import serve  # noqa
from matloop.orchestrator.lab import Lab
from matloop.orchestrator.web.app import create
from tests.orchestrator.web.conftest import OPEN

async def look(app):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for path in ("/history", "/experiments/0", "/api/study", "/api/experiments", "/api/next.csv", "/api/docs"):
            assert (await client.get(path)).status_code == 200, path
        told = {"results": [{"point": {"temperature": 400, "solvent": "water", "hours": 3}, "values": {"yield": 9}}]}
        assert (await client.post("/api/results", json=told)).status_code == 200

with Lab.open(Path(sys.argv[1])) as lab:
    asyncio.run(look(create(lab, OPEN)))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
HEAVY = {"torch", "botorch", "gpytorch", "sklearn", "scipy", "pandas", "matplotlib", "optuna"}


def test_what_is_imported(tmp_path):
    file = tmp_path / "furnace.yaml"
    file.write_text(CAMPAIGN % "{kind: bayesian, surrogate: gp}", encoding="utf-8")
    folder = tmp_path / "runs"
    with Lab.open(file, directory=folder) as lab:
        lab.tell([Result(point={"temperature": 500, "solvent": "water", "hours": 3}, values={"yield": 5.0})])
    done = subprocess.run([sys.executable, "-c", CODE, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert HEAVY & set(done.stdout.split()) == set()
