"""Bayesian optimisation: measure where the model expects the most improvement, pending measurements included.

Acquisition functions are BoTorch's (Balandat et al., NeurIPS 2020; LogEI: Ament et al., NeurIPS 2023). Points are
chosen one after the other, each given the ones before it, which is the sequential greedy batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.optim.optimize import optimize_acqf

from orchestrator.errors import ConfigError
from orchestrator.protocols import Evolvable, Finite, Space, Surrogate, Vectorised
from orchestrator.strategies.acquisitions import Utility, acquisition
from orchestrator.strategies.explanation import Choice
from orchestrator.strategies.modelled import ModelBased
from orchestrator.strategies.tried import Taken, key
from orchestrator.trial import Objective, Point, Prediction, Proposal, Trial

if TYPE_CHECKING:
    from botorch.models.model import Model

KINDS = ("log_ei", "log_nei", "ucb", "thompson")

LEADERS = 5
"""Best measured points whose mutants are considered."""

CHUNK = 256
"""Points at which an acquisition function is evaluated at once."""


class Bayesian(ModelBased):
    """Optimises one objective by expected improvement, or several by expected hypervolume improvement."""

    name = "bayesian"

    def __init__(
        self,
        *,
        space: Space,
        objectives: tuple[Objective, ...],
        surrogate: Surrogate,
        acquisition: Literal["log_ei", "log_nei", "ucb", "thompson"] = "log_ei",
        initial: int = 10,
        data: Sequence[Trial] = (),
        candidates: int = 256,
        restarts: int = 4,
        iterations: int = 25,
        beta: float = 4.0,
        refit_every: int = 1,
        explain: bool = True,
        seed: int = 0,
    ) -> None:
        """Set up the strategy.

        Args:
            space: Encodable. A Finite one is searched point by point, a Vectorised one by gradients from the best
                random points and mutants of the best measured ones, any other from these without gradients.
            objectives: what to optimise; several are traded off by hypervolume (log_ei or log_nei only).
            surrogate: fitted to what was measured.
            acquisition: log_ei improves on the best measured value, log_nei on the best true value where
                measurements are noisy; ucb is optimistic by sqrt(beta) standard deviations; thompson maximises one
                function drawn from the model.
            initial: answered trials before the model is asked, >= 2; until then points fill the space.
            data: finished trials of an earlier study; they count towards `initial`.
            candidates: random points, and mutants of the best, at which a search begins, >= 1 of each.
            restarts: of them the best, from which gradients climb, >= 1.
            iterations: most steps of that climb (L-BFGS-B), >= 1.
            beta: see ucb; > 0.
            refit_every: answers between fits, >= 1.
            explain: record with each proposal why it was made; false saves the time.
            seed: of the fits and the space-filling points.
        """
        if acquisition not in KINDS:
            raise ConfigError(f"{self.name}: expected acquisition to be one of {list(KINDS)}, got {acquisition!r}")
        if len(objectives) > 1 and acquisition in ("ucb", "thompson"):
            raise ConfigError(
                f"{self.name}: expected one objective for acquisition {acquisition!r}, got {len(objectives)}; "
                "use log_ei, which trades several off by hypervolume"
            )
        for option, value in (("candidates", candidates), ("restarts", restarts), ("iterations", iterations)):
            if value < 1:
                raise ConfigError(f"{self.name}: expected {option} >= 1, got {value}")
        if not beta > 0:
            raise ConfigError(f"{self.name}: expected beta > 0, got {beta}")
        self.acquisition = acquisition
        self.candidates = candidates
        self.restarts = restarts
        self.iterations = iterations
        self.beta = beta
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
        self, n: int, model: Model, pending: Sequence[Trial], taken: Taken, rng: np.random.Generator
    ) -> list[Proposal]:
        y = self._gains()
        utility = Utility.of(y)
        x = self._encode(t.point for t in self._answered)
        chosen = self._encode(t.point for t in pending)
        proposals = []
        for _ in range(n):
            function = acquisition(self.acquisition, model, utility, x, y, chosen, self.beta)
            choice = self._best(function, self._candidates(utility(y), taken, rng), taken)
            if choice is None:
                break
            point, place = choice.points[choice.chosen], choice.x[choice.chosen]
            taken.add(key(point))
            chosen = torch.cat([chosen, place[None]])
            prediction = self._predict(model, place[None])[0]
            reason = self._reason(prediction, float(choice.values[choice.chosen]), utility)
            extra = {"origin": self.name, **self._explain(model, point, place, choice)}
            proposals.append(Proposal(point=point, prediction=prediction, reason=reason, extra=extra))
        return proposals

    def _candidates(self, utilities: torch.Tensor, taken: Taken, rng: np.random.Generator) -> list[Point]:
        """Untried points: all of a Finite space, else random ones and mutants of the best measured."""
        if isinstance(self.space, Finite):
            return self._samples(len(self.space.points), taken, rng)
        points = self._samples(self.candidates, taken, rng)
        if isinstance(self.space, Evolvable):
            order = utilities.sum(dim=1).argsort(descending=True, stable=True)[:LEADERS].tolist()
            parents = [self._answered[i].point for i in order]
            mutants = [self.space.mutate(parents[i % len(parents)], rng) for i in range(self.candidates)]
            points += self._untried(mutants, taken)
        return points

    def _best(self, function: AcquisitionFunction, points: list[Point], taken: Taken) -> Choice | None:
        """Untried point with the largest acquisition value, among those that were considered."""
        if not points:
            return None
        x = self._encode(points)
        values = _evaluate(function, x)
        if isinstance(self.space, Vectorised) and not isinstance(self.space, Finite):
            starts = x[values.argsort(descending=True, stable=True)[: self.restarts]]
            climbed = self._untried([self.space.decode(row) for row in self._climb(function, starts)], taken)
            if climbed:
                places = self._encode(climbed)
                points, x = points + climbed, torch.cat([x, places])
                values = torch.cat([values, _evaluate(function, places)])
        name = self.acquisition if len(self.objectives) == 1 else "log_nehvi"
        return Choice(
            name=name,
            points=points,
            x=x,
            values=values,
            chosen=int(values.argmax()),
            logarithmic=name.startswith("log_"),
        )

    def _climb(self, function: AcquisitionFunction, starts: torch.Tensor) -> np.ndarray:
        """(r, d) -> (r, d): local maxima of the acquisition function within bounds."""
        assert isinstance(self.space, Vectorised)
        found, _ = optimize_acqf(
            function,
            bounds=torch.as_tensor(self.space.bounds, dtype=torch.float64),
            q=1,
            num_restarts=len(starts),
            batch_initial_conditions=starts.unsqueeze(1),
            return_best_only=False,
            options={"maxiter": self.iterations},
            retry_on_optimization_warning=False,
        )
        return found[:, 0].detach().numpy()

    def _untried(self, points: Sequence[Point], taken: Taken) -> list[Point]:
        return [p for p in points if (k := key(p)) not in taken and k not in self._tried]

    def _reason(self, prediction: Prediction, value: float, utility: Utility) -> str:
        if len(self.objectives) > 1:
            return f"expected to enlarge the dominated hypervolume most (log of the increase {value:.3g})"
        name, unit = self.objectives[0].name, self.objectives[0].unit
        unit = unit and " " + unit
        best = -self.objectives[0].loss(float(self._gains().max()))
        expected = f"predicted {prediction.mean[name]:.4g} ± {prediction.std[name]:.2g}, best so far {best:.4g}{unit}"
        match self.acquisition:
            case "log_ei" | "log_nei":
                return f"{expected}; expected improvement {float(np.exp(value) * utility.spread[0]):.2g}{unit}"
            case "ucb":
                return f"{expected}; highest plausible value at {self.beta**0.5:.2g} standard deviations"
            case _:
                return f"{expected}; best point of one function drawn from the model"


def _evaluate(function: AcquisitionFunction, x: torch.Tensor) -> torch.Tensor:
    """(n, d) -> (n,) acquisition values; NaN counts as worst."""
    with torch.no_grad():
        values = torch.cat([function(part.unsqueeze(1)) for part in torch.split(x, CHUNK)])
    return values.nan_to_num(nan=-torch.inf, neginf=-torch.inf)
