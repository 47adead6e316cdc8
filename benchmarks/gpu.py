"""Everything that needs a GPU, in one run of at most eight minutes that installs nothing: `make test-gpu`.

It works from a bare copy of the working tree with whatever Python has torch: a row whose packages are missing is
skipped with the reason, one that fails or takes too long is reported, and the others are measured all the same. Prints
a table and, last, one line of JSON for docs/benchmarks.md. Only a full run on a GPU has the plain keys; those of others
begin with "quick_" or "cpu_" or both.

Run: python benchmarks/gpu.py [--device cpu] [--quick]. `benchmarks/device/row.py` says how to add a row.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from device.row import ORDER, Figure, Row, Setting

ROOT = Path(__file__).parents[1]
LIMIT_S = 450.0
"""Of the whole run."""
LEAST_S = 15.0
"""A row that would get less is left out."""
TAIL = 40
"""Lines that are shown of what a failed row printed."""

PROBE = """\
import json, platform, torch
gpu = torch.cuda.is_available()
name = torch.cuda.get_device_name() if gpu else ""
print(json.dumps({"gpu": name, "torch": torch.__version__, "python": platform.python_version()}))
"""


@dataclass(slots=True)
class Outcome:
    """What came of a row.

    Attributes:
        figures: that it yielded before its end.
        trouble: why it was skipped, failed or killed; empty if all went well.
        failed: whether that is a failure, rather than something missing here.
        seconds: that it took.
    """

    figures: list[Figure] = field(default_factory=list)
    trouble: str = ""
    failed: bool = False
    seconds: float = 0.0


def main() -> int:
    """Measure, print a table and one line of JSON; 1 if a row or a test failed, 2 if there is no such device."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--quick", action="store_true", help="the smallest sizes, to try the script; a row may take all the time"
    )
    parser.add_argument("--seconds", type=float, default=LIMIT_S, help="after which it ends, with what it has")
    parser.add_argument("--rows", nargs="+", choices=ORDER, default=ORDER, help="only these")
    parser.add_argument("--measure", choices=ORDER, help=argparse.SUPPRESS)  # in a row's own process
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        return measure(given.measure, given.device, given.quick, given.seconds, given.into)
    began = time.monotonic()
    environ = environment(given.device)
    try:
        machine = probe(environ, given.device)
    except LookupError as error:
        print(error)
        return 2
    outcomes = {}
    for name in given.rows:
        left = given.seconds - (time.monotonic() - began)
        outcome = outcomes[name] = run(name, given.device, given.quick, left, environ)
        print(f"{name}: {outcome.trouble or 'measured'} ({outcome.seconds:.0f} s)")
        figures = [f"{f.key} {f.value:.4g}" for f in outcome.figures if f.value is not None]
        print("  " + ", ".join(figures), flush=True)  # should the whole run be cut off
    machine |= {"seconds": round(time.monotonic() - began, 1)}
    show(outcomes, f"{machine['gpu'] or 'CPU'}, torch {machine['torch']}, {machine['seconds']:g} s")
    print(json.dumps(as_json(outcomes, machine, given.device, given.quick)))
    return int(any(o.failed or _failures(o) for o in outcomes.values()))


def environment(device: str) -> dict[str, str]:
    """For the rows: `matloop` is this checkout, and one GPU is visible at most."""
    link = ROOT / "build" / "types" / "matloop"  # as the Makefile makes it for mypy
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            link.symlink_to(Path("..") / "..", target_is_directory=True)
    path = os.pathsep.join(filter(None, (str(link.parent), os.environ.get("PYTHONPATH"))))
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0] if device == "cuda" else ""
    return {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": seen}


def probe(environ: Mapping[str, str], device: str) -> dict[str, Any]:
    """The machine, in words.

    Raises:
        LookupError: there is no torch, or no such device.
    """
    done = subprocess.run([sys.executable, "-c", PROBE], env=environ, capture_output=True, text=True)
    if done.returncode:
        raise LookupError(f"expected a Python with torch, got {sys.executable}:\n{done.stderr}")
    machine: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if device == "cuda" and not machine["gpu"]:
        raise LookupError("expected a CUDA device, found none; --device cpu --quick tries the script itself")
    return machine


def row(name: str) -> Row:
    """The row in the file of that name."""
    found: Row = importlib.import_module(f"device.{name}").ROW
    return found


def run(name: str, device: str, quick: bool, left_s: float, environ: Mapping[str, str]) -> Outcome:
    """Measure a row in a process of its own."""
    try:
        part = row(name)
    except Exception as error:
        return Outcome(trouble=f"failed: {error!r}", failed=True)
    if missing := [package for package in part.needs if importlib.util.find_spec(package) is None]:
        return Outcome(trouble=f"skipped: no package {', '.join(missing)} here")
    seconds = left_s - 5 if quick else min(part.seconds, left_s - 5)
    if seconds < min(LEAST_S, part.seconds):
        return Outcome(trouble="skipped: no time was left")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="matloop-gpu-") as folder:
        into, printed = Path(folder) / "figures", Path(folder) / "printed"
        into.touch()
        command = [sys.executable, __file__, "--device", device, "--seconds", str(seconds), "--measure", name]
        code = watched([*command, "--into", str(into), *(["--quick"] if quick else [])], seconds + 3, printed, environ)
        figures = [Figure(**json.loads(line)) for line in into.read_text("utf-8").splitlines()]
        lines = printed.read_text("utf-8", errors="replace").splitlines()
    outcome = Outcome(figures, seconds=time.monotonic() - began)
    if code is None:
        outcome.trouble = f"killed after {seconds:.0f} s; the figures that it had are kept"
    elif code:
        outcome.trouble, outcome.failed = f"failed: {lines[-1] if lines else f'exit code {code}'}", True
    if outcome.trouble or _failures(outcome):
        print(f"--- the last lines of {name}", *lines[-TAIL:], "---", sep="\n", flush=True)
    return outcome


