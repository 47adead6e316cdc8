"""What became of a run, and where its files are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.faults.plan import Plan

STUDY: Final = "study"


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: exit code; negative for a signal.
        text: what it printed.
        seconds: how long it ran, s.
        hung: whether it had to be ended.
    """

    code: int
    text: str
    seconds: float
    hung: bool


@dataclass
class Course:
    """What became of a run.

    Attributes:
        root: folder of everything.
        plan: what was to be done.
        struck: whether the fault hit something.
        ends: of every process, start by start; those of the first one are struck.
        starts: number of processes by start.
        struck_starts: how many starts a fault was to strike.
        decisions: word by trial, of those that may have happened.
        readers: breaches that those who read meanwhile met.
        strays: processes that outlived it, in words.
    """

    root: Path
    plan: Plan
    struck: bool = False
    ends: list[Ended] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    struck_starts: int = 1
    decisions: dict[int, str] = field(default_factory=dict)
    readers: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)

    def add(self, *ended: Mapping[int, Ended]) -> None:
        """Add the processes of a start, each once, in order."""
        found = {number: end for some in ended for number, end in some.items()}
        self.ends += found.values()
        self.starts.append(len(found))

    def __post_init__(self) -> None:
        for folder in (self.results, self.temporary):
            folder.mkdir(parents=True)

    @property
    def results(self) -> Path:
        """Folder of the campaign's results."""
        return self.root / "results"

    @property
    def ledger(self) -> Path:
        """File of the ledger."""
        return self.results / "ledger.db"

    @property
    def diary(self) -> Path:
        """What really happened."""
        return self.root / "diary"

    @property
    def useless(self) -> Path:
        """File that makes every measurement fail while it is there."""
        return self.root / "useless"

    @property
    def aside(self) -> Path:
        """What went wrong for those who read or held the ledger meanwhile."""
        return self.root / "aside"

    @property
    def temporary(self) -> Path:
        """Folder for temporary files of all processes."""
        return self.root / "tmp"

    @property
    def last(self) -> list[Ended]:
        """How the processes of the last start ended."""
        return self.ends[-self.starts[-1] :]

    @property
    def first(self) -> list[Ended]:
        """How those that were struck ended."""
        return self.ends[: sum(self.starts[: self.struck_starts])]
