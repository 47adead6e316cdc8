"""Voigt's notation in two and three dimensions: which components stand where."""

from __future__ import annotations

from collections.abc import Mapping

PAIRS: Mapping[int, tuple[tuple[int, int], ...]] = {
    2: ((0, 0), (1, 1), (0, 1)),
    3: ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)),
}
"""Directions (0 is x, 1 is y, 2 is z) of each component of stress and strain, by dimension; strains of shear are
engineering strains, twice the tensor's component."""

DIGITS: Mapping[int, tuple[int, ...]] = {2: (1, 2, 6), 3: (1, 2, 3, 4, 5, 6)}
"""What each component is called in names such as `c12`: 1, 2, 3 for xx, yy, zz and 4, 5, 6 for yz, xz, xy."""


def components(dimension: int) -> dict[str, tuple[int, int]]:
    """Row and column in the matrix of stiffness of c11, c12, …, with the smaller digit first."""
    digits = DIGITS[dimension]
    return {f"c{digits[i]}{digits[j]}": (i, j) for i in range(len(digits)) for j in range(i, len(digits))}
