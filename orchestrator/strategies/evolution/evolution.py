"""Steady-state evolution: each answer may replace one individual, so no worker waits for a generation.

A fitness predictor may choose among many candidate children, bred in several generations from measured trials, before
one is measured; see `screening`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least, without_limits
from matloop.orchestrator.protocols import Advising, Encodable, Evolvable, Space, require
from matloop.orchestrator.strategies.evolution.breeding import Breeder, Child
from matloop.orchestrator.strategies.evolution.population import Population, Replacement
from matloop.orchestrator.strategies.evolution.screening import BELIEVED, Assessment, Screen
from matloop.orchestrator.strategies.random import Sampler
from matloop.orchestrator.strategies.tried import Reserved, Tried, exhausted, key
from matloop.orchestrator.trial import Objective, Point, Proposal, Trial, Unanswered, complete, losses
from matloop.surrogates.fitness_svm import FitnessSVM

MOST_NAMED = 3
"""Parents named in a proposal's reason; all are recorded."""


class Evolution:
    """Evolves a population of measured points.

    Until `population` trials were measured, points are the recipes that the space knows, then random ones, unless a
    predictor has the skill to do better; then each proposal is a child of tournament winners. Failed trials are never
    parents, and no point that was told or is pending is proposed again as long as the space yields another.

    Args:
        space: Evolvable, and Encodable if there is a predictor.
        objectives: one, or several for a Pareto front.
        population: individuals alive, >= 2.
        replacement: "elitist" lets the worst go, "aging" the oldest.
        tournament: individuals drawn for each parent, >= 1; larger is greedier.
        crossover: probability in [0, 1] that a child has two parents.
        mutation: probability in [0, 1] that a child of two is mutated as well; a child of one always is.
        predictor: screens children and breeds from those it thinks best; None measures the first one bred.
        inherit: children of a trial that kept its trained weights (an artifact "weights") begin with them, through
            the input "parent_weights"; for drivers that know how.

    Attributes:
        slow: with a predictor, asking may take as long as a fit.
    """

    def __init__(
        self,
        *,
        space: Space,
        objectives: tuple[Objective, ...],
        population: int = 20,
        replacement: Replacement = "elitist",
        tournament: int = 2,
        crossover: float = 0.5,
        mutation: float = 0.5,
        predictor: FitnessSVM | None = None,
        inherit: bool = False,
    ) -> None:
        _check(population=population, tournament=tournament, crossover=crossover, mutation=mutation)
        without_limits("evolution", objectives)
        self.slow = predictor is not None
        self._predictor = predictor
        self._unscreened = partial(
            Evolution,
            space=space,
            objectives=objectives,
            population=population,
            replacement=replacement,
            tournament=tournament,
            crossover=crossover,
            mutation=mutation,
            inherit=inherit,
        )
        evolvable: Evolvable = require(space, Evolvable, "evolution")  # type: ignore[type-abstract]
        self._objectives = objectives
        self._tournament, self._inherit = tournament, inherit
        self._sampler = Sampler(space)
        self._recipes = list(space.recipes) if isinstance(space, Advising) else []
        self._space = space
        self._tried = Tried()
        self._breeder = Breeder(evolvable, crossover, mutation, self._tried)
        self._population = Population(
            size=population, objectives=len(objectives), replacement=replacement, tournament=tournament
        )
        self._screen: Screen | None = None
        if predictor is not None:
            encodable: Encodable = require(space, Encodable, "evolution's predictor")  # type: ignore[type-abstract]
            self._screen = Screen(predictor, encodable)

    def ask(self, n: int, pending: Sequence[Unanswered], rng: np.random.Generator) -> list[Proposal]:
        """Propose at most n distinct children; see `Strategy.ask`."""
        reserved = self._tried.pending(pending)
        mates = (Child.measured(trial) for trial in self._population.parents(rng))
        in_flight = [trial.point for trial in islice(reversed(pending), BELIEVED if self._screen else 0)][::-1]
        proposals: list[Proposal] = []
        while len(proposals) < n:
            proposal = self._propose(mates, in_flight, reserved, rng)
            if proposal is None:
                break
            in_flight.append(proposal.point)
            proposals.append(proposal)
        if not proposals and not pending:
            raise exhausted(self._space)
        return proposals

    def tell(self, trial: Trial) -> None:
        """Take a measured trial into the population; of one that failed or was cancelled, remember the point."""
        self._tried.add(trial)
        if not complete(trial, self._objectives):
            return
        row = losses([trial], self._objectives)[0]
        self._population.add(trial, row.tolist())
        if self._screen is not None:
            self._screen.tell(trial, row)

    def maker(self) -> Callable[[], Evolution]:
        """Makes the same anew, told nothing."""
        return partial(self._unscreened, predictor=self._predictor)

    def filler(self) -> Evolution | None:
        """The same without the predictor, so always ready; to be told what this one is told. None if that is this."""
        return self._unscreened() if self.slow else None

    def _propose(
        self, mates: Iterator[Child], in_flight: Sequence[Point], reserved: Reserved, rng: np.random.Generator
    ) -> Proposal | None:
        assessment = self._screen.assessment(in_flight, rng) if self._screen else None
        if not self._population.filled and (assessment is None or not assessment.screened):
            return self._random(reserved, rng, "random sample: the population is not full yet")
        child, beaten = self._breeder.child(mates, reserved, rng), 0
        if child is None:
            return self._random(reserved, rng, "random sample: no untried child found")
        if assessment is not None and assessment.screened:
            child, beaten = self._screened(child, assessment, mates, reserved, rng)
        reserved.add(child.key)
        notes = assessment.notes(child.point) if assessment is not None else {}
        return Proposal(
            point=child.point,
            parents=tuple(parent.id for parent in child.parents),
            reason=self._reason(child, assessment, beaten, notes),
            extra={
                "origin": child.origin,
                "screened": assessment is not None and assessment.screened,
                **({"reference": self._population.reference} if self._population.filled else {}),
                **({"generations": child.generations, **notes} if assessment is not None else {}),
            },
            inputs=self._inputs(child),
        )

    def _screened(
        self, first: Child, assessment: Assessment, mates: Iterator[Child], reserved: Reserved, rng: np.random.Generator
    ) -> tuple[Child, int]:
        """The child that the predictor would measure, of as many as it may see, and how many others there were.

        The first offspring descend from the population. The parents of each further generation are the best, in the
        predictor's opinion, of all offspring so far and of the first ones' parents.
        """
        assert self._screen is not None
        offspring, measured = {first.key: first}, dict[int, Child]()
        candidates: list[Child] = []
        family: list[tuple[float, Child]] = []
        seen = reserved.copy()
        while True:
            wanted = min(self._screen.offspring, assessment.candidates - len(candidates))
            while len(offspring) < wanted and (child := self._breeder.child(mates, seen, rng)) is not None:
                offspring[child.key] = child
                seen.add(child.key)
            born = list(offspring.values())
            candidates += born
            if not family:
                measured = {trial.id: Child.measured(trial) for child in born for trial in child.parents}
            judged = [*measured.values(), *born]
            family += zip(assessment.judge([child.point for child in judged]), judged, strict=True)
            family.sort(key=lambda pair: -pair[0])
            if len(candidates) >= assessment.candidates or len(born) < wanted:
                break
            mates = self._tournaments([child for _, child in family], rng)
            offspring, measured = {}, {}
        best = next(child for _, child in family if child.generations)
        return best, len(candidates) - 1

    def _tournaments(self, ranked: Sequence[Child], rng: np.random.Generator) -> Iterator[Child]:
        """Winners among the first of the ranked, as many as a population holds, best first."""
        n = min(len(ranked), self._population.size)
        while True:
            yield ranked[int(rng.integers(n, size=self._tournament).min())]

    def _random(self, reserved: Reserved, rng: np.random.Generator, reason: str) -> Proposal | None:
        extra: dict[str, Any] = {"origin": "random", "screened": False}
        for point in self._recipes:
            if (own := key(point)) not in self._tried and own not in reserved:
                reserved.add(own)
                return Proposal(point=point, reason="the space's own recipe", extra={**extra, "origin": "recipe"})
        points = self._sampler.draw(1, self._tried, reserved, rng)
        if self._population.filled:
            extra["reference"] = self._population.reference
        return Proposal(point=points[0], reason=reason, extra=extra) if points else None

    def _inputs(self, child: Child) -> dict[str, str]:
        """Weights of the first parent that kept any, for a child that inherits."""
        kept = (parent.artifacts["weights"] for parent in child.parents if "weights" in parent.artifacts)
        weights = next(kept, None) if self._inherit else None
        return {} if weights is None else {"parent_weights": weights}

    def _reason(self, child: Child, assessment: Assessment | None, beaten: int, notes: Mapping[str, float]) -> str:
        objective = self._objectives[0]
        parents = " and ".join(
            f"trial {parent.id} ({objective.name} {(parent.values or {})[objective.name]:.4g})"
            for parent in child.parents[:MOST_NAMED]
        )
        more = len(child.parents) - MOST_NAMED
        text = f"{child.origin} of {parents}" + (f" and {more} more" if more > 0 else "")
        if child.generations > 1:
            text += f", {child.generations} generations on"
        if assessment is None:
            return text
        predicted = f"predicted rank {notes['predicted_rank']:.2f}, skill {notes['skill']:.2f}"
        return text + (
            f": preferred to {beaten} other candidates ({predicted})"
            if assessment.screened
            else f": not screened ({predicted})"
        )


def _check(*, population: int, tournament: int, crossover: float, mutation: float) -> None:
    at_least(2, "evolution", population=population)
    at_least(1, "evolution", tournament=tournament)
    for name, value in (("crossover", crossover), ("mutation", mutation)):
        if not 0.0 <= value <= 1.0:
            raise ConfigError(f"evolution: expected {name} in [0, 1], got {value}", at=name)
