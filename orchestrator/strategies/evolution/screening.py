"""Screening: candidate children are judged by the fitness predictor, and its judgement by how it did before.

A predictor that is always obeyed makes a search fast at first and stuck later. Three things keep it open: candidates
are judged by their expected improvement or, for half of the proposals, by a machine drawn at random from all that the
trials allow (Thompson sampling), which explores where little is known; the number of candidates, and with it the
number of generations that they are bred away from measured trials, shrinks with its skill on left-out trials (less a
standard error, so that luck is not taken for skill), down to one; and a fixed share of proposals goes unscreened.

Pending trials count as measured with what the predictor expects of them, so that workers are not all sent to the same
place.

References:
    D. R. Jones, M. Schonlau, W. J. Welch, "Efficient global optimization of expensive black-box functions", J. Global
    Optimization 13 (1998) 455.
    D. Ginsbourger, R. Le Riche, L. Carraro, "Kriging is well-suited to parallelize optimization", in Computational
    Intelligence in Expensive Optimization Problems, Springer (2010) 131, for pending trials.
    W. R. Thompson, "On the likelihood that one unknown probability exceeds another", Biometrika 25 (1933) 285.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from matloop.orchestrator.protocols import Array, Encodable
from matloop.orchestrator.trial import Point, Trial
from matloop.surrogates.fitness_svm import FitnessSVM, FittedSVM, standing

FEWEST = 8
"""Measured trials before the first fit."""

REFIT_GROWTH = 200
"""The predictor is fitted again when answers have grown by 1 / REFIT_GROWTH, so that long campaigns fit seldom."""

BELIEVED = 100
"""Pending trials that count as measured (a "kriging believer"), the latest ones."""

GREEDY = 0.5
"""Share of screened proposals that go by expected improvement; the rest by a machine drawn at random."""


@dataclass(frozen=True)
class Assessment:
    """The predictor's judgement of candidates for one proposal.

    Attributes:
        model: the machine, believing in what is pending.
        space: encodes points.
        candidates: how many children it may choose from; 1 means that the proposal goes unscreened.
        merit: of encoded points, larger is better.
    """

    model: FittedSVM
    space: Encodable
    candidates: int
    merit: Callable[[Array], Array]

    @property
    def screened(self) -> bool:
        """Whether there is a choice at all."""
        return self.candidates > 1

    def judge(self, points: Sequence[Point]) -> list[float]:
        """Merit of each point."""
        merits: list[float] = self.merit(self.space.encode(points)).tolist()
        return merits

    def notes(self, point: Point) -> dict[str, float]:
        """Recorded with a proposal: predicted rank in [0, 1] (0 best), its spread, and the skill."""
        rank, spread = self.model.ranks(self.space.encode([point]))
        return {
            "predicted_rank": float(rank[0]),
            "predicted_rank_std": float(spread[0]),
            "skill": self.model.skill,
        }


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

    @property
    def offspring(self) -> int:
        """Candidates bred in one generation."""
        return -(-self._predictor.children // self._predictor.generations)

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
        if self._count >= FEWEST and since >= max(self._predictor.refit_every, self._count // REFIT_GROWTH):
            self._keep_best()
            self._training = (self._count, [*self._best, *self._recent])

    def assessment(self, in_flight: Sequence[Point], rng: np.random.Generator) -> Assessment | None:
        """What the predictor thinks, for the next proposal; None before the first fit.

        Args:
            in_flight: points pending or proposed just now, in order; the last `BELIEVED` count.
            rng: decides whether the proposal goes unscreened and by which criterion it is chosen.
        """
        model = self._model()
        if model is None:
            return None
        candidates = 1 + round(model.trust * (self._predictor.children - 1))
        if rng.random() < self._predictor.unscreened or candidates == 1:
            return Assessment(model, self._space, 1, model.improvement)
        model = model.believing(self._space.encode(in_flight[-BELIEVED:]))
        if rng.random() < GREEDY:
            return Assessment(model, self._space, candidates, model.improvement)
        drawn = model.sample(rng)
        return Assessment(model, self._space, candidates, lambda x: -drawn(x))

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
            self._fitted = (count, self._predictor.fit(x, y))
        return self._fitted[1]
