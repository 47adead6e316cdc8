"""Evaluations per second of whole campaigns over MPI, 4 workers, beside DeepHyper, libEnsemble and mpi4py.futures.

matloop runs as a user runs it, `mpiexec -n 5 matloop run campaign.yaml`: random search over a box, a Python function
as the driver, each evaluation in an isolated child, every proposal and every result synced to the disk before anything
depends on it. The peers run from an environment of their own (`make peers`; `benchmarks/peers/throughput.py` says
how each is arranged) on the same tasks, on the same machine, in turns. None of them isolates an evaluation or syncs its
record, and mpi4py.futures neither searches nor records.

All figures are taken from the times at which results reach the manager, without the first 100 results, which start
the workers:

noop_per_s             results per second of a task that does nothing, over a campaign of 10,000
decay                  1 - (rate of that campaign's last 1,000 results / rate of the 1,000 after the first 100)
sleep10ms_efficiency   rate of a task that sleeps 10 ms, as a share of the 400/s of 4 workers that are never idle

The median over the repeats is given, and the lowest and highest beside it. A machine with fewer than 5 free cores
holds all of them back; then read the ratios. `sync_ms` is what one sync to this disk took meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
PEERS = ("mpi4py", "deephyper", "libensemble")
WORKERS = 4
SLEEP_S = 0.01
FIRST = 100  # results that start the workers
WINDOW = 1_000  # results over which the rate is taken for its decay
TIMEOUT_S = 600.0
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    **(dict.fromkeys(("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"), "1") if os.geteuid() == 0 else {}),
}

TASKS = """\
import time

def noop(point):
    return point["x0"]

def sleep(point):
    time.sleep({sleep_s})
    return point["x0"]
"""
CAMPAIGN = """\
name: throughput
executor: {{kind: mpi}}
studies:
  random:
    space:
      kind: box
      parameters:
        x0: {{type: float, low: 0, high: 1}}
        x1: {{type: float, low: 0, high: 1}}
    driver: {{kind: python, path: "tasks.py:{task}"}}
    strategy: {{kind: random}}
    objectives: {{y: minimise}}
    budget: {{trials: {n}}}
"""


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    noop: int = 10_000
    sleep: int = 2_000
    cbo: int = 24
    window: int = WINDOW
    repeats: int = 3


QUICK = Sizes(noop=1_500, sleep=300, cbo=0, window=400, repeats=1)

STYLES = {"noop_per_s": ",.0f", "sleep10ms_efficiency": ".3f", "decay": ".1%"}


class Failed(Exception):
    """A campaign came to no end of its own."""


def launch(python: Path, arguments: list[str], folder: Path) -> None:
    """Run Python on a manager and the workers.

    Raises:
        Failed: with the last lines of the output.
    """
    mpiexec = python.with_name("mpiexec")
    command = [str(mpiexec if mpiexec.exists() else shutil.which("mpiexec") or mpiexec), "-n", str(WORKERS + 1)]
    try:
        subprocess.run(
            [*command, str(python), *arguments],
            cwd=folder,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise Failed("\n".join(error.stdout.splitlines()[-20:])) from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"took longer than {TIMEOUT_S:g} s") from error


def matloop(n: int, sleep_s: float, folder: Path) -> list[float]:
    """When each result of a campaign was recorded, s after its first proposal, ascending."""
    (folder / "tasks.py").write_text(TASKS.format(sleep_s=sleep_s))
    (folder / "campaign.yaml").write_text(CAMPAIGN.format(task="sleep" if sleep_s else "noop", n=n))
    launch(
        Path(sys.executable), ["-m", "matloop.orchestrator.cli.main", "run", "campaign.yaml", "--dir", "run"], folder
    )
    with closing(sqlite3.connect(folder / "run" / "ledger.db")) as ledger:
        (began,) = ledger.execute("SELECT min(time) FROM events WHERE kind = 'proposed'").fetchone()
        rows = ledger.execute("SELECT time FROM events WHERE kind = 'answered' ORDER BY seq").fetchall()
    return [at - began for (at,) in rows]


def peer(name: str, python: Path, n: int, sleep_s: float, folder: Path) -> list[float]:
    """When each result of a peer's campaign was back, s after its first trial was handed out, ascending."""
    file = folder / "times.json"
    launch(python, [str(ROOT / "benchmarks/peers/throughput.py"), name, str(n), str(sleep_s), str(file)], folder)
    times: list[float] = json.loads(file.read_text())
    return times


def rate(times: list[float], first: int, last: int) -> float:
    """Results per second from the one numbered `first` to the one numbered `last`."""
    return (last - first) / (times[last - 1] - (times[first - 1] if first else 0.0))


