"""Any Optuna sampler as a strategy: its study is rebuilt from the told history, so a resumed campaign goes on alike.

Reference: T. Akiba, S. Sano, T. Yanase, T. Ohta, M. Koyama, "Optuna", KDD (2019) 2623.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState, create_trial

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import without_limits
from matloop.orchestrator.protocols import Parameter, Parametric, Space, Vectorised, require
from matloop.orchestrator.strategies.random import Sampler
from matloop.orchestrator.strategies.tried import Reserved, Tried, exhausted, key
from matloop.orchestrator.trial import Objective, Point, Proposal, Trial, Unanswered, losses, missing

RETRIES = 20
"""Points drawn from the sampler in search of an untried one."""

ROUNDING = 1e-9
"""By how much a coordinate may be outside its bounds for arithmetic alone."""

UNSUITABLE = ("QMCSampler", "PartialFixedSampler", "GridSampler")
"""Samplers that keep state outside the trials, wrap another sampler, or bring a grid of their own."""


class OptunaSampler:
    """Proposes what an Optuna sampler suggests after the trials told so far.

    The sampler is made anew for each ask and sees failed trials as failed and pending ones as running. Losses are
    given to it, so that it always minimises. What it notes on its trials travels in `Proposal.extra["optuna"]`. Optuna
    knows no place outside its distributions: what was measured outside the space is left out, and integers between
    steps are given to it as the nearest.

    Args:
        space: a box of named parameters, which the sampler gets as such, or any Vectorised space, coordinate by
            coordinate.
        objectives: one, or several if the sampler knows how.
        sampler: name of a class of `optuna.samplers`.
        options: keyword arguments of that class, except `seed`.
        repeats: whether a told point may be proposed again; if not, the sampler is asked again, then for a random
            point.

    Raises:
        ConfigError: no such sampler, it does not take these options, or it cannot be replayed.
    """

    def __init__(
        self,
        *,
        space: Space,
        objectives: tuple[Objective, ...],
        sampler: str = "TPESampler",
        options: dict[str, Any] | None = None,
        repeats: bool = False,
    ) -> None:
        self._parameters: _Parameters = (
            _Named(space.parameters)
            if isinstance(space, Parametric)
            else _Coordinates(require(space, Vectorised, "optuna"))  # type: ignore[type-abstract]
        )
        without_limits("optuna", objectives)
        self._space = space
        self._objectives = objectives
        self._name, self._options, self._repeats = sampler, dict(options or {}), repeats
        self._random = Sampler(space)
        self._tried = Tried()
        self._told: list[FrozenTrial] = []
        self._make(0)

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose at most n points; see `Strategy.ask`."""
        reserved = self._tried.pending(pending)
        with _quiet():
            study = optuna.create_study(
                sampler=self._make(int(rng.integers(2**31))), directions=["minimize"] * len(self._objectives)
            )
            for trial in (*self._told, *(self._running(t) for t in pending)):
                if trial is not None:
                    study.add_trial(trial)
            proposals = [self._propose(study, reserved, rng) for _ in range(n)]
        found = [proposal for proposal in proposals if proposal is not None]
        if not found and not pending:
            raise exhausted(self._space)
        return found

    def tell(self, trial: Trial) -> None:
        """Take the trial into the history that the sampler sees; one that was cancelled never was in it."""
        self._tried.add(trial)
        if trial.state == "cancelled" or missing(trial, self._objectives):
            return
        described = self._parameters.describe(trial.point)
        if described is None:
            return
        params, distributions = described
        failed = trial.values is None
        finished = create_trial(
            state=TrialState.FAIL if failed else TrialState.COMPLETE,
            values=None if failed else losses([trial], self._objectives)[0].tolist(),
            params=params,
            distributions=distributions,
            system_attrs=dict(trial.extra.get("optuna", {})),
        )
        self._told.append(_Finished(finished))

    def _propose(self, study: optuna.Study, reserved: Reserved, rng: np.random.Generator) -> Proposal | None:
        for _ in range(RETRIES):
            asked = study.ask()
            point = self._parameters.suggest(asked)
            point_key = key(point)
            if point_key not in reserved and (self._repeats or point_key not in self._tried):
                reserved.add(point_key)
                measured = sum(t.state is TrialState.COMPLETE for t in self._told)
                notes = study._storage.get_trial_system_attrs(asked._trial_id)
                return Proposal(
                    point=point,
                    reason=f"suggested by Optuna's {self._name} after {measured} measured trials",
                    extra={"origin": "optuna", "optuna": notes},
                )
        points = self._random.draw(1, self._tried, reserved, rng)
        reason = f"random sample: Optuna's {self._name} suggested only tried points"
        return Proposal(point=points[0], reason=reason, extra={"origin": "random"}) if points else None

    def _running(self, trial: Unanswered) -> FrozenTrial | None:
        described = self._parameters.describe(trial.point)
        if described is None:
            return None
        params, distributions = described
        return create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions=distributions,
            system_attrs=dict(trial.extra.get("optuna", {})),
        )

    def _make(self, seed: int) -> optuna.samplers.BaseSampler:
        cls = getattr(optuna.samplers, self._name, None)
        if not inspect.isclass(cls) or not issubclass(cls, optuna.samplers.BaseSampler) or self._name in UNSUITABLE:
            known = [n for n in optuna.samplers.__all__ if n.endswith("Sampler") and not n.startswith("Base")]
            raise ConfigError(
                f"expected sampler: one of {sorted(set(known) - set(UNSUITABLE))}, got {self._name!r}; "
                "for quasi-random points use the strategy space_filling, for a grid a pool",
                at="sampler",
            )
        try:
            with _quiet():
                return cls(seed=seed, **self._options)  # type: ignore[call-arg]
        except (TypeError, ValueError, ImportError) as error:
            raise ConfigError(
                f"expected options that Optuna's {self._name} takes, got {self._options}: {error}", at="options"
            ) from error


