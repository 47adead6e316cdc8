"""What the columns of encoded points are to a Gaussian process: numbers, or the one-hot columns of categories."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.protocols import Space
from matloop.search_spaces.columns import blocks, labels


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns share a length scale, and which belong to categories.

    Attributes:
        groups: (d,) int, columns that share a length scale have the same number; 0, 1, … without gaps.
        category: (d,) bool, one-hot columns of categories; each category is a group.
    """

    groups: npt.NDArray[np.int_]
    category: npt.NDArray[np.bool_]

    @classmethod
    def all_numbers(cls, d: int) -> Columns:
        """Each with a length scale of its own."""
        return cls(np.arange(d), np.zeros(d, dtype=bool))

    @classmethod
    def of(cls, space: Space | None, d: int) -> Columns:
        """What a space's d columns are; all numbers, unless it says otherwise."""
        named = labels(space)
        if named is None or len(named) != d:
            return cls.all_numbers(d)
        groups, category = np.zeros(d, dtype=np.int_), np.zeros(d, dtype=bool)
        count = 0
        for _, kind, indices in blocks(named):
            own = 1 if kind == "category" else len(indices)
            groups[indices] = count + np.arange(len(indices)) % own
            category[indices] = kind == "category"
            count += own
        return cls(groups, category)

    @property
    def numbers(self) -> npt.NDArray[np.int_]:
        """Indices of the numbers' columns."""
        return np.flatnonzero(~self.category)

    @property
    def categories(self) -> list[npt.NDArray[np.int_]]:
        """Indices of each category's columns, in the order of their groups."""
        return [np.flatnonzero(self.groups == group) for group in np.unique(self.groups[self.category])]

    @property
    def mixed(self) -> bool:
        """Whether there are both sorts."""
        return bool(self.category.any() and not self.category.all())

    @property
    def group_of_category(self) -> npt.NDArray[np.bool_]:
        """(groups,) bool."""
        found = np.zeros(int(self.groups.max()) + 1, dtype=bool)
        found[self.groups] = self.category
        return found


def described(space: Space | None, d: int) -> list[npt.NDArray[np.int_]]:
    """Columns of the descriptors of each category that has no one-hot columns beside them."""
    named = labels(space)
    if named is None or len(named) != d:
        return []
    found = blocks(named)
    one_hot = {name for name, kind, _ in found if kind == "category"}
    return [np.array(indices) for name, kind, indices in found if kind == "descriptor" and name not in one_hot]
