"""Choices of categories that nobody has tried yet: each deserves a look while it may hold the best.

A model knows nothing of a choice that was never tried, and in a pool a bound or an expected improvement prefers what is
known to be good: of twelve ligands three were tried in twenty experiments. So every third proposal goes to a choice
without a measurement, as long as there is one whose best point the model cannot rule out: what it may plausibly reach
there, two standard deviations above what is expected, is more than the best that was measured. Which of its points is a
matter of the acquisition function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from matloop.search_spaces.columns import labels

if TYPE_CHECKING:
    from botorch.models.model import Model

PLAUSIBLE = 2.0
"""Standard deviations above the mean that cannot be ruled out."""

EVERY = 3
"""One proposal in so many looks at choices without a measurement."""

CHUNK = 1024
"""Points that a model is asked about at once."""


class Levels:
    """Which encoded points have a choice that was never tried."""

    def __init__(self, space: Any) -> None:
        """Args: space: any; one that does not name its columns, or has no categories, has no such points."""
        columns = labels(space) or ()
        self._names = [f"{c.parameter} {c.level}" for c in columns if c.kind == "category"]
        self._columns = torch.tensor([i for i, c in enumerate(columns) if c.kind == "category"], dtype=torch.long)

    def due(self, measured: int, chosen: int) -> bool:
        """Whether the next proposal is to look: after so many measurements, and points being measured or chosen."""
        return len(self._columns) > 0 and (measured + chosen) % EVERY == 0

    def untried(self, x: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """(n,) bool: which of (n, d) points have a choice that none of (k, d) has."""
        seen = (known[:, self._columns] > 0.5).any(dim=0)
        found: torch.Tensor = (x[:, self._columns[~seen]] > 0.5).any(dim=1)
        return found

    def worth_a_look(self, model: Model, x: torch.Tensor, known: torch.Tensor, best: float) -> torch.Tensor:
        """(n,) bool: which of (n, d) points have an untried choice and may plausibly exceed a gain.

        Args:
            model: of gains, one output.
            x: (n, d) float64, candidates.
            known: (k, d) float64, measured and pending points.
            best: gain to exceed.
        """
        worth = self.untried(x, known)
        if worth.any():
            with torch.no_grad():
                parts: list[Any] = [model.posterior(part.unsqueeze(1)) for part in torch.split(x[worth], CHUNK)]
                high = torch.cat([(p.mean + PLAUSIBLE * p.variance.sqrt())[:, 0, 0] for p in parts])
            worth[worth.clone()] = high > best
        return worth

    def name(self, place: torch.Tensor, known: torch.Tensor) -> str:
        """The untried choices of one encoded point (d,), for people."""
        new = ~(known[:, self._columns] > 0.5).any(dim=0) & (place[self._columns] > 0.5)
        return " and ".join(name for name, is_new in zip(self._names, new.tolist(), strict=True) if is_new)
