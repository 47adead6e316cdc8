"""Bayesian optimisation: measure where the model expects the most, pending and failed measurements included.

Acquisition functions are in closed form where there is one, else BoTorch's (Balandat et al., NeurIPS 2020; LogEI: Ament
et al., NeurIPS 2023). Points are chosen one after the other, each given the ones before it, which is the sequential
greedy batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from botorch.acquisition.acquisition import AcquisitionFunction

from matloop.orchestrator.earlier import Earlier
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Evolvable, Finite, Space, Surrogate, Vectorised
from matloop.orchestrator.strategies.advice.explanation import Choice
from matloop.orchestrator.strategies.advice.goals import Goal, Highest, Target, Tradeoff
from matloop.orchestrator.strategies.modelled.acquisitions import Utility, acquisition, gain_interval, suitable
from matloop.orchestrator.strategies.modelled.analytic import InRange
from matloop.orchestrator.strategies.modelled.candidates import Evaluated, climb, evaluate
from matloop.orchestrator.strategies.modelled.cost import LEARNED, Cost
from matloop.orchestrator.strategies.modelled.feasibility import Feasibility, informative
from matloop.orchestrator.strategies.modelled.levels import Levels
from matloop.orchestrator.strategies.modelled.modelled import Batch, ModelBased
from matloop.orchestrator.strategies.modelled.replication import worth_repeating
from matloop.orchestrator.strategies.modelled.weighting import Weights
from matloop.orchestrator.strategies.tried import Reserved, key
from matloop.orchestrator.trial import Objective, Point, Prediction, Proposal, Trial, Unanswered, goals, limited
from matloop.surrogates.outputs import subset

if TYPE_CHECKING:
    from botorch.models.model import Model

LEADERS = 5
"""Best measured points whose mutants are considered."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a batch is chosen by.

    Attributes:
        model: of the gains of all objectives, on the scales on which it sees them.
        goal: of those that are sought.
        utility: of these.
        x: (n, d) float64, measured points.
        y: (n, g) float64, gains of what is sought, on the same scales; expectations in place of gaps.
        kept: indices of those that keep all limits.
        merit: (n,) by which points are ranked whose mutants are considered.
    """

    model: Model
    goal: Model
    utility: Utility
    x: torch.Tensor
    y: torch.Tensor
    kept: Sequence[int]
    merit: torch.Tensor

    @property
    def seeking(self) -> bool:
        """Whether no experiment is known to keep all limits, so that the likeliest to do so is sought first."""
        return not self.kept


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
        data: Sequence[Trial | Earlier] = (),
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
            objectives: what to optimise; several are traded off by hypervolume. Limits on them are learned, each by a
                model of its own, and an experiment is worth what it promises times the probability that all are kept;
                until one has kept them, the likeliest to do so is sought.
            surrogate: fitted to what was measured; by default a Gaussian process and trees, `matloop.surrogates.blend`.
            acquisition: log_ei improves on the best measured value, log_nei on the best true value where
                measurements are noisy, log_nehvi on the hypervolume of several objectives; ucb is optimistic by
                sqrt(beta) standard deviations; thompson maximises one function drawn from the model; target_range
                seeks values within `target`. auto is target_range if there is a target, log_nehvi for several
                objectives, ucb in a pool without limits on outcomes, where no point repeats and so greed explores by
                itself, else log_ei.
            target: lowest and highest value wanted, by objective; -.inf and .inf leave a side open.
            initial: answered trials before the model is asked, >= 2; until then points fill the space.
            data: finished trials of an earlier study, which count towards `initial`; or results of another campaign,
                `{from: PATH, study: NAME, given: {input: value}}`, which the model trusts as far as they foretell this
                one's, and which make do with 4 results before the model is asked, if `initial` is more.
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
        sought = goals(objectives)
        if replicate == "auto" and len(sought) > 1:
            raise ConfigError(
                f"{self.name}: expected one objective for replicate: auto, got {len(sought)}", at="replicate"
            )
        self.acquisition = suitable(acquisition, space, sought, target, cost, bool(limited(objectives)))
        self.candidates = candidates
        self.restarts = restarts
        self.iterations = iterations
        self.beta = beta
        self.replicate = replicate
        self.feasibility = feasibility
        self._wanted = {name: (float(low), float(high)) for name, (low, high) in (target or {}).items()}
        self._interval = None if target is None else gain_interval(target, sought)
        self._cost = None if cost is None else Cost(cost, space=space, budget=cost_budget, seed=seed)
        self._failed: list[tuple[int, Point]] = []
        self._classifier: tuple[int, int, Feasibility] | None = None
        self._levels = Levels(space) if target is None and len(sought) == 1 else None
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

    @property
    def target(self) -> Mapping[str, tuple[float, float]]:
        """Values that are wanted by objective; see `Predicting.target`."""
        return self._wanted

    def _merit(self, model: Model, x: torch.Tensor) -> torch.Tensor:
        if self.acquisition != "target_range":
            return super()._merit(model, x)
        task = self._task(model)
        nothing = self._encode([])
        function = acquisition(
            "target_range", task.goal, task.utility, task.x, task.y, nothing, self.beta, self._range()
        )
        return evaluate(function, x)[:, None]

    def _propose(
        self, n: int, model: Model, pending: Sequence[Unanswered], reserved: Reserved, rng: np.random.Generator
    ) -> Batch:
        task = self._task(model)
        chosen = self._encode(t.point for t in pending)
        weights = self._weights(task)
        proposals, considered = [], None
        for _ in range(n):
            function = self._function(task, chosen)
            candidates, known = self._candidates(task.merit, reserved, rng), torch.cat([task.x, chosen])
            choice, new = None, ""
            if self._levels is not None and task.kept and self._levels.due(len(task.x), len(chosen)):
                top = float(task.y[task.kept].max())
                worth = partial(self._levels.worth_a_look, task.goal, known=known, best=top)
                choice = self._best(task, function, weights, candidates, reserved, rng, worth)
                new = "" if choice is None else self._levels.name(choice.x[choice.chosen], known)
            choice = choice or self._best(task, function, weights, candidates, reserved, rng)
            if choice is None:
                break
            point, place = choice.points[choice.chosen], choice.x[choice.chosen]
            value: float | None = float(choice.values[choice.chosen])
            again = self._worth_repeating(task, place, chosen)
            repeated = None if again is None else self._conditions.planned(self._answered[again].point)
            if again is not None and repeated is not None and key(repeated) not in reserved:
                point, place, choice, value = repeated, task.x[again], None, None
            if choice is not None and considered is None:
                considered = choice.x
            reserved.add(key(point))
            chosen = torch.cat([chosen, place[None]])
            feasible = None
            if weights.feasibility is not None:
                feasible = float(weights.feasibility.log_probability(place[None])[0].exp())
            prediction = self._predict(model, place[None])[0]
            reason = self._reason(task, prediction, value, feasible) + self._limits_reason(task, place)
            reason += f"; first look at {new}" if new else ""
            extra = self._notes(model, point, place, choice, feasible)
            proposals.append(Proposal(point=point, prediction=prediction, reason=reason, extra=extra))
        return Batch(proposals, considered)

    def _task(self, model: Model) -> Task:
        """What is known and sought, for the choice of a batch."""
        x, y = self._encode(t.point for t in self._answered), self._settled(model)
        wanted, kept = self.limits.goals, self.limits.kept(self._answered)
        utility = Utility.of(self._outcomes().units[:, wanted])
        merit = utility(y[:, wanted]).sum(dim=1)
        if self.limits:
            with torch.no_grad():
                chance = self._bounds.log_probability(model, x)
            inside = torch.zeros(len(x), dtype=torch.bool)
            inside[kept] = True
            span = float(merit.max() - merit.min()) + 1.0
            merit = torch.where(inside, merit, merit - span) if kept else chance
        return Task(model, subset(model, wanted), utility, x, y[:, wanted], kept, merit)

    def _function(self, task: Task, chosen: torch.Tensor) -> AcquisitionFunction:
        """The acquisition function for one more point, given those that are chosen already, (p, d)."""
        if task.seeking:
            outcome = subset(task.model, self.limits.outputs)
            waiting = chosen if len(chosen) else None
            return InRange(outcome, low=self._bounds.low, high=self._bounds.high, pending=waiting)
        x, y = task.x[task.kept], task.y[task.kept]
        return acquisition(self.acquisition, task.goal, task.utility, x, y, chosen, self.beta, self._range())

    def _worth_repeating(self, task: Task, place: torch.Tensor, chosen: torch.Tensor) -> int | None:
        """Index of the answered trial to repeat, of those whose points may still be proposed; None if there is none."""
        inside = [i for i in task.kept if self._is_inside(self._answered[i].point)]
        if self.replicate != "auto" or task.seeking or not inside:
            return None
        again = worth_repeating(task.goal, task.x[inside], place, chosen)
        return None if again is None else inside[again]

    def _weights(self, task: Task) -> Weights:
        logarithmic = task.seeking or self.acquisition.startswith("log_") or self.acquisition == "target_range"
        classifier = self._feasibility() if self.feasibility and self._failed else None
        weights = Weights(logarithmic, float(task.utility(task.y).min()), classifier)
        if self.limits and not task.seeking:
            weights = replace(weights, kept=partial(self._bounds.log_probability, task.model))
        if self._cost is None:
            return weights
        cost, learned = self._cost.logarithm(self._encode), self._cost.source == LEARNED
        return replace(weights, cost=cost, exponent=self._cost.exponent, learned=learned)

    def _feasibility(self) -> Feasibility:
        """Classifier of all finished trials whose outcome says something about their points."""
        counts = len(self._answered), len(self._failed)
        if self._classifier is None or self._classifier[:2] != counts:
            story = [(float(i), True, t.point) for i, t in enumerate(self._answered)]
            story += [(i - 0.5, False, p) for i, p in self._failed]  # before the answer that came next
            story.sort(key=lambda event: event[0])
            bounds = np.asarray(self._whole.bounds) if isinstance(self._whole, Vectorised) else None
            x = self._encode([p for *_, p in story]).numpy()
            self._classifier = *counts, Feasibility(x, [worked for _, worked, _ in story], bounds)
        return self._classifier[2]

    def _goal(self) -> Goal | None:
        kept = self.limits.kept(self._answered)
        if not self._ready() or not kept:
            return None
        if (wanted := self._range()) is not None:
            return Target(wanted)
        if len(self.limits.goals) > 1:
            return Tradeoff.of(self._settled(self._model())[kept][:, self.limits.goals])
        first = self.limits.goals[0]
        return Highest(self.objectives[first], self._outcomes().scales.each[first])

    def _range(self) -> torch.Tensor | None:
        """(2, m) lowest and highest value wanted of what is sought, in model units; None if there is no target."""
        if self._interval is None:
            return None
        return self._outcomes().scales.some(self.limits.goals).limits(self._interval)

    def _works(self, x: torch.Tensor) -> torch.Tensor | None:
        if not (self.feasibility and self._failed):
            return None
        return self._feasibility().log_probability(x).exp()

    def _candidates(self, merit: torch.Tensor, reserved: Reserved, rng: np.random.Generator) -> list[Point]:
        """Untried points: all of a Finite space, else random ones and mutants of the best measured."""
        if isinstance(self.space, Finite):
            return self._samples(len(self.space.points), reserved, rng)
        points = self._samples(self.candidates, reserved, rng)
        if isinstance(self.space, Evolvable):
            order = merit.argsort(descending=True, stable=True)[:LEADERS].tolist()
            parents = self._inside([self._conditions.planned(self._answered[i].point) for i in order])
            mutants = [self.space.mutate(parents[i % len(parents)], rng) for i in range(self.candidates)]
            points += self._untried(mutants, reserved)
        return points

    def _best(
        self,
        task: Task,
        function: AcquisitionFunction,
        weights: Weights,
        points: list[Point],
        reserved: Reserved,
        rng: np.random.Generator,
        worth: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> Choice | None:
        """Untried point with the largest acquisition value, among those that were considered.

        Args:
            task: what is known and sought.
            function: the acquisition function.
            weights: what it is weighed by.
            points: where to look first.
            reserved: keys of points that may not be chosen.
            rng: of the search.
            worth: which of (n, d) encoded points may be chosen, (n,) bool; None for all of them.

        Returns:
            None if there is none.
        """

        def score(points: Sequence[Point], x: torch.Tensor) -> torch.Tensor:
            values = weights.score(function, points, x)
            return values if worth is None else torch.where(worth(x), values, -torch.inf)

        found = Evaluated(self._encode, score)
        found.add(points)
        if worth is not None and not found.values.isfinite().any():
            return None
        if not points:
            return None
        if not isinstance(self.space, Finite):
            if isinstance(self.space, Vectorised):
                starts = found.x[found.leaders(self.restarts)]
                climbed = climb(weights.differentiable(function), starts, self.space, self.iterations, rng)
                found.add(self._untried(climbed, reserved))
            if isinstance(self.space, Evolvable):
                found.mutate(self.space, self.restarts, lambda points: self._untried(points, reserved), rng)
        return Choice(
            name="limits" if task.seeking else self.acquisition,
            points=found.points,
            x=found.x,
            values=found.values,
            chosen=found.best,
            logarithmic=weights.logarithmic,
        )

    def _untried(self, points: Sequence[Point], reserved: Reserved) -> list[Point]:
        return [p for p in self._now(points) if (k := key(p)) not in reserved and k not in self._tried]

    def _limits_reason(self, task: Task, place: torch.Tensor) -> str:
        """What is to be said of limits, behind the reason."""
        if not self.limits or task.seeking:
            return ""
        chances = self._bounds.chances(task.model, place)
        told = (f"{o.name} {o.limits} ({100 * chances[o.name]:.0f} %)" for o in limited(self.objectives))
        return f"; chance to keep {', '.join(told)}"

    def _reason(self, task: Task, prediction: Prediction, value: float | None, feasible: float | None) -> str:
        caution = "" if feasible is None or feasible > 0.95 else f"; works with a probability of {100 * feasible:.0f} %"
        caution += self._outcomes().words(self.objectives, self._answered)
        if task.seeking and value is not None:
            chance = 100 * float(np.exp(min(value, 0.0)))
            return (
                f"likeliest to keep {self.limits.text} ({chance:.2g} %), which no experiment is known to have{caution}"
            )
        if self.acquisition == "target_range":
            probability = "" if value is None else f" (log of the probability {value:.3g})"
            expected = ", ".join(
                f"{name} {mean:.4g} ± {prediction.std[name]:.2g}" for name, mean in prediction.mean.items()
            )
            return f"predicted {expected}; likeliest to lie in the target range{probability}{caution}"
        if len(self.limits.goals) > 1:
            return f"expected to enlarge the dominated hypervolume most (log of the increase {value:.3g}){caution}"
        goal, scale = self.objectives[self.limits.goals[0]], self._outcomes().scales.each[self.limits.goals[0]]
        name, unit = goal.name, goal.unit and " " + goal.unit
        top = torch.tensor(-torch.inf, dtype=torch.float64)
        if task.kept:
            top = self._outcomes().pooled[task.kept, self.limits.goals[0]].nan_to_num(nan=-torch.inf).max()
        reached = float(scale.gains(top))
        so_far = f", best so far {-goal.loss(reached):.4g}{unit}" if bool(top.isfinite()) else ""
        expected = f"predicted {prediction.mean[name]:.4g} ± {prediction.std[name]:.2g}{so_far}"
        if value is None:
            return f"{expected}; measured again, since noise hides whether it is the best"
        match self.acquisition:
            case "log_ei" | "log_nei":
                better = float(scale.gains(top + np.exp(value) * task.utility.spread[0])) - reached
                size = f" {better:.2g}{unit}" if bool(top.isfinite()) and not self._cost else ""
                per = " per unit of cost is largest" if self._cost else ""
                return f"{expected}; expected improvement{size}{per}{caution}"
            case "ucb":
                return f"{expected}; highest plausible value at {self.beta**0.5:.2g} standard deviations{caution}"
            case _:
                return f"{expected}; best point of one function drawn from the model{caution}"
