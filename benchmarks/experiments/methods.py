"""The recommenders that are compared: matloop's, the plain Gaussian process that is the floor, random, and peers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from experiments.peer import Peer
from experiments.pools import Table
from experiments.replay import STARTS, Ours, Recommender
from matloop.orchestrator.composition.binding import KINDS
from matloop.orchestrator.protocols import Strategy, Surrogate
from matloop.orchestrator.randomness import derive_seed
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.random import Random
from matloop.orchestrator.strategies.tried import Reserved, Tried, key
from matloop.orchestrator.trial import Prediction, Proposal, Trial


class PlainGP:
    """The floor: scikit-learn's GP (ARD Matérn-5/2, maximum likelihood, standardised values) and a bound at 2 stds.

    It is a strategy for pools of numbers, with one restart from a random place beside the start at one.
    """

    def __init__(self, table: Table, seed: int) -> None:
        self.table, self.seed = table, seed
        self.tried, self.told = Tried(), []  # type: ignore[var-annotated]

    def tell(self, trial: Trial) -> None:
        """See Strategy."""
        self.tried.add(trial)
        self.told.append(trial)

    def ask(self, n: int, pending: Any, rng: np.random.Generator) -> list[Proposal]:
        """See Strategy; one point at a time."""
        space, objective = self.table.space, self.table.objective
        reserved: Reserved = self.tried.pending(pending)
        points = [p for p in space.points if (k := key(p)) not in self.tried and k not in reserved]
        x = space.encode([t.point for t in self.told])
        gains = np.array([-objective.loss(t.values[objective.name]) for t in self.told])
        centre, spread = gains.mean(), gains.std() or 1.0
        kernel = ConstantKernel(1.0, (0.05, 20.0)) * Matern(np.ones(x.shape[1]), (0.02, 20.0), nu=2.5)
        model = GaussianProcessRegressor(
            kernel + WhiteKernel(0.01, (1e-6, 1.0)), n_restarts_optimizer=1,
            random_state=derive_seed(self.seed, len(self.told)) % 2**32,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, (gains - centre) / spread)
        mean, std = model.predict(space.encode(points), return_std=True)
        best = int(np.argmax(mean + 2 * std))
        expected = Prediction(
            mean={objective.name: -objective.loss(float(centre + spread * mean[best]))},
            std={objective.name: float(spread * std[best])},
        )
        return [Proposal(point=points[best], prediction=expected, reason="highest bound")]


def _bayesian(table: Table, seed: int, surrogate: str | None = None, **options: Any) -> Recommender:
    chosen = {} if surrogate is None else {"surrogate": _surrogate(surrogate, table)}
    strategy = Bayesian(
        space=table.space, objectives=(table.objective,), initial=STARTS, explain=False, seed=seed, **chosen, **options
    )
    return Ours(strategy, table, seed)


def _surrogate(kind: str, table: Table) -> Surrogate:
    from importlib import import_module

    module, _, name = KINDS["surrogate"][kind].partition(":")
    return getattr(import_module(module), name)(space=table.space)


def _floor(table: Table, seed: int) -> Recommender:
    return Ours(PlainGP(table, seed), table, seed)


def _random(table: Table, seed: int) -> Recommender:
    strategy: Strategy = Random(space=table.space)
    return Ours(strategy, table, seed)


def _peer(table: Table, seed: int, method: str) -> Any:
    sign = -table.objective.loss(1.0)
    return Peer(method, seed, sign=sign, points=table.space.points, starts=STARTS)


@dataclass(frozen=True)
class Method:
    """How a recommender is made.

    Attributes:
        make: takes the table, the seed and the options.
        options: of it.
        share: part of the seeds that it gets, in (0, 1].
        peer: whether it needs the peers' environment.
        quick: whether `--quick` has time for it.
    """

    make: Callable[..., Recommender]
    options: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0
    peer: bool = False
    quick: bool = True


METHODS = {
    "matloop": Method(_bayesian),
    "mc_dropout": Method(_bayesian, {"surrogate": "mc_dropout", "refit_every": 5}, share=0.2, quick=False),
    "ensemble": Method(_bayesian, {"surrogate": "ensemble", "refit_every": 5}, share=0.2, quick=False),
    "gp": Method(_bayesian, {"surrogate": "gp"}),
    "gp_lcb": Method(_floor),
    "random": Method(_random),
    "baybe": Method(_peer, {"method": "baybe"}, share=0.2, peer=True),
    "ax": Method(_peer, {"method": "ax"}, share=0.2, peer=True),
}
