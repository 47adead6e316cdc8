"""Which rows are trained on, which decide between networks and which judge them; the same for every network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.randomness import derive


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of the three parts, (k,) int64 each, disjoint."""

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


def split(n: int, shares: tuple[float, float, float], seed: int) -> Split:
    """Random parts in the given shares, the same for the same n, shares and seed.

    Raises:
        ValueError: too few points for two to train on, one to validate with and one to test.
    """
    first, second = round(n * shares[0]), round(n * (shares[0] + shares[1]))
    rows = derive("split", seed).permutation(n)[: round(n * sum(shares))]
    parts = Split(train=rows[:first], validation=rows[first:second], test=rows[second:])
    if len(parts.train) < 2 or len(parts.validation) < 1 or len(parts.test) < 1:
        raise ValueError(
            f"expected enough data for 2 points to train on, 1 to validate with and 1 to test, got {n} in shares "
            f"{list(shares)}; add data or change `split`"
        )
    return parts
