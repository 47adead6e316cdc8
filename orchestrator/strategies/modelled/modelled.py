"""What strategies that fit a surrogate share: a space-filling start, predictions, an outlook, reasons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from matloop.orchestrator.errors import NoPrediction
from matloop.orchestrator.protocols import (
    Redrawable,
    Space,
)
from matloop.orchestrator.protocols.strategies import Outlook as Ahead
from matloop.orchestrator.randomness import derive_seed
from matloop.orchestrator.strategies.advice import optimum, stopping
from matloop.orchestrator.strategies.advice.explanation import Choice, Explainer
from matloop.orchestrator.strategies.advice.goals import Goal
from matloop.orchestrator.strategies.advice.prospects import prospects
from matloop.orchestrator.strategies.advice.record import STRETCH
from matloop.orchestrator.strategies.advice.stopping import CANDIDATES, Outlook, outlook
from matloop.orchestrator.strategies.modelled import values
from matloop.orchestrator.strategies.modelled.learner import Learner, modelling
from matloop.orchestrator.strategies.modelled.transfer import trust
from matloop.orchestrator.strategies.random import Sampler
from matloop.orchestrator.strategies.spread import Spread
from matloop.orchestrator.strategies.tried import Reserved, exhausted
from matloop.orchestrator.trial import Point, Prediction, Proposal, Unanswered
from matloop.surrogates.outputs import subset

if TYPE_CHECKING:
    from botorch.models.model import Model

OUTLOOK_CANDIDATES = 160
"""Candidates that the outlook recorded with a proposal is taken over: an ask must not wait for it."""


PREDICTED_AT_ONCE = 256
"""Points whose predictions are computed together."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What was chosen in one ask.

    Attributes:
        proposals: in the order of choice.
        considered: (c, d) float64, the candidates of the first choice, encoded; None if nothing was chosen from any.
    """

    proposals: Sequence[Proposal]
    considered: torch.Tensor | None = None


class ModelBased(Learner, ABC):
    """Proposes space-filling points until enough have answered, then asks a model."""

    slow = True  # fits take seconds: with several slots, asked on a thread of its own

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose at most n points; see `Strategy.ask`."""
        if not self._ready():
            proposals = self._start.ask(n, pending, rng)
            return [replace(p, point=now) for p in proposals for now in self._now([p.point])]
        reserved = self._tried.pending(pending)
        with modelling(int(rng.integers(2**63))):
            model = self._model()
            if isinstance(model, Redrawable):
                model = model.redraw(int(rng.integers(2**63)))
            batch = self._propose(n, model, pending, reserved, rng)
            proposals = list(batch.proposals)
            if self.explain and batch.considered is not None and not self._narrowed:
                ahead = self._glance(model, batch.considered, pending)
                if ahead is not None:
                    proposals[0] = replace(proposals[0], extra={**proposals[0].extra, "outlook": ahead.as_json()})
        if not proposals and not pending:
            raise exhausted(self.space)
        return self._conditions.noted(proposals, self._given)

    def ask_within(
        self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator, part: Space
    ) -> list[Proposal]:
        """Propose from a part of the space, by a model of all that was measured; see `AsksWithin.ask_within`."""
        sampler, start = self._sampler, self._start
        known = [trial.point for trial in self._answered]
        self._sampler, self._start = Sampler(part), Spread(part, known, self._tried)
        self.space = self._part = part
        try:
            return self.ask(n, pending, rng)
        finally:
            self.space, self._part = self._whole, None
            self._sampler, self._start = sampler, start

    def outlook(self, rng: np.random.Generator, delta: float | None = None, q: int = 1) -> Ahead | None:
        """What there is still to be had; see `WithOutlook.outlook` and `stopping.outlook`.

        Returns:
            None before the model is asked.
        """
        goal = self._goal()
        if goal is None:
            return None
        with modelling(int(rng.integers(2**63))):
            model = self._model()
            kept = self.limits.kept(self._answered)
            gains = self._settled(model)[kept][:, self.limits.goals]
            worth = goal.score(gains, torch.full_like(gains, 1e-12))
            points = [self._conditions.planned(self._answered[i].point) for i in kept]
            best = [points[i] for i in worth.argsort(descending=True, stable=True).tolist()]
            nothing = self._tried.pending(())
            candidates = prospects(
                self.space,
                subset(model, self.limits.goals),
                lambda p: self._encode(self._now(p)),
                lambda n: self._samples(n, nothing, rng),
                best,
                self._tried,
                rng,
                goal.score,
            )
            return self._look_ahead(model, goal, candidates, q, delta)

    @property
    def target(self) -> Mapping[str, tuple[float, float]]:
        """Values that are wanted by objective; see `Predicting.target`."""
        return {}

    def predict(self, points: Sequence[Point]) -> list[Prediction]:
        """What the model expects of any points; see `Predicting.predict`."""
        with self._foresight() as model:
            parts = torch.split(self._encode(points), PREDICTED_AT_ONCE)
            return [prediction for part in parts for prediction in self._predict(model, part)]

    def works(self, points: Sequence[Point]) -> list[float] | None:
        """Probability that experiments work; see `Predicting.works`."""
        with self._foresight():
            found = self._works(self._encode(points))
            return None if found is None else found.tolist()

    def optimum(self, rng: np.random.Generator) -> list[Point]:
        """Where the model expects the best; see `Predicting.optimum`."""
        with self._foresight() as model:
            known = [self._conditions.planned(trial.point) for trial in self._answered]

            def merit(x: torch.Tensor) -> torch.Tensor:
                return optimum.likely(self._merit(model, x), self._may_count(model, x))

            return optimum.search(self.space, self._encode, merit, known, rng)

    @contextmanager
    def _foresight(self) -> Iterator[Model]:
        """The model of what was told so far, its random numbers from what was told alone."""
        count = len(self._answered)
        if count >= self.initial and not self._ready():
            lacking = " and ".join(o.name for o in self.objectives if not values.enough(self._answered, (o,)))
            raise NoPrediction(f"expected at least {values.LEAST} values of {lacking or 'every objective'}; tell more")
        if not self._ready():
            raise NoPrediction(
                f"expected at least {self.initial} experiments with results before {self.name} predicts, got {count}; "
                f"tell {self.initial - count} more, or ask for a smaller `initial` in the campaign file"
            )
        with modelling(derive_seed(self._seed, "predict", count)):
            yield self._model()

    def _merit(self, model: Model, x: torch.Tensor) -> torch.Tensor:
        """(n, k) float64, what is to be as large as possible at (n, d) encoded points: the expected gains."""
        return optimum.means(subset(model, self.limits.goals), x)

    @abstractmethod
    def _propose(
        self, n: int, model: Model, pending: Sequence[Unanswered], reserved: Reserved, rng: np.random.Generator
    ) -> Batch:
        """Choose up to n untried points by the model; torch's generator is seeded around the call."""

    def _notes(
        self,
        model: Model,
        point: Point,
        place: torch.Tensor,
        choice: Choice | None = None,
        feasible: float | None = None,
    ) -> dict[str, Any]:
        """What is recorded with a proposal: whose it is, how its prediction was stretched, and why it was made."""
        notes = {"origin": self.name, STRETCH: self._record.stretch(), **trust(model, self.earlier, self.objectives)}
        notes |= self._outcomes().notes(self._answered)
        notes |= {"worth": choice.worth} if choice else {}
        if not self.explain:
            return notes
        explanation = self._explainer_of(model)(point, place, choice, feasible)
        if self.limits:
            explanation["limits"] = self._bounds.chances(model, place)
        intervals = {name: list(ends) for name, ends in self._predict(model, place[None])[0].interval.items()}
        return {**notes, "explanation": {**explanation, "interval": intervals}}

    def _explainer_of(self, model: Model) -> Explainer:
        """Made anew when the model or the answers have changed."""
        count = len(self._answered)
        if self._explainer is None or self._explainer[0] is not model or self._explainer[1] != count:
            x = self._encode(t.point for t in self._answered)
            explainer = Explainer(
                space=self.space, model=model, x=x, answered=list(self._answered), objectives=self.objectives,
                gains=self._outcomes().scales.gains,
            )  # fmt: skip
            self._explainer = model, count, explainer
        return self._explainer[2]

    def _goal(self) -> Goal | None:
        """What it seeks; None before the model is asked, or if it seeks to know."""
        return None

    def _glance(self, model: Model, considered: torch.Tensor, pending: Sequence[Unanswered]) -> Ahead | None:
        """The outlook that is recorded with a proposal, over what was (c, d) considered for it."""
        goal = self._goal()
        if goal is None:
            return None
        places = torch.cat([considered, self._encode(t.point for t in pending)])
        return self._look_ahead(model, goal, places, 1, most=OUTLOOK_CANDIDATES)

    def _look_ahead(
        self, model: Model, goal: Goal, x: torch.Tensor, q: int, delta: float | None = None, most: int = CANDIDATES
    ) -> Outlook:
        """Outlook over (c, d) encoded candidates; the draws depend on the answers alone."""
        count = len(self._answered)
        kept = [self._answered[i] for i in self.limits.kept(self._answered)]
        return outlook(
            subset(model, self.limits.goals),
            goal=goal,
            known=self._encode(t.point for t in kept),
            candidates=x,
            answered=kept,
            works=self._may_count(model, x),
            spread=self._caution(self.limits.goals),
            delta=delta,
            q=q,
            most=most,
            seed=derive_seed(self._seed, "outlook", count),
        )

    def _caution(self, outputs: Sequence[int]) -> list[float]:
        """Of each of these objectives, factor >= 1 by which functions are spread for the predictions that missed."""
        stretch = self._record.spread(stopping.RECORD_PRIOR)
        return [max(1.0, stretch[j]) for j in outputs]

    def _may_count(self, model: Model, x: torch.Tensor) -> torch.Tensor | None:
        """(c,) probability that the experiment works and keeps all limits; None if nothing speaks against it."""
        works = self._works(x) if len(x) else None
        if not self.limits or not len(x):
            return works
        with torch.no_grad():
            kept = self._bounds.log_probability(model, x).exp()
        return kept if works is None else works * kept

    def _works(self, x: torch.Tensor) -> torch.Tensor | None:
        """(c,) probability that the experiment works at (c, d) encoded points; None if nothing speaks against it."""
        return None
