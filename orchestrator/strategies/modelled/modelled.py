"""What strategies that fit a surrogate share: a space-filling start, cached fits, predictions, no point twice."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gpytorch.utils.warnings import NumericalWarning

from matloop.orchestrator.earlier import Earlier
from matloop.orchestrator.errors import ConfigError, InvalidPoint, NoPrediction, SpaceExhausted
from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import (
    Encodable,
    Lenient,
    Redrawable,
    Situated,
    Space,
    Surrogate,
    Vectorised,
    require,
)
from matloop.orchestrator.protocols.strategies import Outlook as Ahead
from matloop.orchestrator.randomness import derive_seed, torch_seed
from matloop.orchestrator.strategies.advice import optimum, stopping
from matloop.orchestrator.strategies.advice.explanation import Choice, Explainer
from matloop.orchestrator.strategies.advice.goals import Goal
from matloop.orchestrator.strategies.advice.prospects import prospects
from matloop.orchestrator.strategies.advice.record import STRETCH, Record
from matloop.orchestrator.strategies.advice.stopping import CANDIDATES, Outlook, outlook
from matloop.orchestrator.strategies.modelled import values
from matloop.orchestrator.strategies.modelled.conditions import Conditions
from matloop.orchestrator.strategies.modelled.drift import Drift
from matloop.orchestrator.strategies.modelled.outcomes import Outcomes
from matloop.orchestrator.strategies.modelled.transfer import WITH_EARLIER, split, transferred, trust
from matloop.orchestrator.strategies.modelled.values import Limits
from matloop.orchestrator.strategies.random import Sampler
from matloop.orchestrator.strategies.space_filling import SpaceFilling
from matloop.orchestrator.strategies.spread import Spread
from matloop.orchestrator.strategies.tried import Reserved, Tried, exhausted
from matloop.orchestrator.trial import Objective, Point, Prediction, Proposal, Trial, Unanswered
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.outputs import fit_each, subset
from matloop.surrogates.uncertainty.interval import interval

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


class ModelBased(ABC):
    """Proposes space-filling points until enough have answered, then asks a model.

    Fits happen in `ask` and depend on the answered trials and the seed alone, so that a replayed study refits the
    same model; the fit is kept until it is due again.
    """

    name: str
    slow = True  # fits take seconds: with several slots, asked on a thread of its own

    def __init__(
        self,
        *,
        space: Space,
        objectives: tuple[Objective, ...],
        surrogate: Surrogate | None,
        initial: int,
        data: Sequence[Trial | Earlier],
        refit_every: int,
        explain: bool,
        seed: int,
        drift: str | None = None,
    ) -> None:
        at_least(2, self.name, initial=initial)
        at_least(1, self.name, refit_every=refit_every)
        if not objectives:
            raise ConfigError(f"{self.name}: expected at least one objective, got none; name one under `objectives`")
        self.space = self._whole = space
        self.objectives = objectives
        self.limits = Limits(objectives)
        self.initial = initial
        self.refit_every = refit_every
        self.explain = explain
        self._drift = None if drift is None else Drift(drift, space)
        self._encoder = require(space, Encodable, self.name)  # type: ignore[type-abstract]
        told, self.earlier = split(data)
        self._surrogate = surrogate or _default(space)
        if self.earlier:
            self.initial = min(initial, WITH_EARLIER)
            self._surrogate = transferred(self._surrogate, self.earlier, self._encode, objectives)
        self._seed = seed
        self._sampler = Sampler(space)
        self._start: SpaceFilling | Spread = SpaceFilling(space=space, seed=seed)
        self._tried = Tried()
        self._part: Any = None  # of the space, while one is asked for
        self._conditions = Conditions(space)
        self._answered: list[Trial] = []
        self._fitted: tuple[int, Model] | None = None
        self._record = Record(objectives)
        self._outcomes_: tuple[int, Outcomes] | None = None
        self._explainer: tuple[Model, int, Explainer] | None = None
        for trial in told:
            self._check(trial)
            self.tell(trial)
        if told and not self._answered:
            raise ConfigError(
                f"{self.name}: none of the {len(told)} trials in `data` has values for "
                f"{[o.name for o in objectives]}; take data from a study with the same objectives",
                at="data",
            )

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose at most n points; see `Strategy.ask`."""
        if not self._ready():
            proposals = self._start.ask(n, pending, rng)
            return [replace(p, point=now) for p in proposals for now in self._now([p.point])]
        reserved = self._tried.pending(pending)
        with torch_seed(int(rng.integers(2**63))), quiet():
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
        with torch_seed(int(rng.integers(2**63))), quiet():
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
        with torch_seed(derive_seed(self._seed, "predict", count)), quiet():
            yield self._model()

    def _merit(self, model: Model, x: torch.Tensor) -> torch.Tensor:
        """(n, k) float64, what is to be as large as possible at (n, d) encoded points: the expected gains."""
        return optimum.means(subset(model, self.limits.goals), x)

    def tell(self, trial: Trial) -> None:
        """Remember a finished trial; a failed one only so that its point is not tried again."""
        assert not isinstance(self._start, Spread)  # that is there for an ask alone
        self._start.tell(trial)
        self._tried.add(trial)
        if trial.values is not None and any(o.name in trial.values for o in self.objectives):
            self._answered.append(self._conditions.tell(trial))
            self._record.add(trial)

    @abstractmethod
    def _propose(
        self, n: int, model: Model, pending: Sequence[Unanswered], reserved: Reserved, rng: np.random.Generator
    ) -> Batch:
        """Choose up to n untried points by the model; torch's generator is seeded around the call."""

    def _model(self) -> Model:
        """Model of the answered trials at the last count at which a fit was due."""
        count = self._count_fitted()
        self._meet(count)
        if self._fitted is None or self._fitted[0] != count:
            x, outcomes = self._encode(t.point for t in self._answered[:count]), self._outcomes()
            self._fitted = count, self._fit(x, outcomes, derive_seed(self._seed, self.name, count))
        return self._fitted[1]

    def _meet(self, count: int) -> None:
        """Take the conditions that are asked for, or what the first results say is usual, for those of today."""
        if not self._conditions.names:
            return
        if self._fitted is None or self._fitted[0] != count:
            self._answered = self._conditions.complete(count)
        whole = self._whole if self._part is None else self._part
        self.space = self._conditions.placed(whole, self._given)
        self._encoder = self._conditions.placed(self._whole, self._given)

    def _fit(self, x: torch.Tensor, outcomes: Outcomes, seed: int) -> Model:
        """The surrogate's model of the first trials, of their noise, too, if it knows what to do with it."""
        count, process = len(x), GP(space=self._whole)
        side = values.sides(self._answered[:count], self.objectives)
        units, noise = outcomes.units[:count], outcomes.noise[:count].numpy()
        return fit_each(self._surrogate, x, units, seed, noise, side, process, apart=bool(self.limits))

    def _ready(self) -> bool:
        """Whether there is enough to fit a model to."""
        enough = len(self._answered) >= self.initial
        return enough and values.enough(self._answered[: self._count_fitted()], self.objectives)

    def _settled(self, model: Model) -> torch.Tensor:
        """(n, m) model units, repeats pooled, expectations in place of gaps, and of limits where these say less."""
        places = self._encode(t.point for t in self._answered)
        return values.settled(model, places, self._outcomes().pooled, values.sides(self._answered, self.objectives))

    def _outcomes(self) -> Outcomes:
        """What the answered trials' values are to the present model, on the scales that it was fitted on."""
        if self._outcomes_ is None or self._outcomes_[0] != len(self._answered):
            x = self._encode(t.point for t in self._answered)
            noise = torch.as_tensor(values.noises(self._answered, self.objectives))
            known = self.objectives  # an earlier campaign is told apart from this one by its values, as they are
            if self.earlier:
                known = tuple(replace(o, scale="linear") if o.scale == "auto" else o for o in known)
            drift = None if self._drift is None else partial(self._drift.shifts, self._answered)
            found = Outcomes.of(known, x, self._gains(), noise, self._count_fitted(), drift)
            self._outcomes_ = len(self._answered), found
        return self._outcomes_[1]

    @property
    def _bounds(self) -> Limits:
        """The limits of outcomes, as the model sees them."""
        return self.limits.on(self._outcomes().scales)

    def _count_fitted(self) -> int:
        """Number of answered trials that the present model knows."""
        late = (len(self._answered) - self.initial) % self.refit_every
        return len(self._answered) - late

    def _encode(self, points: Iterator[Point] | Sequence[Point]) -> torch.Tensor:
        """(n, d) float64."""
        return torch.as_tensor(self._encoder.encode(list(points)), dtype=torch.float64)

    def _gains(self) -> torch.Tensor:
        """(n, m) float64: the answered trials' values in their units, with the sign that makes larger better; NaN where
        one is still to come.

        Models are fitted to gains, so that maximising and minimising the negative are the same thing.
        """
        return values.gains(self._answered, self.objectives)

    def _samples(self, n: int, reserved: Reserved, rng: np.random.Generator) -> list[Point]:
        """Up to n random untried points of the space; `reserved` is left as it is."""
        try:
            return self._now(self._sampler.draw(n, self._tried, reserved.copy(), rng))
        except SpaceExhausted:
            return []

    def _inside(self, points: list[Point]) -> list[Point]:
        """The points; while a part of the space is asked for, its points next to them."""
        if not (self._narrowed and isinstance(self.space, Vectorised)):
            return points
        return [self.space.decode(row) for row in self._encode(points).numpy()]

    def _now(self, points: Sequence[Point]) -> list[Point]:
        """The points as they can be done now; see `Drift.now`."""
        return list(points) if self._drift is None else self._drift.now(points, self._answered)

    def _predict(self, model: Model, x: torch.Tensor) -> list[Prediction]:
        """What the model expects to be measured at (n, d) points."""
        stretch, back = torch.tensor(self._record.stretch()), self._outcomes().scales.gains
        with torch.no_grad():
            posterior: Any = model.posterior(x.unsqueeze(1), observation_noise=True)
            mean, std = posterior.mean[:, 0], stretch * posterior.variance.clamp_min(1e-300).sqrt()[:, 0]
            bounds = interval(model, x)
        middle, half = bounds.mean(dim=0), stretch * (bounds[1] - bounds[0]) / 2
        rows = torch.stack(
            [back(mean), (back(mean + std) - back(mean - std)) / 2, back(middle - half), back(middle + half)]
        )
        return [self._prediction(*row) for row in rows.movedim(0, 1).tolist()]

    def _prediction(self, mean: list[float], std: list[float], low: list[float], high: list[float]) -> Prediction:
        """From gains, m of each."""
        names, signs = [o.name for o in self.objectives], [-o.loss(1.0) for o in self.objectives]
        ends = [sorted((sign * a, sign * b)) for sign, a, b in zip(signs, low, high, strict=True)]
        return Prediction(
            mean={name: sign * v for name, sign, v in zip(names, signs, mean, strict=True)},
            std=dict(zip(names, std, strict=True)),
            interval={name: (a, b) for name, (a, b) in zip(names, ends, strict=True)},
        )

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

    @property
    def _narrowed(self) -> bool:
        """Whether a part of the space is asked for."""
        return self._part is not None and self._part is not self._whole

    @property
    def _given(self) -> Mapping[str, float]:
        """Conditions that are asked for."""
        return self._part.given if isinstance(self._part, Situated) else {}

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

    def _is_inside(self, point: Point) -> bool:
        """Whether a point may be proposed: what was measured may lie outside the space."""
        try:
            self.space.check(point)
        except InvalidPoint:
            return False
        return True

    def _check(self, trial: Trial) -> None:
        try:
            if isinstance(self.space, Lenient):
                self.space.check_measured(trial.point, outside=True)
            else:
                self.space.check(trial.point)
        except InvalidPoint as error:
            raise ConfigError(
                f"{self.name}: trial {trial.id} of `data` is not a point of this study's space ({error}); "
                "take data from a study with the same space",
                at="data",
            ) from error


def _default(space: Space) -> Surrogate:
    from matloop.surrogates.blend import Blend

    return Blend(space=space)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence two libraries' notes that say nothing about the data.

    GPyTorch adds jitter to matrices, which near-duplicate points make inevitable; torch mentions once per process that
    it does not check sparse tensors, which GPyTorch uses.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericalWarning)
        warnings.filterwarnings("ignore", message="Sparse invariant checks", category=UserWarning)
        yield
