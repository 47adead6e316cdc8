"""Active learning: measure where knowing the answer most improves the model over the whole space.

What is most uncertain is rarely what is most worth knowing: the largest variance is drawn to remote corners. Two
criteria ask instead how much of the space a measurement says something about. Active learning Cohn (Cohn, Ghahramani &
Jordan, JAIR 1996) counts by how much it reduces the variance averaged over the space, which a Gaussian process knows in
closed form. The features of a network are clustered around what is known
(`matloop.orchestrator.strategies.modelled.clusters`). Of an ensemble of networks a batch is drawn by how much they
disagree (`matloop.orchestrator.strategies.modelled.disagreement`), which goes to uncertain places, but not to many of
a kind, and to crowded regions more often than to empty ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
import torch

from matloop.orchestrator.earlier import Earlier
from matloop.orchestrator.errors import ConfigError, MatloopError
from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Apart, Featured, Finite, Rendering, Space, Surrogate
from matloop.orchestrator.strategies.advice.explanation import Choice
from matloop.orchestrator.strategies.advice.lesson import Lesson, lesson, nothing_left
from matloop.orchestrator.strategies.modelled.clusters import Clusters, CoreSet, embedding
from matloop.orchestrator.strategies.modelled.disagreement import Disagreement, deviations
from matloop.orchestrator.strategies.modelled.learner import modelling
from matloop.orchestrator.strategies.modelled.modelled import OUTLOOK_CANDIDATES, Batch, ModelBased
from matloop.orchestrator.strategies.modelled.variances import Measure, Variances, weights
from matloop.orchestrator.strategies.random import Sampler
from matloop.orchestrator.strategies.tried import Reserved
from matloop.orchestrator.trial import Objective, Point, Proposal, Trial, Unanswered

if TYPE_CHECKING:
    from botorch.models.model import Model


Acquisition = Literal["integrated_variance", "disagreement", "largest_cluster", "core_set", "variance", "bald"]

CANDIDATES = 512
"""Where none were asked for; the joint covariance costs their number squared."""

SAMPLED, LISTED = 2000, 10_000
"""The same for networks and what costs less with them: of a space that is sampled, and of a listed one."""

WIDE = ("disagreement", "largest_cluster", "core_set")
"""Criteria that need no joint covariance of a network's functions."""


class Criterion(Protocol):
    """What candidates are judged by, one after the other."""

    def score(self) -> torch.Tensor:
        """(n,) float64, larger is better; -inf for what is not to be chosen now."""
        ...

    def pick(self, score: torch.Tensor) -> int:
        """Which candidate to take by (n,) scores that have been set to -inf where it may not be taken."""
        ...

    def reason(self, i: int) -> str:
        """Why candidate i, before it is added."""
        ...

    def add(self, i: int) -> None:
        """Count candidate i among the places that will be known."""
        ...


