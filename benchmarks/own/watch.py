"""Runs a command and watches the memory of all its processes together."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path


def run(command: Sequence[str], log: Path, *, interval_s: float = 1.0) -> tuple[int, float]:
    """Run to the end.

    Args:
        command: program and arguments.
        log: where its output is added.
        interval_s: between two looks, s.

    Returns:
        Exit code, and the highest sum over all its processes of the memory that each has (shared pages divided among
        those that share them), MB; NaN where the system does not say.
    """
    with log.open("a") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        peak = float("nan")
        try:
            while process.poll() is None:
                used = sum(_proportional_kb(pid) for pid in (process.pid, *_descendants(process.pid)))
                if used:
                    peak = used / 1024 if peak != peak else max(peak, used / 1024)
                time.sleep(interval_s)
        finally:
            process.terminate()  # nothing where it has ended
            process.wait()
    return process.returncode, peak


def _descendants(pid: int) -> list[int]:
    """All processes that a process has begun, and those that they have."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # it is gone
            continue
        parents.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found, waiting = [], [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def _proportional_kb(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0
