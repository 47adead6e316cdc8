"""How far figures of a test part would be off with another test part, by leaving out a block at a time.

Efron & Stein, Annals of Statistics 9, 586 (1981). Rows of one group stay in one block, so that a hundred tiles of one
micrograph do not count as a hundred micrographs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.randomness import derive

_BLOCKS = 20


def standard_errors(
    measure: Callable[[npt.NDArray[np.int64]], Mapping[str, float]], groups: npt.NDArray[np.int64] | None, n: int
) -> dict[str, float]:
    """Standard error of each figure.

    Args:
        measure: figures of some of the rows, by their places in the part.
        groups: (n,) of the rows; None where each is its own.
        n: number of rows.

    Returns:
        One for each figure; none with fewer than two groups.
    """
    _, codes = np.unique(np.arange(n) if groups is None else groups, return_inverse=True)
    count = int(codes.max()) + 1
    blocks = min(count, _BLOCKS)
    if blocks < 2:
        return {}
    block = (derive("jackknife", count).permutation(count) % blocks)[codes]
    found = [measure(np.flatnonzero(block != i)) for i in range(blocks)]
    spread = {name: np.array([figures[name] for figures in found]) for name in found[0]}
    return {name: float(np.sqrt((blocks - 1) * values.var())) for name, values in spread.items()}