class ActiveLearning(ModelBased):
    """Learns the objectives over the space's own distribution with few measurements."""

    name = "active_learning"

    def __init__(
        self,
        *,
        space: Space,
        objectives: tuple[Objective, ...],
        surrogate: Surrogate | None = None,
        initial: int = 10,
        data: Sequence[Trial | Earlier] = (),
        acquisition: Acquisition | None = None,
        candidates: int | None = None,
        refit_every: int = 1,
        explain: bool = True,
        seed: int = 0,
    ) -> None:
        """Set up the strategy.

        Args:
            space: Encodable; its `sample` (or its points, if Finite) defines where the model has to be good.
            objectives: what to learn; several are weighed by the spread of their measured values.
            surrogate: fitted to what was measured.
            initial: answered trials before the model is asked, >= 2; until then points fill the space.
            data: finished trials of an earlier study, which count towards `initial`; or results of another campaign,
                `{from: PATH, study: NAME, given: {input: value}}`, which the model trusts as far as they foretell this
                one's, and which make do with 4 results before the model is asked, if `initial` is more.
            acquisition: integrated_variance reduces the mean variance over the space; disagreement spreads over where
                the functions of the model disagree, each place drawn by how much (k-means++); largest_cluster stands
                for the part of the space that is known worst (Holzmüller et al., 2023); core_set goes where it is
                farthest from all that is known (Sener & Savarese, 2018), variance where it is largest; bald where a
                measurement tells most about the model (Houlsby et al., 2011), which for one objective with constant
                noise and a Gaussian process is the same place. None takes disagreement with an ensemble of networks,
                largest_cluster with dropout and where networks see images, integrated_variance with any other
                surrogate.
            candidates: points of the space considered at each ask, and over which the variance is averaged, >= 2. None
                for 512; for clusters of a network's features, which cost less, 2,000 and of a listed space up to
                10,000, since the more there are, the better is known what a candidate stands for.
            refit_every: answers between fits, >= 1; answers in between count as places that are known.
            explain: record with each proposal why it was made; false saves the time.
            seed: of the fits and the space-filling points.
        """
        known = get_args(Acquisition)
        if acquisition not in (None, *known):
            raise ConfigError(
                f"{self.name}: expected acquisition to be one of {', '.join(known)}, got {acquisition!r}",
                at="acquisition",
            )
        at_least(2, self.name, candidates=candidates)
        self.acquisition = acquisition
        self.candidates = candidates
        super().__init__(
            space=space,
            objectives=objectives,
            surrogate=surrogate,
            initial=initial,
            data=data,
            refit_every=refit_every,
            explain=explain,
            seed=seed,
        )

    def _propose(
        self, n: int, model: Model, pending: Sequence[Unanswered], reserved: Reserved, rng: np.random.Generator
    ) -> Batch:
        name, most = self._rule(model), CANDIDATES
        if isinstance(model, Featured) and name in WIDE:
            most = LISTED if isinstance(self.space, Finite) else SAMPLED
        points = self._samples(self.candidates or most, reserved, rng)
        if not points:
            return Batch(())
        everywhere = self._everywhere(points, rng) if name == "integrated_variance" else []
        x = self._encode([*points, *everywhere])
        criterion = self._criterion(name, model, x, [t.point for t in pending])
        picks: list[int] = []
        reasons: list[str] = []
        extras: list[dict[str, Any]] = []
        for _ in range(min(n, len(points))):
            score = criterion.score()
            score[picks] = score[len(points) :] = -torch.inf
            best = criterion.pick(score)
            reasons.append(criterion.reason(best))
            among = slice(len(points))
            choice = Choice(name=name, points=points, x=x[among], values=score[among], chosen=best, logarithmic=False)
            extras.append(self._notes(model, points[best], x[best], choice))
            picks.append(best)
            criterion.add(best)
        predictions = self._predict(model, x[picks])
        proposals = [
            Proposal(point=points[i], prediction=prediction, reason=reason, extra=extra)
            for i, prediction, reason, extra in zip(picks, predictions, reasons, extras, strict=True)
        ]
        return Batch(proposals, x)

    def _everywhere(self, points: Sequence[Point], rng: np.random.Generator) -> list[Point]:
        """Where the model has to be good besides these candidates: the whole space, if they are from a part of it."""
        if not self._narrowed:
            return []
        return Sampler(self._whole).draw(len(points), self._tried, self._tried.pending(()), rng)

    def outlook(self, rng: np.random.Generator, delta: float | None = None, q: int = 1) -> Lesson | None:
        """How uncertain the model is over the space, and how much less so after q more measurements.

        Args:
            rng: of the points that stand for the space.
            delta: has no meaning here.
            q: measurements to come, >= 1; they are chosen as the strategy would choose them.

        Returns:
            None before the model is asked.

        Raises:
            MatloopError: delta was given.
        """
        if delta is not None:
            raise MatloopError(f"expected no delta, since nothing is sought but to know, got {delta}; leave it out")
        if not self._ready():
            return None
        with modelling(int(rng.integers(2**63))):
            model = self._model()
            points = self._samples(CANDIDATES, self._tried.pending(()), rng)
            if not points:
                return nothing_left(self.objectives)
            return self._lesson(model, self._encode(points), (), min(q, len(points)))

    def _glance(self, model: Model, considered: torch.Tensor, pending: Sequence[Unanswered]) -> Lesson | None:
        if isinstance(model, Featured):  # thousands of passes through a network, which an ask must not wait for
            return None
        return self._lesson(model, considered[:OUTLOOK_CANDIDATES], pending, 1)

    def _lesson(self, model: Model, x: torch.Tensor, pending: Sequence[Unanswered], q: int) -> Lesson:
        """What q more measurements among (n, d) encoded points would teach, these points standing for the space."""
        waiting = [t.point for t in pending]
        return lesson(
            self._variances(model, x, waiting, "integrated_variance"),
            self._criterion(self._rule(model), model, x, waiting),
            q,
            answered=self._answered,
            objectives=self._named(),
            caution=self._caution(range(len(self.objectives))),
        )

    def _rule(self, model: Model) -> Acquisition:
        """The criterion by name."""
        if self.acquisition is not None:
            return self.acquisition
        if isinstance(model, Apart) and model.apart and not isinstance(self.space, Rendering):
            return "disagreement"
        return "largest_cluster" if isinstance(model, Featured) else "integrated_variance"

    def _criterion(self, name: Acquisition, model: Model, x: torch.Tensor, pending: list[Point]) -> Criterion:
        """For candidates at (n, d) encoded points."""
        if name == "disagreement":
            unseen = self._unseen(pending)
            places = deviations(model, torch.cat([unseen, x]), weights(self._spread()))
            return Disagreement(places[len(unseen) :], places[: len(unseen)])
        if name == "largest_cluster" or name == "core_set":
            known = self._encode([t.point for t in self._answered] + pending)
            places = embedding(model, torch.cat([known, x]))
            kind = Clusters if name == "largest_cluster" else CoreSet
            return kind(places[len(known) :], places[: len(known)])
        return self._variances(model, x, pending, name)

    def _variances(self, model: Model, x: torch.Tensor, pending: list[Point], measure: Measure) -> Variances:
        unseen, spread = self._unseen(pending), self._spread()
        return Variances(model, x, unseen, measure=measure, spread=spread, objectives=self._named())

    def _unseen(self, pending: list[Point]) -> torch.Tensor:
        """(k, d) encoded points whose answers the model has not seen but will."""
        return self._encode([t.point for t in self._answered[self._count_fitted() :]] + pending)

    def _spread(self) -> torch.Tensor:
        """(m,) variance of each objective's measured values."""
        return torch.stack([column[column.isfinite()].var(correction=0) for column in self._outcomes().units.T])

    def _named(self) -> list[Objective]:
        """The objectives, with the unit in which the model is uncertain of them."""
        return [
            o if scale.plain else replace(o, unit=f"on the scale of the model, {scale.warp.name}")
            for o, scale in zip(self.objectives, self._outcomes().scales.each, strict=True)
        ]
