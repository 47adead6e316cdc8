"""The structures that a generator stands for: what it was trained on where that can be drawn, else what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.protocols import Space
from matloop.orchestrator.strategies.design.structures import Structures

Labels = npt.NDArray[np.uint8]


def data_of(structures: Structures, n: int, rng: np.random.Generator) -> Labels:
    """(n, *sides) uint8 of 0 and 1.

    A trained generator errs, so limits taken from what it makes would hold its errors for the data. One that was
    trained on Gaussian fields says so on its card, and such fields are drawn exactly.

    Args:
        structures: of the generator's space.
        n: how many.
        rng: of the structures.
    """
    fields = _fields(structures.space)
    if fields is None or len(structures.sides) != 2:
        return structures.labels(structures.random(n, rng))
    height, width = structures.sides
    drawn: Labels = fields.draw(n, (height, width), rng)
    return drawn


def _fields(space: Space) -> Any:
    """What the space's generator was trained on; None if it was not, or on something else than fields."""
    from matloop.surrogates.generator.examples import Fields
    from matloop.surrogates.generator.weights import load

    named: Any = getattr(space, "generator", None)
    notes = {} if named is None else load(named).card.get("examples", {})
    if not isinstance(notes, Mapping) or notes.get("kind") != "fields":
        return None
    return Fields(**{name: float(notes[name]) for name in ("length", "volume_fraction")})
