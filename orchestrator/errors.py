"""Every error that matloop raises on purpose.

MatloopError
├── Refused                something that was given is wrong: `problems` has what and where, as data
│   ├── ConfigError        the campaign file is wrong: names the line and the remedy
│   │   └── ConfigChanged  it differs from the one that the ledger was started with: carries the diff
│   ├── InvalidPoint       a point does not belong to its space
│   ├── InvalidResult      a driver returned something that is not a measurement
│   ├── RejectedResults    results told by people do not fit: lists every problem by row and column
│   │   └── RejectedPoints points to be predicted do not fit: likewise
│   └── ImpossibleWish     what is wished of the next experiments cannot be fulfilled: names the inputs
├── MissingExtra           an optional package is not installed: names the extra
├── SpaceExhausted         a strategy has tried every point there is
├── NoPrediction           a strategy has no model to predict with, or not enough results for it yet
├── StrategyStalled        a strategy proposes nothing although nothing is running
├── WorkerCrashed          the process that was evaluating a trial died: says how
├── WorkerLost             a worker is gone or given up, and with it the trial that it was evaluating
├── MemoryExceeded         a trial used more memory than it may
├── NotBegun               a fault of the machine kept a trial from being begun: it is begun again later
├── OutOfReach             a disk was out of reach for longer than the campaign waits: says what was lost
└── LedgerError
    ├── LedgerLocked       another process is writing: names it
    ├── LedgerCorrupt      the file is damaged: nothing was changed
    │   └── LedgerForeign  it is another program's
    └── LedgerUnwritable   the disk is full, read-only or out of reach: what was acknowledged is safe, try again
        └── LedgerBusy     another program keeps the file locked, and nothing else is wrong
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

EXTRAS: Mapping[str, str] = {
    "distributed": "dask",
    "fastapi": "web",
    "gdstk": "shapes",
    "h11": "web",
    "h5py": "data",
    "hypothesis": "testing",
    "onnx": "onnx",
    "openpyxl": "xlsx",
    "pandas": "notebook",
    "pyarrow": "data",
    "pytest": "testing",
    "python_multipart": "web",
    "starlette": "web",
    "tifffile": "data",
    "uvicorn": "web",
    "zarr": "data",
}
"""Optional packages, by the name under which they are imported, and the extra of matloop that installs each."""

Location = tuple[str | int, ...]
"""Keys and indices that lead to a value: an option and what is in it, a parameter of a point, a row and its column."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where in a file something stands; line and column from 1, 0 where they are not known."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        message: what was expected and what came; with the remedy, unless that is given apart.
        place: where, seen from what was looked at.
        remedy: what to do.
        command: for those at a command line, the option or command that does it.
        position: of the place in a file, where there is one.
    """

    message: str
    place: Location = ()
    remedy: str = ""
    command: str = ""
    position: Position | None = None

    @property
    def row(self) -> int:
        """Of a table: its place among results told, from 0, or its row in a file, from 1."""
        row = self.place[0]
        assert isinstance(row, int)
        return row

    @property
    def column(self) -> str:
        """Of a table; empty if it is about the whole row."""
        return ".".join(map(str, self.place[1:]))

    @property
    def text(self) -> str:
        """Message and remedy."""
        return f"{self.message}; {self.remedy}" if self.remedy else self.message

    def inside(self, *outer: str | int) -> Problem:
        """The same, seen from further out."""
        return replace(self, place=(*outer, *self.place))

    def __str__(self) -> str:
        """One line for a terminal, with the position in a file if there is one."""
        text = f"{self.text} ({self.command})" if self.command else self.text
        if self.position is None:
            return text
        dotted = ".".join(map(str, self.place))
        return f"{self.position}: {dotted}: {text}" if dotted else f"{self.position}: {text}"


class MatloopError(Exception):
    """Base of all errors that a user can act on; its text says what was expected, what came and what to do.

    Attributes:
        everywhere: whether all ranks of a parallel job raise it alike, so that it suffices if one of them says so.
    """

    everywhere = False


class Refused(MatloopError):
    """Something that was given is wrong.

    Args:
        message: what was expected, what came and what to do.
        at: where: the option of the constructor that refuses it, the parameter of the point, and so on, or several keys
            that lead there.
        problems: instead of these two where there are several; each once, in the order of the file where it is known.

    Attributes:
        problems: all that is wrong.
    """

    def __init__(
        self, message: str = "", *, at: str | int | Sequence[str | int] = (), problems: Iterable[Problem] = ()
    ) -> None:
        found = list(dict.fromkeys(problems)) or [Problem(message, (at,) if isinstance(at, str | int) else tuple(at))]
        self.problems = tuple(sorted(found, key=_line_and_column))
        super().__init__("\n".join(map(str, self.problems)))


@contextmanager
def inside(*outer: str | int) -> Iterator[None]:
    """Say where the part stands that a block deals with: what it refuses names a place within the part."""
    try:
        yield
    except Refused as error:
        error.problems = tuple(problem.inside(*outer) for problem in error.problems)
        raise


def _line_and_column(problem: Problem) -> tuple[int, int]:
    return (problem.position.line, problem.position.column) if problem.position else (0, 0)


class ConfigError(Refused):
    """The campaign file is wrong."""


class ConfigChanged(ConfigError):
    """The campaign file differs from the one that the ledger was started with."""


class InvalidPoint(Refused, ValueError):
    """A point does not belong to its space."""


class InvalidResult(Refused, ValueError):
    """A driver returned something that is not a measurement; places begin with the field of `Measurement`."""


class RejectedResults(Refused, ValueError):
    """Results told by people do not fit; none of them was recorded. Places are a row and a column."""

    consequence = "nothing was recorded"

    def __init__(self, problems: Sequence[Problem], source: str = "") -> None:
        super().__init__(problems=problems)
        self.source = source

    def __str__(self) -> str:
        lines = [f"  row {p.row}{f', {p.column}' if p.column else ''}: {p}" for p in self.problems]
        return "\n".join([self.summary, *lines])

    @property
    def summary(self) -> str:
        """How many problems there are, in one line."""
        found = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        return f"{found}{f' in {self.source}' if self.source else ''}; {self.consequence}"

    def __reduce__(self) -> tuple[type[RejectedResults], tuple[Sequence[Problem], str]]:
        return type(self), (self.problems, self.source)


class RejectedPoints(RejectedResults):
    """Points to be predicted do not fit; none of them was. Places are a row and a column."""

    consequence = "nothing was predicted"


class ImpossibleWish(Refused):
    """What is wished of the next experiments cannot be fulfilled; nothing was recorded. Places are inputs."""


class MissingExtra(MatloopError):
    """An optional package, one of `EXTRAS`, is not installed."""

    def __init__(self, package: str) -> None:
        remedy = f"pip install 'matloop[{EXTRAS[package]}]'"
        super().__init__(f"needs the package {package!r}, which is not installed; run: {remedy}")


class DoubtfulValue(UserWarning):
    """A value that was told, and recorded, looks like a slip of the pen."""


class SpaceExhausted(MatloopError):
    """A strategy has tried every point there is; the study ends."""


class NoPrediction(MatloopError):
    """A strategy has no model that could predict, or not enough results for it yet; says which."""


class StrategyStalled(MatloopError):
    """A strategy proposes nothing although nothing is running."""


class WorkerCrashed(MatloopError):
    """The process that was evaluating a trial died."""


class WorkerLost(MatloopError):
    """A worker is gone or was given up; the trial that it was evaluating can be begun again elsewhere."""


class MemoryExceeded(MatloopError):
    """A trial used more memory than it may."""


class NotBegun(MatloopError):
    """A fault of the machine, such as a disk that is out of reach, kept a trial from being begun.

    The run waits and begins it again, as the same attempt. A driver may raise it too, before it does anything.
    """


class OutOfReach(MatloopError):
    """A disk was out of reach, for longer than the campaign waits."""


class LedgerError(MatloopError):
    """The ledger cannot be used."""


class LedgerLocked(LedgerError):
    """Another process is writing to the ledger."""


class LedgerCorrupt(LedgerError):
    """The ledger file is damaged.

    Attributes:
        why: in a few words, where the message says more.
    """

    def __init__(self, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why or message


class LedgerForeign(LedgerCorrupt):
    """The file is another program's."""


class LedgerUnwritable(LedgerError):
    """The ledger cannot be written for now: the disk is full, read-only or out of reach."""


class LedgerBusy(LedgerUnwritable):
    """The ledger cannot be written or read for now: another program keeps its file locked."""


_OF_THE_MACHINE = frozenset(
    getattr(errno, name, 0) for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE", "ETIMEDOUT", "ENODEV")
) - {0}


def is_of_the_machine(error: OSError) -> bool:
    """Whether a disk is full, read-only or gone, rather than a name wrong."""
    return error.errno in _OF_THE_MACHINE