def figures(noop: list[float], sleep: list[float], window: int) -> dict[str, float]:
    """The figures of one system in one repeat."""
    n = len(noop)
    return {
        "noop_per_s": rate(noop, FIRST, n),
        "sleep10ms_efficiency": rate(sleep, FIRST, len(sleep)) * SLEEP_S / WORKERS,
        "decay": 1 - rate(noop, n - window, n) / rate(noop, FIRST, FIRST + window),
    }


def campaign(name: str, python: Path, n: int, sleep_s: float) -> list[float]:
    """Times of one campaign of a system, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        if name == "matloop":
            return matloop(n, sleep_s, Path(folder))
        return peer(name, python, n, sleep_s, Path(folder))


def summary(repeats: list[dict[str, float]]) -> dict[str, Any]:
    """Median of each figure, and its spread."""
    medians = {key: round(median(r[key] for r in repeats), 3) for key in repeats[0]}
    spread = {key: [round(edge(r[key] for r in repeats), 3) for edge in (min, max)] for key in repeats[0]}
    return {**medians, "spread": spread}


def sync_ms() -> float:
    """Median time of a sync to the disk, ms."""
    times = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(50):
            file.write(bytes(4096))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return 1e3 * median(times)


def measure(systems: list[str], python: Path, sizes: Sizes, console: Console) -> dict[str, dict[str, Any]]:
    """Figures by system; the reason alone of one that failed."""
    repeats: dict[str, list[dict[str, float]]] = {name: [] for name in systems}
    failed: dict[str, dict[str, Any]] = {}
    for repeat in range(sizes.repeats):
        for name in systems:
            if name in failed:
                continue
            try:
                noop, sleep = (campaign(name, python, n, s) for n, s in ((sizes.noop, 0.0), (sizes.sleep, SLEEP_S)))
                repeats[name].append(figures(noop, sleep, sizes.window))
            except Failed as error:
                if name == "matloop":
                    raise
                failed[name] = {"failed": str(error)}
            console.print(f"{repeat + 1}/{sizes.repeats} {name}: {repeats[name][-1:] or failed[name]}", highlight=False)
    return {name: failed.get(name) or summary(repeats[name]) for name in systems}


def bayesian(python: Path, n: int) -> dict[str, Any]:
    """DeepHyper's default search, which is too slow for the sizes of the others: one short campaign."""
    times = campaign("deephyper_cbo", python, n, SLEEP_S)
    return {"sleep10ms_efficiency": round(rate(times, 0, len(times)) * SLEEP_S / WORKERS, 4), "trials": len(times)}


def report(found: dict[str, dict[str, Any]], sizes: Sizes) -> Table:
    """Table for people."""
    table = Table(title=f"{WORKERS} workers over MPI: median of {sizes.repeats} (lowest to highest)")
    table.add_column("")
    for column in ("no-op\nper s", "10 ms\nshare of ideal", f"decay\n{FIRST} to {sizes.noop:,}"):
        table.add_column(column, justify="right")
    for name, entry in found.items():
        cells = [_cell(entry, key, style) for key, style in STYLES.items()]
        table.add_row(name, *cells)
    return table


def _cell(entry: dict[str, Any], key: str, style: str) -> str:
    if key not in entry:
        return "failed" if "failed" in entry else ""
    low, high = entry.get("spread", {}).get(key, (entry[key], entry[key]))
    edges = f" ({low:{style}} to {high:{style}})" if low != high else ""
    return f"{entry[key]:{style}}{edges}"


def main() -> None:
    """Measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer evaluations, once, under 60 s")
    parser.add_argument("--repeats", type=int, help="how often each campaign is run")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers", help="environment made by `make peers`")
    parser.add_argument("--data", help="accepted for uniformity; not used")
    given = parser.parse_args()
    sizes, console, python = QUICK if given.quick else Sizes(), Console(), given.peers.absolute() / "bin" / "python"
    sizes = replace(sizes, repeats=given.repeats or sizes.repeats)
    there = python.exists()
    if not there:
        console.print(f"no {python}: the peers are left out; run `make peers` to have them", highlight=False)
    sync = sync_ms()
    found = measure(["matloop", *(PEERS if there else ())], python, sizes, console)
    if there and sizes.cbo:
        found["deephyper_cbo"] = bayesian(python, sizes.cbo)
    console.print(report(found, sizes))
    own = found.pop("matloop")
    print(json.dumps({**own, "trials": sizes.noop, "sync_ms": round(sync, 2), "peers": found}))


if __name__ == "__main__":
    main()
