"""Bayesian optimisation: measure where the model expects the most, pending and failed measurements included.

Acquisition functions are in closed form where there is one, else BoTorch's (Balandat et al., NeurIPS 2020; LogEI: Ament
et al., NeurIPS 2023). Points are chosen one after the other, each given the ones before it, which is the sequential
greedy batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Evolvable, Finite, Space, Surrogate, Vectorised
from matloop.orchestrator.strategies.advice.explanation import Choice
from matloop.orchestrator.strategies.modelled.acquisitions import Utility, acquisition, gain_interval, suitable
from matloop.orchestrator.strategies.modelled.candidates import Evaluated, climb
from matloop.orchestrator.strategies.modelled.cost import LEARNED, Cost
from matloop.orchestrator.strategies.modelled.feasibility import Feasibility, informative
from matloop.orchestrator.strategies.modelled.modelled import Batch, ModelBased
from matloop.orchestrator.strategies.modelled.replication import worth_repeating
from matloop.orchestrator.strategies.modelled.weighting import Weights
from matloop.orchestrator.strategies.tried import Reserved, key
from matloop.orchestrator.trial import Objective, Point, Prediction, Proposal, Trial, Unanswered

if TYPE_CHECKING:
    from botorch.models.model import Model

LEADERS = 5
"""Best measured points whose mutants are considered."""


class Bayesian(ModelBased):
    """Recommends experiments: for one objective the best, for several their trade-off, or what lies in a range."""

    name = "bayesian"

    def __init__(
        self,
        *,
        space: Space,
        objectives: tuple[Objective, ...],
        surrogate: Surrogate | None = None,
        acquisition: Literal["auto", "log_ei", "log_nei", "log_nehvi", "ucb", "thompson", "target_range"] = "auto",
        target: dict[str, tuple[float, float]] | None = None,
        initial: int = 10,
        data: Sequence[Trial] = (),
        candidates: int = 256,
        restarts: int = 4,
        iterations: int = 25,
        beta: float = 1.0,
        refit_every: int = 1,
        feasibility: bool = True,
        cost: str | None = None,
        cost_budget: float | None = None,
        replicate: Literal["never", "auto"] = "never",
        drift: str | None = None,
        explain: bool = True,
        seed: int = 0,
    ) -> None:
        """Set up the strategy.

        Args:
            space: Encodable. A Finite one is searched point by point, any other from random points and mutants of the
                best measured ones; from the best one climbs, see `candidates.climb`, if it is Vectorised and by
                mutation if it is Evolvable.
            objectives: what to optimise; several are traded off by hypervolume.
            surrogate: fitted to what was measured; by default a Gaussian process and trees, `matloop.surrogates.blend`.
            acquisition: log_ei improves on the best measured value, log_nei on the best true value where
                measurements are noisy, log_nehvi on the hypervolume of several objectives; ucb is optimistic by
                sqrt(beta) standard deviations; thompson maximises one function drawn from the model; target_range
                seeks values within `target`. auto is target_range if there is a target, log_nehvi for several
                objectives, ucb in a pool, where no point repeats and so greed explores by itself, else log_ei.
            target: lowest and highest value wanted, by objective; -.inf and .inf leave a side open.
            initial: answered trials before the model is asked, >= 2; until then points fill the space.
            data: finished trials of an earlier study; they count towards `initial`.
            candidates: random points, and mutants of the best, at which a search begins, >= 1 of each.
            restarts: of them the best, from which one climbs, >= 1.
            iterations: most steps of that climb, by L-BFGS-B or, where the model has steps, by trials, >= 1.
            beta: see ucb; > 0.
            refit_every: answers between fits, >= 1.
            feasibility: learn from failed trials where the next would fail, and weigh by the probability that it works.
            cost: seek improvement per unit of cost: "learned" from what trials cost, or a formula of the parameters,
                such as "0.5 + 0.02 * hours".
            cost_budget: of cost; as it is spent, cost counts for less, and for nothing in the end. None: it always
                counts in full.
            replicate: auto measures a known point again where noise hides which one is best.
            drift: take away what slowly changes between experiments: "order" of the results, "time" at which they came,
                or a parameter, such as a batch, that recommendations leave as it was in the last experiment.
            explain: record with each proposal why it was made; false saves the time.
            seed: of the fits and the space-filling points.
        """
        at_least(1, self.name, candidates=candidates, restarts=restarts, iterations=iterations)
        if not beta > 0:
            raise ConfigError(f"{self.name}: expected beta > 0, got {beta}", at="beta")
        if replicate not in ("never", "auto"):
            raise ConfigError(f"{self.name}: expected replicate to be never or auto, got {replicate!r}", at="replicate")
        if replicate == "auto" and len(objectives) > 1:
            raise ConfigError(
                f"{self.name}: expected one objective for replicate: auto, got {len(objectives)}", at="replicate"
            )
        self.acquisition = suitable(acquisition, space, objectives, target, cost)
        self.seeks_best = self.acquisition != "target_range"
        self.candidates = candidates
        self.restarts = restarts
        self.iterations = iterations
        self.beta = beta
        self.replicate = replicate
        self.feasibility = feasibility
        self._interval = None if target is None else gain_interval(target, objectives)
        self._cost = None if cost is None else Cost(cost, space=space, budget=cost_budget, seed=seed)
        self._failed: list[tuple[int, Point]] = []
        self._classifier: tuple[int, int, Feasibility] | None = None
        super().__init__(
            space=space,
            objectives=objectives,
            surrogate=surrogate,
            initial=initial,
            data=data,
            refit_every=refit_every,
            explain=explain,
            seed=seed,
            drift=drift,
        )

    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial, from one that failed where it cannot be done."""
        super().tell(trial)
        if informative(trial):
            self._failed.append((len(self._answered), trial.point))
        if self._cost is not None:
            self._cost.tell(trial)

    def _propose(
        self, n: int, model: Model, pending: Sequence[Unanswered], reserved: Reserved, rng: np.random.Generator
    ) -> Batch:
        y = self._outcomes().pooled
        utility = Utility.of(y)
        x = self._encode(t.point for t in self._answered)
        chosen = self._encode(t.point for t in pending)
        weights = self._weights(float(utility(y).min()))
        proposals, considered = [], None
        wanted = None if self._interval is None else self._outcomes().scales.limits(self._interval)
        for _ in range(n):
            function = acquisition(self.acquisition, model, utility, x, y, chosen, self.beta, wanted)
            choice = self._best(function, weights, self._candidates(utility(y), reserved, rng), reserved, rng)
            if choice is None:
                break
            point, place = choice.points[choice.chosen], choice.x[choice.chosen]
            value: float | None = float(choice.values[choice.chosen])
            again = worth_repeating(model, x, place, chosen) if self.replicate == "auto" else None
            if again is not None and key(self._answered[again].point) not in reserved:
                point, place, choice, value = self._answered[again].point, x[again], None, None
            if choice is not None and considered is None:
                considered = choice.x
            reserved.add(key(point))
            chosen = torch.cat([chosen, place[None]])
            feasible = None
            if weights.feasibility is not None:
                feasible = float(weights.feasibility.log_probability(place[None])[0].exp())
            prediction = self._predict(model, place[None])[0]
            reason = self._reason(prediction, value, utility, feasible)
            extra = self._notes(model, point, place, choice, feasible)
            proposals.append(Proposal(point=point, prediction=prediction, reason=reason, extra=extra))
        return Batch(proposals, considered)

    def _weights(self, worst: float) -> Weights:
        logarithmic = self.acquisition.startswith("log_") or self.acquisition == "target_range"
        classifier = self._feasibility() if self.feasibility and self._failed else None
        if self._cost is None:
            return Weights(logarithmic, worst, classifier)
        cost, learned = self._cost.logarithm(self._encode), self._cost.source == LEARNED
        return Weights(logarithmic, worst, classifier, cost, self._cost.exponent, learned)

    def _feasibility(self) -> Feasibility:
        """Classifier of all finished trials whose outcome says something about their points."""
        counts = len(self._answered), len(self._failed)
        if self._classifier is None or self._classifier[:2] != counts:
            story = [(float(i), True, t.point) for i, t in enumerate(self._answered)]
            story += [(i - 0.5, False, p) for i, p in self._failed]  # before the answer that came next
            story.sort(key=lambda event: event[0])
            bounds = np.asarray(self.space.bounds) if isinstance(self.space, Vectorised) else None
            x = self._encode([p for *_, p in story]).numpy()
            self._classifier = *counts, Feasibility(x, [worked for _, worked, _ in story], bounds)
        return self._classifier[2]

    def _works(self, x: torch.Tensor) -> torch.Tensor | None:
        if not (self.feasibility and self._failed):
            return None
        return self._feasibility().log_probability(x).exp()

    def _candidates(self, utilities: torch.Tensor, reserved: Reserved, rng: np.random.Generator) -> list[Point]:
        """Untried points: all of a Finite space, else random ones and mutants of the best measured."""
        if isinstance(self.space, Finite):
            return self._samples(len(self.space.points), reserved, rng)
        points = self._samples(self.candidates, reserved, rng)
        if isinstance(self.space, Evolvable):
            order = utilities.sum(dim=1).argsort(descending=True, stable=True)[:LEADERS].tolist()
            parents = [self._answered[i].point for i in order]
            mutants = [self.space.mutate(parents[i % len(parents)], rng) for i in range(self.candidates)]
            points += self._untried(mutants, reserved)
        return points

    def _best(
        self,
        function: AcquisitionFunction,
        weights: Weights,
        points: list[Point],
        reserved: Reserved,
        rng: np.random.Generator,
    ) -> Choice | None:
        """Untried point with the largest acquisition value, among those that were considered."""
        if not points:
            return None
        found = Evaluated(self._encode, lambda points, x: weights.score(function, points, x))
        found.add(points)
        if not isinstance(self.space, Finite):
            if isinstance(self.space, Vectorised):
                starts = found.x[found.leaders(self.restarts)]
                climbed = climb(weights.differentiable(function), starts, self.space, self.iterations, rng)
                found.add(self._untried(climbed, reserved))
            if isinstance(self.space, Evolvable):
                found.mutate(self.space, self.restarts, lambda points: self._untried(points, reserved), rng)
        return Choice(
            name=self.acquisition,
            points=found.points,
            x=found.x,
            values=found.values,
            chosen=found.best,
            logarithmic=weights.logarithmic,
        )

    def _untried(self, points: Sequence[Point], reserved: Reserved) -> list[Point]:
        return [p for p in self._now(points) if (k := key(p)) not in reserved and k not in self._tried]

    def _reason(self, prediction: Prediction, value: float | None, utility: Utility, feasible: float | None) -> str:
        caution = "" if feasible is None or feasible > 0.95 else f"; works with a probability of {100 * feasible:.0f} %"
        caution += self._outcomes().words(self.objectives, self._answered)
        if self.acquisition == "target_range":
            probability = "" if value is None else f" (log of the probability {value:.3g})"
            expected = ", ".join(
                f"{name} {mean:.4g} ± {prediction.std[name]:.2g}" for name, mean in prediction.mean.items()
            )
            return f"predicted {expected}; likeliest to lie in the target range{probability}{caution}"
        if len(self.objectives) > 1:
            return f"expected to enlarge the dominated hypervolume most (log of the increase {value:.3g}){caution}"
        name, unit = self.objectives[0].name, self.objectives[0].unit
        unit = unit and " " + unit
        scale = self._outcomes().scales.each[0]
        best_units = self._outcomes().pooled.max()
        best_gain = float(scale.gains(best_units))
        best = -self.objectives[0].loss(best_gain)
        expected = f"predicted {prediction.mean[name]:.4g} ± {prediction.std[name]:.2g}, best so far {best:.4g}{unit}"
        if value is None:
            return f"{expected}; measured again, since noise hides whether it is the best"
        match self.acquisition:
            case "log_ei" | "log_nei":
                better = float(scale.gains(best_units + np.exp(value) * utility.spread[0]))
                size = "" if self._cost else f" {better - best_gain:.2g}{unit}"
                per = " per unit of cost is largest" if self._cost else ""
                return f"{expected}; expected improvement{size}{per}{caution}"
            case "ucb":
                return f"{expected}; highest plausible value at {self.beta**0.5:.2g} standard deviations{caution}"
            case _:
                return f"{expected}; best point of one function drawn from the model{caution}"