def watched(command: list[str], seconds: float, printed: Path, environ: Mapping[str, str]) -> int | None:
    """Exit code of a command that leaves no process behind; None if it had to be killed."""
    with printed.open("wb") as output:
        process = subprocess.Popen(
            command, env=environ, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def measure(name: str, device: Any, quick: bool, seconds: float, into: Path) -> int:
    """In the row's own process: write each figure as soon as it is there."""
    with tempfile.TemporaryDirectory(dir=into.parent) as folder, into.open("a", encoding="utf-8") as file:
        setting = Setting(device, quick, time.monotonic() + seconds, Path(folder))
        try:
            for figure in row(name).measure(setting):
                print(json.dumps(asdict(figure)), file=file, flush=True)
        except Exception:  # the row's boundary: the last line of the traceback becomes the reason
            traceback.print_exc()
            return 1
    return 0


def as_json(outcomes: Mapping[str, Outcome], machine: Mapping[str, Any], device: str, quick: bool) -> dict[str, Any]:
    """Figures by key, what was not measured and why, and the machine."""
    before = prefix(device, quick)
    figures = [figure for outcome in outcomes.values() for figure in outcome.figures]
    measured = {f.key: float(f"{f.value:.4g}") for f in figures if f.value is not None}
    missing = {f.key: f.note for f in figures if f.value is None}
    missing |= {name: outcome.trouble for name, outcome in outcomes.items() if outcome.trouble}
    return {f"{before}{key}": value for key, value in (measured | {"not_measured": missing} | dict(machine)).items()}


def prefix(device: str, quick: bool) -> str:
    """Of every key but those of a full run on a GPU."""
    return "" if device == "cuda" and not quick else f"{'quick_' if quick else ''}{device}_"


def _failures(outcome: Outcome) -> bool:
    return any(f.key in ("tests_failed", "tests_unreadable") and f.value for f in outcome.figures)


def show(outcomes: Mapping[str, Outcome], title: str) -> None:
    """The table, by rich where it is installed."""
    lines = [line for name, outcome in outcomes.items() for line in _lines(name, outcome)]
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        plain(lines, title)
        return
    table = Table(title=title)
    for column, style in (("row", {}), ("figure", {}), ("value", {"justify": "right"}), ("", {}), ("note", {})):
        table.add_column(column, overflow="fold", **style)
    for line in lines:
        table.add_row(*line)
    Console(width=None if sys.stdout.isatty() else 140).print(table, markup=False)


def plain(lines: Iterable[tuple[str, ...]], title: str) -> None:
    """The table without rich."""
    print(title)
    for first, key, value, unit, note in lines:
        print(f"{first:32} {key:44} {value:>12} {unit:20} {note}".rstrip())


def _lines(name: str, outcome: Outcome) -> list[tuple[str, str, str, str, str]]:
    """Of one row: its title stands before the first."""
    try:
        title = row(name).title
    except Exception:
        title = name
    body = [(f.key, "" if f.value is None else f"{f.value:,.4g}", f.unit, f.note) for f in outcome.figures]
    if outcome.trouble:
        body.append(("", "", "", outcome.trouble))
    return [(title if i == 0 else "", *cells) for i, cells in enumerate(body)]


if __name__ == "__main__":
    sys.exit(main())
