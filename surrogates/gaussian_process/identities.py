"""Which choice a row of descriptors stands for, as one-hot columns beside the descriptors.

Descriptors say how alike choices are, but never everything: two solvents of equal polarity may act differently. Beside
the kernel of its descriptors each such category therefore has the factor and the additive part of any other category. A
choice that was not measured is one more level, of which nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from matloop.surrogates.gaussian_process.columns import Columns

SAME = 1e-6
"""Largest difference of two rows of descriptors of the same choice."""


class Identities:
    """Appends one-hot columns to encoded points."""

    def __init__(self, described: Sequence[npt.NDArray[np.int_]], x: torch.Tensor) -> None:
        """Args: described: columns of the descriptors of each category; x: (n, d) float64, measured points."""
        self._columns = [torch.as_tensor(indices) for indices in described]
        self._levels = [torch.unique(x[:, columns], dim=0) for columns in self._columns]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(..., d) -> (..., e): for each category a column for each measured choice, and one for all others."""
        parts = []
        for columns, levels in zip(self._columns, self._levels, strict=True):
            apart = (x[..., None, columns].detach() - levels).abs().amax(dim=-1)
            known = (apart < SAME).to(x)
            parts.append(torch.cat([known, 1 - known.amax(dim=-1, keepdim=True)], dim=-1))
        return torch.cat(parts, dim=-1) if parts else x[..., :0]

    def extend(self, columns: Columns) -> Columns:
        """What the columns are together with the appended ones."""
        widths = [len(levels) + 1 for levels in self._levels]
        first = int(columns.groups.max()) + 1
        groups = np.repeat(first + np.arange(len(widths)), widths)
        category = np.ones(len(groups), dtype=bool)
        return Columns(np.append(columns.groups, groups), np.append(columns.category, category))
