"""A model of the image first, then gradients from the best structures that it found.

A model of few values shows where to begin, a gradient the way up from there. On absorbers, random starts are as good
(docs/design-strategies.md has the figures).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Space, Surrogate
from matloop.orchestrator.strategies.design.ascent import GradientAscent
from matloop.orchestrator.strategies.design.chains import CHAIN
from matloop.orchestrator.strategies.design.image_model import ImageModel
from matloop.orchestrator.trial import Objective, Proposal, Trial, Unanswered


class InverseDesign:
    """`image_model` until so many structures were tried, then `gradient_ascent` from the best of these.

    Args:
        space: Vectorised and Rendering, as `latent` is.
        objectives: one, without limits.
        artifacts: has the gradients.
        surrogate: see `ImageModel`.
        data: trials of earlier studies; they count as tried, and climbs begin at the best of them, too.
        initial: random structures of these, >= 2, see `ImageModel`.
        modelled: structures that are tried before the first climb, >= 0.
        candidates, highest_frequency, symmetric: see `ImageModel`.
        steps, step, momentum, patience: see `GradientAscent`.
        like_data, smallest_feature: see `GradientAscent`.
        seed: of the fits and of the structures that stand for the data.
    """

    name = "inverse_design"
    differentiates = True
    slow = True

    def __init__(
        self,
        *,
        space: Space,
        objectives: tuple[Objective, ...],
        artifacts: ArtifactStore,
        surrogate: Surrogate | None = None,
        data: tuple[Trial, ...] = (),
        initial: int = 10,
        modelled: int = 20,
        candidates: int = 128,
        highest_frequency: int = 3,
        symmetric: bool = True,
        steps: int = 60,
        step: float = 0.05,
        momentum: float = 0.7,
        patience: int = 3,
        like_data: float | None = 0.95,
        smallest_feature: int = 0,
        seed: int = 0,
    ) -> None:
        at_least(0, self.name, modelled=modelled)
        same: dict[str, Any] = {"like_data": like_data, "smallest_feature": smallest_feature, "seed": seed}
        self._modelled, self._count = modelled, len(data)
        self._model = ImageModel(
            space=space,
            objectives=objectives,
            surrogate=surrogate,
            data=data,
            initial=initial,
            candidates=candidates,
            highest_frequency=highest_frequency,
            symmetric=symmetric,
            **same,
        )
        self._ascent = GradientAscent(
            space=space,
            objectives=objectives,
            artifacts=artifacts,
            data=data,
            starts=0,
            steps=steps,
            step=step,
            momentum=momentum,
            patience=patience,
            **same,
        )

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose at most n points; see `Strategy.ask`."""
        proposals: list[Proposal] = []
        left = self._modelled - self._count - sum(1 for one in pending if CHAIN not in one.extra)
        if left > 0:
            proposals += self._model.ask(min(n, left), pending, rng)
        if len(proposals) < n:
            proposals += self._ascent.ask(n - len(proposals), [*pending, *proposals], rng)
        return proposals

    def tell(self, trial: Trial) -> None:
        """Let both learn from it."""
        self._count += CHAIN not in trial.extra
        self._model.tell(trial)
        self._ascent.tell(trial)
