"""Screening: breed many children, let the fitness predictor choose the one that is worth measuring.

A predictor that is always obeyed makes a search fast at first and stuck later. Three things keep it open: each
choice follows one machine of the bag, drawn at random (Thompson sampling: where the machines agree the choice is
greedy, where they do not it explores); the number of children that it may choose from shrinks with its measured
skill, down to one; and a fixed share of proposals goes unscreened.

Reference: W. R. Thompson, "On the likelihood that one unknown probability exceeds another", Biometrika 25 (1933) 285.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.protocols import Array, Encodable
from orchestrator.randomness import derive_seed
from orchestrator.trial import Point, Trial
from surrogates.fitness_svm import FitnessSVM, FittedSVM, standing

FEWEST = 8
"""Measured trials before the first fit."""

STALE = 200
"""A fit is good enough while fewer than 1 / STALE of all answers came after it, so that long campaigns fit seldom."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the predictor made of the candidates.

    Attributes:
        chosen: index of the child to measure.
        candidates: how many there were; 1 means that it was not screened, only predicted.
        reason: the rest of the proposal's sentence.
        extra: recorded with the proposal: predicted rank in [0, 1] (0 best), its spread, and the skill.
    """

    chosen: int
    candidates: int
    reason: str
    extra: dict[str, Any]


class Screen:
    """The predictor and what it learns from; a pure function of the measured trials in the order told.

    Args:
        predictor: settings.
        space: encodes each point once.
    """

    def __init__(self, predictor: FitnessSVM, space: Encodable) -> None:
        self._predictor = predictor
        self._space = space
        self._count = 0
        self._best: list[tuple[Array, Array]] = []
        self._recent: deque[tuple[Array, Array]] = deque()
        self._training: tuple[int, list[tuple[Array, Array]]] | None = None
        self._fitted: tuple[int, FittedSVM] | None = None

    def tell(self, trial: Trial, row: Array) -> None:
        """Learn from a measured trial.

        Args:
            trial: answered.
            row: (m,) float64, its losses.
        """
        self._count += 1
        self._recent.append((self._space.encode([trial.point])[0], row))
        if len(self._recent) > self._predictor.window // 2:
            self._best.append(self._recent.popleft())
        since = self._count - (self._training[0] if self._training else 0)
        if self._count >= FEWEST and since >= max(self._predictor.refit_every, self._count // STALE):
            self._keep_best()
            self._training = (self._count, [*self._best, *self._recent])

    def candidates(self, rng: np.random.Generator) -> int:
        """How many children to breed for the next proposal: 1 if it is to go unscreened."""
        model = self._model()
        if model is None or rng.random() < self._predictor.unscreened:
            return 1
        return 1 + round(max(0.0, model.skill) * (self._predictor.children - 1))

    def choose(self, points: Sequence[Point], rng: np.random.Generator) -> Verdict | None:
        """Choose the child to measure; None if there is no model yet."""
        model = self._model()
        if model is None:
            return None
        predicted = model.predict(self._space.encode(points))
        opinion = predicted[rng.integers(len(predicted))]
        chosen = int(np.argmin(opinion))
        mean, spread = float(predicted[:, chosen].mean()), float(predicted[:, chosen].std())
        worse = int((opinion > opinion[chosen]).sum())
        return Verdict(
            chosen=chosen,
            candidates=len(points),
            reason=(
                f"predicted better than {worse} of {len(points) - 1} other children (skill {model.skill:.2f})"
                if len(points) > 1
                else f"not screened (predicted rank {mean:.2f}, skill {model.skill:.2f})"
            ),
            extra={"predicted_rank": mean, "predicted_rank_std": spread, "skill": model.skill},
        )

    def _keep_best(self) -> None:
        room = self._predictor.window - self._predictor.window // 2
        if len(self._best) > room:
            order = np.argsort(standing(np.array([row for _, row in self._best])), kind="stable")
            self._best = [self._best[i] for i in np.sort(order[:room])]

    def _model(self) -> FittedSVM | None:
        """The fit to the last complete set of answers, made when first needed, so that a replay fits only once."""
        if self._training is None:
            return None
        count, rows = self._training
        if self._fitted is None or self._fitted[0] != count:
            x, y = (np.array(column) for column in zip(*rows, strict=True))
            self._fitted = (count, self._predictor.fit(x, y, seed=derive_seed("fitness_svm", count)))
        return self._fitted[1]