class _Finished(FrozenTrial):
    """A trial that nothing changes any more: Optuna's copies of it, one an ask, share their contents."""

    def __init__(self, trial: FrozenTrial) -> None:
        self.__dict__.update(vars(trial))

    def __deepcopy__(self, memo: dict[int, Any]) -> _Finished:
        return _Finished(self)


Described = tuple[dict[str, Any], dict[str, BaseDistribution]]


class _Parameters(Protocol):
    """How points look to Optuna."""

    def suggest(self, trial: optuna.Trial) -> Point:
        """Let the sampler fill in a point."""
        ...

    def describe(self, point: Point) -> Described | None:
        """Values and distributions of a point, as `suggest` would have left them; None outside the space."""
        ...


class _Named:
    """Named parameters, in order; one that is not active given the earlier ones is left out.

    Choices go by their index, since Optuna cannot tell True from 1.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._parameters = [(p, self._distribution(p)) for p in parameters]

    @staticmethod
    def _distribution(parameter: Parameter) -> BaseDistribution:
        if parameter.type == "categorical":
            return CategoricalDistribution(range(len(parameter.choices)))
        if parameter.type == "integer":
            return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
        return FloatDistribution(parameter.low, parameter.high, log=parameter.log)

    def suggest(self, trial: optuna.Trial) -> Point:
        point: dict[str, Any] = {}
        for parameter, distribution in self._parameters:
            if parameter.active(point):
                value = _suggest(trial, parameter.name, distribution)
                categorical = parameter.type == "categorical"
                point[parameter.name] = parameter.choices[value] if categorical else parameter.snap(value)
        return point

    def describe(self, point: Point) -> Described | None:
        values: dict[str, Any] = {}
        for parameter, _ in self._parameters:
            if parameter.name in point:
                value = self._value(parameter, point[parameter.name])
                if value is None:
                    return None
                values[parameter.name] = value
            elif parameter.active(point):  # it was no parameter yet
                return None
        return values, {p.name: d for p, d in self._parameters if p.name in values}

    @staticmethod
    def _value(parameter: Parameter, value: Any) -> Any:
        """As Optuna has it; None outside."""
        if parameter.type == "categorical":
            same = [isinstance(c, bool) == isinstance(value, bool) and c == value for c in parameter.choices]
            return same.index(True) if True in same else None
        if not (isinstance(value, int | float) and parameter.low <= value <= parameter.high):
            return None
        return parameter.snap(value) if parameter.type == "integer" else value


class _Coordinates:
    """A vector, coordinate by coordinate."""

    def __init__(self, space: Vectorised) -> None:
        self._space = space
        self._bounds = space.bounds
        self._distributions: Mapping[str, BaseDistribution] = {
            f"x{i}": FloatDistribution(float(low), float(high)) for i, (low, high) in enumerate(self._bounds.T)
        }

    def suggest(self, trial: optuna.Trial) -> Point:
        x = [_suggest(trial, name, distribution) for name, distribution in self._distributions.items()]
        return self._space.decode(np.array(x, dtype=np.float64))

    def describe(self, point: Point) -> Described | None:
        encoded = self._space.encode([point])[0]
        x = np.clip(encoded, *self._bounds)
        if np.abs(x - encoded).max() > ROUNDING:
            return None
        return dict(zip(self._distributions, x.tolist(), strict=True)), dict(self._distributions)


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from logging each study and warning of experimental options; restore both afterwards."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        logger.setLevel(level)
