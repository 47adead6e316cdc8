"""The structures that a generator stands for: what it was trained on where that can be drawn, else what it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.protocols import Space
from matloop.orchestrator.strategies.design.structures import Structures

if TYPE_CHECKING:
    from matloop.surrogates.generator.examples import Fields

Labels = npt.NDArray[np.uint8]


def data_of(structures: Structures, n: int, rng: np.random.Generator) -> Labels:
    """(n, *sides) uint8 of 0 and 1.

    A trained generator errs, so limits taken from what it makes would hold its errors for the data. The shipped ones
    were trained on Gaussian fields, and their cards say which.

    Args:
        structures: of the generator's space.
        n: how many.
        rng: of the structures.
    """
    fields = _fields(structures.space)
    if fields is None:
        return structures.labels(structures.random(n, rng))
    sides: Any = structures.sides
    return fields.draw(n, sides, rng)


def _fields(space: Space) -> Fields | None:
    """Gaussian fields that the space's generator was trained on; None if it was not."""
    from matloop.surrogates.generator.examples import Fields
    from matloop.surrogates.generator.weights import load

    named: Any = getattr(space, "generator", None)
    examples = {} if named is None else load(named).card.get("examples", {})
    if examples.get("kind") != "fields":
        return None
    return Fields(length=examples["length"], volume_fraction=examples["volume_fraction"])
