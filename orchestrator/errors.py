"""Every error that matloop raises on purpose.

MatloopError
├── ConfigError            the campaign file is wrong: names the line and the remedy
│   └── ConfigChanged      it differs from the one that the ledger was started with: carries the diff
├── MissingExtra           an optional package is not installed: names the extra
├── InvalidPoint           a point does not belong to its space
├── InvalidResult          a driver returned something that is not a measurement
├── RejectedResults        results told by people do not fit: lists every problem by row and column
├── SpaceExhausted         a strategy has tried every point there is
├── StrategyStalled        a strategy proposes nothing although nothing is running
├── WorkerCrashed          the process that was evaluating a trial died: says how
├── WorkerLost             a worker is gone or given up, and with it the trial that it was evaluating
├── MemoryExceeded         a trial used more memory than it may
└── LedgerError
    ├── LedgerLocked       another process is writing: names it
    ├── LedgerCorrupt      the file is damaged: nothing was changed
    └── LedgerUnwritable   the disk is full or read-only: what was acknowledged is safe
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

EXTRAS: Mapping[str, str] = {
    "distributed": "dask",
    "fastapi": "web",
    "hypothesis": "testing",
    "onnx": "onnx",
    "pandas": "notebook",
    "pytest": "testing",
    "python_multipart": "web",
    "starlette": "web",
    "torcwa": "optics",
    "uvicorn": "web",
}
"""Optional packages, by the name under which they are imported, and the extra of matloop that installs each."""


class MatloopError(Exception):
    """Base of all errors that a user can act on; its text says what was expected, what came and what to do."""


class ConfigError(MatloopError):
    """The campaign file is wrong."""


class ConfigChanged(ConfigError):
    """The campaign file differs from the one that the ledger was started with."""


class MissingExtra(MatloopError):
    """An optional package, one of `EXTRAS`, is not installed."""

    def __init__(self, package: str) -> None:
        remedy = f"pip install 'matloop[{EXTRAS[package]}]'"
        super().__init__(f"needs the package {package!r}, which is not installed; run: {remedy}")


class InvalidPoint(MatloopError, ValueError):
    """A point does not belong to its space."""


class InvalidResult(MatloopError, ValueError):
    """A driver returned something that is not a measurement."""


class Problem(NamedTuple):
    """What is wrong with one result: `row` is its place among those told, from 0, or its row in a file, from 1."""

    row: int
    column: str
    message: str


class RejectedResults(MatloopError, ValueError):
    """Results told by people do not fit; none of them was recorded."""

    def __init__(self, problems: Sequence[Problem], *, source: str = "") -> None:
        self.problems = tuple(problems)
        lines = [f"  row {p.row}{f', {p.column}' if p.column else ''}: {p.message}" for p in self.problems]
        found = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
        super().__init__("\n".join([f"{found}{f' in {source}' if source else ''}; nothing was recorded", *lines]))


class SpaceExhausted(MatloopError):
    """A strategy has tried every point there is; the study ends."""


class StrategyStalled(MatloopError):
    """A strategy proposes nothing although nothing is running."""


class WorkerCrashed(MatloopError):
    """The process that was evaluating a trial died."""


class WorkerLost(MatloopError):
    """A worker is gone or was given up; the trial that it was evaluating can be begun again elsewhere."""


class MemoryExceeded(MatloopError):
    """A trial used more memory than it may."""


class LedgerError(MatloopError):
    """The ledger cannot be used."""


class LedgerLocked(LedgerError):
    """Another process is writing to the ledger."""


class LedgerCorrupt(LedgerError):
    """The ledger file is damaged."""


class LedgerUnwritable(LedgerError):
    """The ledger cannot be written: the disk is full or read-only."""
