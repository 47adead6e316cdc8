"""Keeps matloop imported and forks a process for each run, so that a run costs tenths of a second.

Reads numbers of runs from its standard input, one a line, and writes what became of each as JSON. A number may be
followed by the name of what is broken on purpose in that run, see `tests/faults/broken.py`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from tests.faults.plan import Plan, plan_of
from tests.faults.runs import Measure, Verdict, end_with_parent, measure, own_orphans, verdict

WARM: Final = (
    "anyio._backends._asyncio",
    "matplotlib.backends.backend_svg",
    "matplotlib.style",
    "matloop.drivers.function",
    "matloop.drivers.manual",
    "matloop.hpc.local",
    "matloop.hpc.serial",
    "matloop.orchestrator.cli.commands.run",
    "matloop.orchestrator.cli.main",
    "matloop.orchestrator.loop.deadline",
    "matloop.orchestrator.cli.commands.serve",
    "matloop.orchestrator.cli.commands.status",
    "matloop.orchestrator.lab",
    "matloop.orchestrator.report.page",
    "matloop.orchestrator.report.summary",
    "matloop.orchestrator.strategies.random",
    "matloop.search_spaces.box",
    "pydantic.v1",
    "rich._emoji_codes",
    "tests.faults.driver",
    "typer.completion",
    "uvicorn.lifespan.on",
    "uvicorn.loops.asyncio",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
)
"""Modules that runs would import one by one."""


class Server:
    """Does runs in forks; remembers how much there is to strike in each kind of scene.

    Args:
        folder: for the runs' files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._measures: dict[tuple[str, bool, bool, bool], Measure] = {}
        for module in WARM:
            importlib.import_module(module)

    def run(self, seed: int, broken: str = "") -> Verdict:
        """The verdict on the run of that number."""
        plan = replace(plan_of(seed), broken=broken)
        try:
            measured = self._measure(plan_of(seed))
            return Verdict(**forked(lambda: asdict(verdict(plan, self._folder / f"run-{seed}", measured))))
        except RuntimeError as error:
            return Verdict(
                seed, plan.kind.name, plan.scene, [f"the suite itself failed: {error}"], False, str(plan), 0.0
            )

    def _measure(self, plan: Plan) -> Measure:
        key = plan.scene, plan.network, plan.artifacts, plan.program
        if key not in self._measures:
            folder = self._folder / "-".join(map(str, key))
            self._measures[key] = Measure(**forked(lambda: asdict(measure(plan, folder))))
        return self._measures[key]


def forked(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What an action returns, done in a process of its own.

    Raises:
        RuntimeError: it raised, or died.
    """
    reading, writing = os.pipe()
    number = os.fork()
    if not number:
        os.close(reading)
        try:
            end_with_parent()
            own_orphans()
            answer = {"answer": action()}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        with os.fdopen(writing, "w") as file:
            json.dump(answer, file)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    os.waitpid(number, 0)
    found = json.loads(text or '{"error": "a run died without a verdict"}')
    if "error" in found:
        raise RuntimeError(found["error"])
    return found["answer"]


def main() -> None:
    """Serve until the input ends; the folder for runs is the only argument."""
    end_with_parent()
    server = Server(Path(sys.argv[1]))
    for line in sys.stdin:
        seed, _, broken = line.strip().partition(" ")
        print(json.dumps(asdict(server.run(int(seed), broken))), flush=True)


if __name__ == "__main__":
    main()
