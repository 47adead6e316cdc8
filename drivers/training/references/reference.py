"""What a reference must offer, and what it is told of the data that it is to be trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Settings = Mapping[str, Any]
"""JSON-able, as a trial's point holds it: `options` of the estimator or network, and of a network its `training`."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The data as a reference sees them.

    Attributes:
        input: shape of one input, without the axis of the rows; of graphs what `Graphs.shape` says.
        outputs: length, or channels, of a network's output.
        task: what is predicted, e.g. "regression".
        at_places: whether that is for every place of an input, such as a pixel.
        graphs: whether inputs are graphs.
    """

    input: tuple[int, ...]
    outputs: int
    task: str
    at_places: bool = False
    graphs: bool = False

    @property
    def places(self) -> tuple[int, ...]:
        """Shape of the places that something is predicted for; empty where it is for whole inputs."""
        return self.input[1:] if self.at_places else ()

    def __str__(self) -> str:
        return f"{'graphs' if self.graphs else 'inputs'} {list(self.input)} for {self.task}"


class Reference(Protocol):
    """One way to learn from data that is not searched, but compared with.

    Attributes:
        kind: as the campaign names it.
    """

    kind: str

    def check(self, shape: Shape) -> None:
        """Raise ConfigError, with the remedy, if it cannot learn from such data."""
        ...

    def usual(self) -> Settings:
        """Settings as people use them."""
        ...

    def drawn(self, rng: np.random.Generator) -> Settings | None:
        """Random settings near the usual ones; None if there is nothing to set."""
        ...
