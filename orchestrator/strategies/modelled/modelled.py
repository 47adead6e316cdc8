"""What strategies that fit a surrogate share: a space-filling start, cached fits, predictions, no point twice."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gpytorch.utils.warnings import NumericalWarning

from matloop.orchestrator.errors import ConfigError, InvalidPoint, SpaceExhausted
from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Encodable, Finite, Redrawable, Space, Surrogate, Vectorised, require
from matloop.orchestrator.randomness import derive_seed, torch_seed
from matloop.orchestrator.strategies.advice import stopping
from matloop.orchestrator.strategies.advice.explanation import Choice, Explainer
from matloop.orchestrator.strategies.advice.prospects import prospects
from matloop.orchestrator.strategies.advice.record import STRETCH, Record
from matloop.orchestrator.strategies.advice.stopping import CANDIDATES, Outlook, outlook
from matloop.orchestrator.strategies.modelled.drift import Drift
from matloop.orchestrator.strategies.modelled.outcomes import Outcomes
from matloop.orchestrator.strategies.random import Random, Sampler
from matloop.orchestrator.strategies.space_filling import SpaceFilling
from matloop.orchestrator.strategies.tried import Reserved, Tried, exhausted
from matloop.orchestrator.trial import Objective, Point, Prediction, Proposal, Trial, Unanswered, losses
from matloop.surrogates.noise import fit
from matloop.surrogates.uncertainty.interval import interval

if TYPE_CHECKING:
    from botorch.models.model import Model

OUTLOOK_CANDIDATES = 160
"""Candidates that the outlook recorded with a proposal is taken over: an ask must not wait for it."""


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
    seeks_best = True
    slow = True  # fits take seconds: with several slots, asked on a thread of its own

    def __init__(
        self,
        *,
        space: Space,
        objectives: tuple[Objective, ...],
        surrogate: Surrogate | None,
        initial: int,
        data: Sequence[Trial],
        refit_every: int,
        explain: bool,
        seed: int,
        drift: str | None = None,
    ) -> None:
        at_least(2, self.name, initial=initial)
        at_least(1, self.name, refit_every=refit_every)
        if not objectives:
            raise ConfigError(f"{self.name}: expected at least one objective, got none; name one under `objectives`")
        self.space = space
        self.objectives = objectives
        self.initial = initial
        self.refit_every = refit_every
        self.explain = explain
        self._drift = None if drift is None else Drift(drift, space)
        self._encoder = require(space, Encodable, self.name)  # type: ignore[type-abstract]
        self._surrogate = surrogate or _default(space)
        self._seed = seed
        self._sampler = Sampler(space)
        self._start = SpaceFilling(space=space, seed=seed) if _listable(space) else Random(space=space)
        self._tried = Tried()
        self._answered: list[Trial] = []
        self._fitted: tuple[int, Model] | None = None
        self._record = Record(objectives)
        self._outcomes_: tuple[int, Outcomes] | None = None
        self._explainer: tuple[Model, int, Explainer] | None = None
        for trial in data:
            self._check(trial)
            self.tell(trial)
        if data and not self._answered:
            raise ConfigError(
                f"{self.name}: none of the {len(data)} trials in `data` has values for "
                f"{[o.name for o in objectives]}; take data from a study with the same objectives",
                at="data",
            )

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose at most n points; see `Strategy.ask`."""
        if len(self._answered) < self.initial:
            proposals = self._start.ask(n, pending, rng)
            return [replace(p, point=now) for p in proposals for now in self._now([p.point])]
        reserved = self._tried.pending(pending)
        with torch_seed(int(rng.integers(2**63))), _quiet():
            model = self._model()
            if isinstance(model, Redrawable):
                model = model.redraw(int(rng.integers(2**63)))
            batch = self._propose(n, model, pending, reserved, rng)
            proposals = list(batch.proposals)
            if self.explain and batch.considered is not None and self._can_look_ahead():
                places = torch.cat([batch.considered, self._encode(t.point for t in pending)])
                ahead = self._look_ahead(model, places, 1, most=OUTLOOK_CANDIDATES).as_json()
                proposals[0] = replace(proposals[0], extra={**proposals[0].extra, "outlook": ahead})
        if not proposals and not pending:
            raise exhausted()
        return proposals

    def outlook(self, rng: np.random.Generator, delta: float | None = None, q: int = 1) -> Outlook | None:
        """What there is still to be had; see `WithOutlook.outlook` and `stopping.outlook`.

        Returns:
            None before the model is asked, with several objectives, or if the strategy does not seek the best.
        """
        if not self._can_look_ahead():
            return None
        with torch_seed(int(rng.integers(2**63))), _quiet():
            model = self._model()
            order = self._outcomes().pooled[:, 0].argsort(descending=True, stable=True).tolist()
            best = [self._answered[i].point for i in order]
            nothing = self._tried.pending(())
            candidates = prospects(
                self.space,
                model,
                lambda p: self._encode(self._now(p)),
                lambda n: self._samples(n, nothing, rng),
                best,
                self._tried,
                rng,
            )
            return self._look_ahead(model, candidates, q, delta)

    def tell(self, trial: Trial) -> None:
        """Remember a finished trial; a failed one only so that its point is not tried again."""
        self._start.tell(trial)
        self._tried.add(trial)
        if trial.values is not None and all(o.name in trial.values for o in self.objectives):
            self._answered.append(trial)
            self._record.add(trial)

    @abstractmethod
    def _propose(
        self, n: int, model: Model, pending: Sequence[Unanswered], reserved: Reserved, rng: np.random.Generator
    ) -> Batch:
        """Choose up to n untried points by the model; torch's generator is seeded around the call."""

    def _model(self) -> Model:
        """Model of the answered trials at the last count at which a fit was due."""
        count = self._count_fitted()
        if self._fitted is None or self._fitted[0] != count:
            x, outcomes = self._encode(t.point for t in self._answered[:count]), self._outcomes()
            seed = derive_seed(self._seed, self.name, count)
            self._fitted = count, fit(self._surrogate, x, outcomes.units[:count], seed, outcomes.noise[:count].numpy())
        return self._fitted[1]

    def _outcomes(self) -> Outcomes:
        """What the answered trials' values are to the present model, on the scales that it was fitted on."""
        if self._outcomes_ is None or self._outcomes_[0] != len(self._answered):
            noise = [[t.noise.get(o.name, np.nan) for o in self.objectives] for t in self._answered]
            x = self._encode(t.point for t in self._answered)
            drift = None if self._drift is None else partial(self._drift.shifts, self._answered)
            stated = torch.tensor(noise, dtype=torch.float64)
            found = Outcomes.of(self.objectives, x, self._gains(), stated, self._count_fitted(), drift)
            self._outcomes_ = len(self._answered), found
        return self._outcomes_[1]

    def _count_fitted(self) -> int:
        """Number of answered trials that the present model knows."""
        late = (len(self._answered) - self.initial) % self.refit_every
        return len(self._answered) - late

    def _encode(self, points: Iterator[Point] | Sequence[Point]) -> torch.Tensor:
        """(n, d) float64."""
        return torch.as_tensor(self._encoder.encode(list(points)), dtype=torch.float64)

    def _gains(self) -> torch.Tensor:
        """(n, m) float64: the answered trials' values in their units, with the sign that makes larger better.

        Models are fitted to gains, so that maximising and minimising the negative are the same thing.
        """
        return torch.as_tensor(-losses(self._answered, self.objectives))

    def _samples(self, n: int, reserved: Reserved, rng: np.random.Generator) -> list[Point]:
        """Up to n random untried points of the space; `reserved` is left as it is."""
        try:
            return self._now(self._sampler.draw(n, self._tried, reserved.copy(), rng))
        except SpaceExhausted:
            return []

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
        notes = {"origin": self.name, STRETCH: self._record.stretch()} | self._outcomes().notes(self._answered)
        if not self.explain:
            return notes
        explanation = self._explainer_of(model)(point, place, choice, feasible)
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

    def _can_look_ahead(self) -> bool:
        return self.seeks_best and len(self.objectives) == 1 and len(self._answered) >= self.initial

    def _look_ahead(
        self, model: Model, x: torch.Tensor, q: int, delta: float | None = None, most: int = CANDIDATES
    ) -> Outlook:
        """Outlook over (c, d) encoded candidates; the draws depend on the answers alone."""
        count, outcomes = len(self._answered), self._outcomes()
        return outlook(
            model,
            known=self._encode(t.point for t in self._answered),
            candidates=x,
            answered=self._answered,
            objective=self.objectives[0],
            measured=outcomes.pooled[:, 0],
            scale=outcomes.scales.each[0],
            works=self._works(x),
            spread=max(1.0, self._record.stretch(stopping.RECORD_PRIOR)[0]),
            delta=delta,
            q=q,
            most=most,
            seed=derive_seed(self._seed, "outlook", count),
        )

    def _works(self, x: torch.Tensor) -> torch.Tensor | None:
        """(c,) probability that the experiment works at (c, d) encoded points; None if nothing speaks against it."""
        return None

    def _check(self, trial: Trial) -> None:
        try:
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


def _listable(space: Any) -> bool:
    return isinstance(space, Finite | Vectorised)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence two libraries' notes that say nothing about the data.

    GPyTorch adds jitter to matrices, which near-duplicate points make inevitable; torch mentions once per process that
    it does not check sparse tensors, which GPyTorch uses.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericalWarning)
        warnings.filterwarnings("ignore", message="Sparse invariant checks", category=UserWarning)
        yield
