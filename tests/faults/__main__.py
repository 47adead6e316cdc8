"""The suite from the command line: `python -m tests.faults`, or one run again with `--only NUMBER`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from tests.faults.plan import KINDS, plan_of
from tests.faults.runs import Verdict
from tests.faults.suite import Workplace, needs_shim, table, verdicts


def main() -> None:
    """Exits with 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description="Runs with a fault each, and what must hold after all of them.")
    parser.add_argument("--runs", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--only", type=int, nargs="+", help="these numbers alone")
    parser.add_argument("--kind", help="one kind of fault alone, by a part of its name")
    parser.add_argument("--scene", help="one scene alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once")
    parser.add_argument("--in-python", action="store_true", help="as where there is no compiler")
    parser.add_argument("--keep", action="store_true", help="leave the folders of runs in which something did not hold")
    given = parser.parse_args()
    seeds = given.only or _chosen(given.first, given.runs, given.kind, given.scene)
    console, begun = Console(width=120), time.monotonic()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with Workplace(given.keep, not given.in_python) as workplace:
        if workplace.library is None:
            all_seeds, seeds = seeds, [seed for seed in seeds if not needs_shim(seed)]
            left_out = f"{len(all_seeds) - len(seeds)} runs that need it are left out"
            console.print(f"without a compiled library some faults are injected in Python, and {left_out}")
        found = []
        for verdict in verdicts(seeds, workplace, jobs=min(given.jobs, len(seeds))):
            found.append(verdict)
            if verdict.breaches:
                console.print(broken(verdict), markup=False, highlight=False, soft_wrap=True)
        console.print(table(found))
        console.print(f"{time.monotonic() - begun:.0f} s with {given.jobs} at once")
        if given.keep:
            console.print(f"kept in {workplace.folder}")
    raise SystemExit(any(verdict.breaches for verdict in found) or len(found) < len(seeds))


def broken(verdict: Verdict) -> str:
    """What did not hold in a run, and how to repeat it."""
    lines = [f"run {verdict.seed}: {verdict.described}", *(f"  - {breach}" for breach in verdict.breaches)]
    lines += [f"  again: python -m tests.faults --only {verdict.seed}", verdict.outputs]
    return "\n".join(lines)


def _chosen(first: int, runs: int, kind: str | None, scene: str | None) -> Sequence[int]:
    if kind is not None and not any(kind in known.name for known in KINDS):
        raise SystemExit(f"expected a part of {', '.join(known.name for known in KINDS)}, got {kind!r}")
    seeds: list[int] = []
    seed = first
    while len(seeds) < runs:
        plan = plan_of(seed)
        if (kind is None or kind in plan.kind.name) and (scene is None or scene == plan.scene):
            seeds.append(seed)
        seed += 1
    return seeds


if __name__ == "__main__":
    main()
