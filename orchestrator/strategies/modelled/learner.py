"""What strategies that fit a surrogate know: the trials that were told, and a model of them on suitable scales."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gpytorch.utils.warnings import NumericalWarning

from matloop.orchestrator.earlier import Earlier
from matloop.orchestrator.errors import ConfigError, InvalidPoint, SpaceExhausted
from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import (
    Encodable,
    Lenient,
    Situated,
    Space,
    Surrogate,
    Vectorised,
    require,
)
from matloop.orchestrator.randomness import derive_seed, torch_seed
from matloop.orchestrator.strategies.advice.explanation import Explainer
from matloop.orchestrator.strategies.advice.record import Record
from matloop.orchestrator.strategies.modelled import values
from matloop.orchestrator.strategies.modelled.conditions import Conditions
from matloop.orchestrator.strategies.modelled.drift import Drift
from matloop.orchestrator.strategies.modelled.outcomes import Outcomes
from matloop.orchestrator.strategies.modelled.transfer import WITH_EARLIER, split, transferred
from matloop.orchestrator.strategies.modelled.values import Limits
from matloop.orchestrator.strategies.random import Sampler
from matloop.orchestrator.strategies.space_filling import SpaceFilling
from matloop.orchestrator.strategies.spread import Spread
from matloop.orchestrator.strategies.tried import Reserved, Tried
from matloop.orchestrator.threads import limited
from matloop.orchestrator.trial import Objective, Point, Prediction, Trial
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.outputs import fit_each
from matloop.surrogates.uncertainty.interval import interval

if TYPE_CHECKING:
    from botorch.models.model import Model


class Learner:
    """Keeps what was told, and fits a model to it when one is due.

    A fit depends on the answered trials and the seed alone, so that a replayed study refits the same model; it is kept
    until the next one is due.
    """

    name: str

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

    def tell(self, trial: Trial) -> None:
        """Remember a finished trial; a failed one only so that its point is not tried again."""
        assert not isinstance(self._start, Spread)  # that is there for an ask alone
        self._start.tell(trial)
        self._tried.add(trial)
        if trial.values is not None and any(o.name in trial.values for o in self.objectives):
            self._answered.append(self._conditions.tell(trial))
            self._record.add(trial)

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

    @property
    def _narrowed(self) -> bool:
        """Whether a part of the space is asked for."""
        return self._part is not None and self._part is not self._whole

    @property
    def _given(self) -> Mapping[str, float]:
        """Conditions that are asked for."""
        return self._part.given if isinstance(self._part, Situated) else {}

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
def modelling(seed: int) -> Iterator[None]:
    """Draw from that seed, on one thread, and silence two libraries' notes that say nothing about the data.

    More threads than one make models slower, see `matloop.orchestrator.threads`, and other numbers on other machines.
    GPyTorch adds jitter to matrices, which near-duplicate points make inevitable; torch mentions once per process that
    it does not check sparse tensors, which GPyTorch uses.
    """
    with warnings.catch_warnings(), torch_seed(seed), limited(1):
        warnings.simplefilter("ignore", NumericalWarning)
        warnings.filterwarnings("ignore", message="Sparse invariant checks", category=UserWarning)
        yield
