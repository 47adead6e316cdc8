"""What the networks of a driver were trained on and are judged by, for whoever makes one of them usable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from matloop.drivers.training.data import Data
from matloop.drivers.training.sources.source import Source
from matloop.drivers.training.splits import Split
from matloop.drivers.training.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Material:
    """Data, and what a network is to make of them.

    Attributes:
        source: of the data.
        data: all rows.
        parts: which of them are trained on, validated with and tested on.
        goal: bound to them.
        task: its kind.
        places: whether there is a target at each place of an input.
        names: of the targets or classes that the outputs stand for; empty where the data do not say.
        unit: of the targets.
        split: how the rows were divided, JSON-able.
    """

    source: Source
    data: Data
    parts: Split
    goal: Task
    task: str
    places: bool
    names: tuple[str, ...]
    unit: str
    split: Mapping[str, Any]


@runtime_checkable
class Providing(Protocol):
    """A driver that can say what its networks were trained on."""

    def material(self) -> Material:
        """Read the data and split them as every trial does.

        Raises:
            OSError: data are missing.
            ValueError: they are not as they should be.
        """
        ...
