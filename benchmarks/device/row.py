"""What a row of `benchmarks/gpu.py` is: something measured on a device, within its share of the time.

To add one: write a file in this folder with a constant `ROW` (see `Row`), and put the file's name into `ORDER`, where
its worth beside the others is its place. A row runs in a process of its own, so whatever happens to it happens to no
other. What its figures mean goes into docs/benchmarks.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ORDER = ("marked_tests", "trials", "precision", "posterior", "generator_training", "rcwa")
"""The rows, the most valuable first: what comes last may find no time left."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, or why there is none.

    Attributes:
        key: its name in the line of JSON; the same problem always has the same key.
        value: None if it could not be measured; `note` then says why.
        unit: for people.
        note: for people.
    """

    key: str
    value: float | None
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and within what a row is measured.

    Attributes:
        device: "cpu" or "cuda"; one GPU is visible at most.
        quick: whether a problem of the smallest size will do, because only the row itself is tried.
        ends_at: by `time.monotonic`; a row that goes on is killed, and keeps the figures that it had yielded.
        folder: for files, removed afterwards.
    """

    device: Literal["cpu", "cuda"]
    quick: bool
    ends_at: float
    folder: Path

    def left_s(self) -> float:
        """Seconds until `ends_at`."""
        return self.ends_at - time.monotonic()

    @property
    def compared(self) -> tuple[Literal["cpu", "cuda"], ...]:
        """The devices to measure for a comparison: this one and, if it is a GPU, the CPU beside it."""
        return ("cuda", "cpu") if self.device == "cuda" else ("cpu",)

    def key(self, name: str, device: str) -> str:
        """Key of a figure that is compared: with "_beside_cpu" for the CPU beside a GPU."""
        return name if device == self.device else f"{name}_beside_{device}"


@dataclass(frozen=True, slots=True)
class Row:
    """One part of what is measured.

    Attributes:
        title: for people.
        seconds: the most that it may take.
        needs: packages without which it is skipped.
        measure: yields figures as soon as it has them; imports what it needs itself.
    """

    title: str
    seconds: float
    needs: tuple[str, ...]
    measure: Callable[[Setting], Iterator[Figure]]
