"""GP-Hedge: a portfolio of acquisition functions, each chosen as often as its nominations have been worth.

Expected improvement, probability of improvement and the upper confidence bound nominate a point each. One of these is
drawn, with a probability that rises with exp(eta · gain) of its function, and every function gains what the updated
model expects at its nominee.
Source: Brochu, Hoffman & de Freitas, "Portfolio allocation for Bayesian optimization", UAI (2011), algorithm 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction

from matloop.orchestrator.earlier import Earlier
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import single
from matloop.orchestrator.protocols import Space, Surrogate
from matloop.orchestrator.strategies.modelled.acquisitions import acquisition
from matloop.orchestrator.strategies.modelled.analytic import Bound, Probability
from matloop.orchestrator.strategies.modelled.bayes import Bayesian, Task
from matloop.orchestrator.strategies.modelled.modelled import Batch
from matloop.orchestrator.strategies.tried import Reserved, key
from matloop.orchestrator.trial import Objective, Proposal, Trial, Unanswered

if TYPE_CHECKING:
    from botorch.models.model import Model

ARMS = ("expected improvement", "probability of improvement", "upper confidence bound")

MARGIN = 0.01
"""By which an improvement has to exceed the best, in spreads of the values (ξ)."""

DELTA, NU = 0.1, 0.2
"""Of the confidence bound's schedule: κ² = ν · 2 log(t^(d/2+2) π² / 3δ)."""


class GPHedge(Bayesian):
    """Bayesian optimisation of one objective that learns by which acquisition function to choose.

    Args:
        space: see `Bayesian`.
        objectives: one, without limits.
        surrogate: see `Bayesian`.
        initial: see `Bayesian`.
        data: see `Bayesian`.
        candidates, restarts, iterations: see `Bayesian`.
        refit_every: see `Bayesian`.
        eta: how fast gains tell, per spread of the values, > 0.
        seed: see `Bayesian`.
    """

    name = "gp_hedge"

    def __init__(
        self,
        *,
        space: Space,
        objectives: tuple[Objective, ...],
        surrogate: Surrogate | None = None,
        initial: int = 10,
        data: Sequence[Trial | Earlier] = (),
        candidates: int = 256,
        restarts: int = 4,
        iterations: int = 25,
        refit_every: int = 1,
        eta: float = 1.0,
        seed: int = 0,
    ) -> None:
        single(self.name, objectives)
        if not eta > 0:
            raise ConfigError(f"{self.name}: expected eta > 0, got {eta}", at="eta")
        self.eta = eta
        self._hedged: list[Trial] = []
        super().__init__(
            space=space,
            objectives=objectives,
            surrogate=surrogate,
            acquisition="log_ei",
            initial=initial,
            data=data,
            candidates=candidates,
            restarts=restarts,
            iterations=iterations,
            refit_every=refit_every,
            explain=False,
            seed=seed,
        )
        self._hedged.clear()  # what functions have gained in earlier studies is counted there, and among other trials

    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial, and from what the others would have chosen instead."""
        super().tell(trial)
        if "hedge" in trial.extra:
            self._hedged.append(trial)

    def _propose(
        self, n: int, model: Model, pending: Sequence[Unanswered], reserved: Reserved, rng: np.random.Generator
    ) -> Batch:
        task = self._task(model)
        chosen = self._encode(t.point for t in pending)
        gains = self._gained(task)
        chances = np.exp(self.eta * (gains - gains.max()))
        proposals: list[Proposal] = []
        for _ in range(n):
            weights, candidates = self._weights(task), self._candidates(task.merit, reserved, rng)
            choices = [
                self._best(task, self._arm(arm, task, chosen), weights, candidates, reserved, rng)
                for arm in range(len(ARMS))
            ]
            nominees = [choice.points[choice.chosen] for choice in choices if choice is not None]
            if len(nominees) < len(ARMS):
                break
            arm = int(rng.choice(len(ARMS), p=chances / chances.sum()))
            point = nominees[arm]
            reserved.add(key(point))
            place = self._encode([point])
            chosen = torch.cat([chosen, place])
            prediction = self._predict(model, place)[0]
            name = self.objectives[0].name
            expected = f"predicted {prediction.mean[name]:.4g} ± {prediction.std[name]:.2g}"
            hedge = {"arm": arm, "gains": gains.tolist(), "after": len(self._hedged), "nominees": nominees}
            reason = f"{expected}; nominated by {ARMS[arm]}, drawn with probability {chances[arm] / chances.sum():.2f}"
            notes: dict[str, Any] = {"origin": self.name, "hedge": hedge}
            proposals.append(Proposal(point=point, prediction=prediction, reason=reason, extra=notes))
        return Batch(proposals)

    def _gained(self, task: Task) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(3,): what the functions had gained when the latest trial was proposed, and by the nominations told since."""
        if not self._hedged:
            return np.zeros(len(ARMS))
        latest = max((trial.extra["hedge"] for trial in self._hedged), key=lambda hedge: hedge["after"])
        total = np.array(latest["gains"], dtype=np.float64)
        for trial in self._hedged[latest["after"] :]:
            x = self._encode(trial.extra["hedge"]["nominees"])
            with torch.no_grad():
                posterior: Any = task.goal.posterior(x.unsqueeze(1))
            total += task.utility.single(posterior.mean[:, 0]).numpy()
        return total

    def _arm(self, arm: int, task: Task, chosen: torch.Tensor) -> AcquisitionFunction:
        """One of the portfolio, given what is pending or chosen already, (p, d)."""
        waiting = chosen if len(chosen) else None
        utility, spread = task.utility, task.utility.spread
        if arm == 1:
            best = task.y.max() + MARGIN * spread[0]
            return Probability(task.goal, best=best, spread=spread, pending=waiting)
        if arm == 2:
            t, d = len(task.x), task.x.shape[1]
            width = math.sqrt(NU * 2 * math.log(t ** (d / 2 + 2) * math.pi**2 / (3 * DELTA)))
            return Bound(task.goal, width=width, centre=utility.centre, spread=spread, pending=waiting)
        return acquisition("log_ei", task.goal, utility, task.x, task.y, chosen, self.beta)
