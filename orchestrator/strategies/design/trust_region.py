"""Bayesian optimisation within a region around the best structure, which grows with success and shrinks without.

Source: Eriksson, Pearce, Gardner, Turner & Poloczek, "Scalable global optimization via local Bayesian optimization"
(TuRBO), NeurIPS (2019), with one region at a time. Unlike there, the model keeps what earlier regions have measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from botorch.acquisition.acquisition import AcquisitionFunction

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Array, Space, Surrogate
from matloop.orchestrator.strategies.design.features import Decoded, Plain
from matloop.orchestrator.strategies.design.image_model import ImageModel
from matloop.orchestrator.strategies.tried import Reserved
from matloop.orchestrator.trial import Objective, Proposal, Trial, Unanswered
from matloop.surrogates.gaussian_process.gp import GP

REGION = "region"
"""Key of `Proposal.extra`: which region, from 0."""

FIRST, SMALLEST, LARGEST = 0.8, 0.5**7, 1.6
"""Side of a region over that of the space: at first, when it is given up, at most."""

SUCCESSES = 3
"""In a row, after which the region's side doubles."""

BETTER = 1e-3
"""Improvement that counts as a success, over the size of the best gain."""

MOVED = 20
"""Coordinates in which a candidate differs from the best, on average, if there are as many."""


@dataclass(frozen=True, slots=True)
class Region:
    """The present one.

    Attributes:
        number: from 0.
        side: over that of the space.
        trials: measured in it, in the order told.
        best: of these; None while there are none.
    """

    number: int
    side: float
    trials: int
    best: Trial | None


class TrustRegion(ImageModel):
    """Random structures, then those that a function drawn from the model has for best within the region.

    Args:
        space: Vectorised and Rendering, as `latent` is.
        objectives: one, without limits.
        surrogate: by default `Isotropic` of the image and `GP` of latent vectors.
        data: trials of earlier studies; they belong to the first region.
        model: whether the model sees the image or the latent vector.
        initial: random structures at the start of each region, >= 2.
        failures: in a row, after which the side halves, >= 1; None for one each coordinate, as published, at least 4.
        candidates: see `ImageModel`.
        highest_frequency, symmetric: see `PowerSpectrum`.
        like_data, smallest_feature: see `GradientAscent`.
        seed: see `ImageModel`.
    """

    name = "trust_region"

    def __init__(
        self,
        *,
        space: Space,
        objectives: tuple[Objective, ...],
        surrogate: Surrogate | None = None,
        data: tuple[Trial, ...] = (),
        model: Literal["image", "latent"] = "image",
        initial: int = 16,
        failures: int | None = None,
        candidates: int = 512,
        highest_frequency: int = 3,
        symmetric: bool = True,
        like_data: float | None = 0.95,
        smallest_feature: int = 0,
        seed: int = 0,
    ) -> None:
        at_least(1, self.name, failures=failures)
        if model not in ("image", "latent"):
            raise ConfigError(f"{self.name}: expected model: image or latent, got {model!r}", at="model")
        self.view = Decoded if model == "image" else Plain
        super().__init__(
            space=space,
            objectives=objectives,
            surrogate=surrogate or (None if model == "image" else GP(draws=1)),
            data=data,
            initial=initial,
            acquisition="thompson",
            candidates=candidates,
            highest_frequency=highest_frequency,
            symmetric=symmetric,
            like_data=like_data,
            smallest_feature=smallest_feature,
            seed=seed,
        )
        self._before = len(self._answered)  # of earlier studies, whose regions are not those of this one
        self._failures = failures or max(4, self._structures.bounds.shape[1])

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose at most n points; see `Strategy.ask`."""
        region = self._region()
        waiting = sum(1 for one in pending if one.extra.get(REGION) == region.number)
        random = min(n, max(0, self.initial - region.trials - waiting))
        if not self._ready() or region.best is None:
            random = n
        drawn = self._admissible.fresh(random, pending, rng) if random else ()
        notes = {"origin": self.name, REGION: region.number}
        reason = f"a random structure, to begin region {region.number}"
        proposals = [self._admissible.proposal(z, reason, notes) for z in drawn]
        if len(proposals) < n:
            proposals += super().ask(n - len(proposals), [*pending, *proposals], rng)
        return proposals

    def _search(
        self, function: AcquisitionFunction, gains: Array, reserved: Reserved, rng: np.random.Generator
    ) -> Array:
        region = self._region()
        assert region.best is not None
        centre = self._structures.vectors([region.best.point])[0]
        z, values = self._valued(function, self._around(centre, region.side, rng), reserved)
        if not len(z) or not np.isfinite(values).any():
            return self._admissible.fresh(1, (), rng)[0]
        return z[int(np.argmax(values))]

    def _around(self, centre: Array, side: float, rng: np.random.Generator) -> Array:
        """(c, d) vectors that differ from the centre in some coordinates, evenly within the region."""
        d = len(centre)
        moved = rng.random((self.candidates, d)) < min(1.0, MOVED / d)
        moved[np.arange(self.candidates), rng.integers(d, size=self.candidates)] = True
        if self._structures.normal:
            half = side / 2 * np.sqrt(12.0) * np.ones(d)  # a side of 1 has the spread of the numbers
            z = centre + moved * rng.uniform(-half, half, (self.candidates, d))
            return z * np.linalg.norm(centre) / np.linalg.norm(z, axis=1, keepdims=True)
        low, high = self._structures.bounds
        half = side * (high - low) / 2
        ends = np.maximum(centre - half, low), np.minimum(centre + half, high)
        return np.where(moved, rng.uniform(*ends, (self.candidates, d)), centre)

    def _region(self) -> Region:
        """The present one, from the trials told in their order."""
        number, side, row, trials, best = 0, FIRST, 0, 0, None
        for i, trial in enumerate(self._answered):
            if (0 if i < self._before else trial.extra.get(REGION, 0)) != number:
                continue
            trials += 1
            gain, top = self._gain(trial), -np.inf if best is None else self._gain(best)
            better = gain > top + BETTER * abs(top) if best is not None else True
            best = trial if gain > top else best
            if trials <= self.initial:
                continue
            row = max(row, 0) + 1 if better else min(row, 0) - 1
            if row >= SUCCESSES:
                side, row = min(2 * side, LARGEST), 0
            elif -row >= self._failures:
                side, row = side / 2, 0
            if side < SMALLEST:
                number, side, row, trials, best = number + 1, FIRST, 0, 0, None
        return Region(number, side, trials, best)

    def _gain(self, trial: Trial) -> float:
        return -self.objectives[0].loss((trial.values or {})[self.objectives[0].name])

    def _remarks(self) -> dict[str, Any]:
        return {REGION: self._region().number}
