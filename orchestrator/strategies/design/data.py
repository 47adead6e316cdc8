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

    A trained generator errs, so limits taken from what it makes would hold its errors for the data. The shipped ones
    were trained on Gaussian fields, and their cards say of which length.

    Args:
        structures: of the generator's space.
        n: how many.
        rng: of the structures.
    """
    length = _length(structures.space)
    if length is None:
        return structures.labels(structures.random(n, rng))
    from matloop.surrogates.generator.fields import two_phase_fields

    sides: Any = structures.sides
    return two_phase_fields(n, sides, length, rng).astype(np.uint8)


def _length(space: Space) -> float | None:
    """Correlation length of the Gaussian fields that the space's generator was trained on; None if it was not."""
    from matloop.surrogates.generator.weights import load

    named: Any = getattr(space, "generator", None)
    recipe = {} if named is None else load(named).card.get("recipe", {})
    length = recipe.get("length") if isinstance(recipe, Mapping) else None
    return None if length is None else float(length)
