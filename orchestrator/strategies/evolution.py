"""Steady-state evolution: each answer may replace one individual, so no worker waits for a generation.

A fitness predictor may choose among many candidate children before one is measured; see `screening`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from orchestrator.errors import ConfigError
from orchestrator.protocols import Encodable, Evolvable, Space, require
from orchestrator.strategies.population import Population, Replacement
from orchestrator.strategies.random import Sampler
from orchestrator.strategies.screening import Screen, Verdict
from orchestrator.strategies.tried import Taken, Tried, exhausted, key
from orchestrator.trial import Objective, Point, Proposal, Trial, losses
from surrogates.fitness_svm import FitnessSVM

RETRIES = 20
"""Children bred in search of an untried one before a random sample is taken."""


@dataclass(frozen=True, slots=True)
class Child:
    """A candidate, its canonical key, where it comes from, and its parents, each once."""

    point: Point
    key: str
    origin: str
    parents: tuple[Trial, ...]


class Evolution:
    """Evolves a population of measured points.

    Until `population` trials were measured, points are random; then each proposal is a child of tournament
    winners. Failed trials are never parents, and no point that was told or is pending is proposed again as long
    as the space yields another.

    Args:
        space: Evolvable, and Encodable if there is a predictor.
        objectives: one, or several for a Pareto front.
        population: individuals alive, >= 2.
        replacement: "elitist" lets the worst go, "aging" the oldest.
        tournament: individuals drawn for each parent, >= 1; larger is greedier.
        crossover: probability in [0, 1] that a child has two parents.
        mutation: probability in [0, 1] that a child of two is mutated as well; a child of one always is.
        predictor: screens children; None measures the first one bred.
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
        self.slow = predictor is not None
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
        self._evolvable: Evolvable = require(space, Evolvable, "evolution")  # type: ignore[type-abstract]
        self._objectives = objectives
        self._crossover, self._mutation, self._inherit = crossover, mutation, inherit
        self._sampler = Sampler(space)
        self._tried = Tried()
        self._population = Population(
            size=population, objectives=len(objectives), replacement=replacement, tournament=tournament
        )
        self._screen: Screen | None = None
        if predictor is not None:
            encodable: Encodable = require(space, Encodable, "evolution's predictor")  # type: ignore[type-abstract]
            self._screen = Screen(predictor, encodable)

    def ask(self, n: int, pending: Sequence[Trial], rng: np.random.Generator) -> list[Proposal]:
        """Propose at most n distinct children; see `Strategy.ask`."""
        taken = self._tried.pending(pending)
        mates = self._population.parents(rng)
        proposals: list[Proposal] = []
        while len(proposals) < n:
            proposal = self._propose(mates, taken, rng)
            if proposal is None:
                break
            proposals.append(proposal)
        if not proposals and not pending:
            raise exhausted()
        return proposals

    def tell(self, trial: Trial) -> None:
        """Take a measured trial into the population; remember a failed one's point."""
        self._tried.add(trial)
        if trial.values is None:
            return
        row = losses([trial], self._objectives)[0]
        self._population.add(trial, row.tolist())
        if self._screen is not None:
            self._screen.tell(trial, row)

    def filler(self) -> Evolution | None:
        """The same without the predictor, so always ready; to be told what this one is told. None if that is this."""
        return self._unscreened() if self.slow else None

    def _propose(self, mates: Iterator[Trial], taken: Taken, rng: np.random.Generator) -> Proposal | None:
        if not self._population.filled:
            return self._random(taken, rng, "random sample: the population is not full yet")
        child = self._breed(mates, taken, rng)
        if child is None:
            return self._random(taken, rng, "random sample: no untried child found")
        verdict = None
        if self._screen is not None:
            child, verdict = self._screened(child, mates, taken, rng)
        taken.add(child.key)
        return Proposal(
            point=child.point,
            parents=tuple(parent.id for parent in child.parents),
            reason=self._reason(child, verdict),
            extra={
                "origin": child.origin,
                "screened": verdict is not None and verdict.candidates > 1,
                "reference": self._population.reference,
                **(verdict.extra if verdict is not None else {}),
            },
            inputs=self._inputs(child),
        )

    def _screened(
        self, first: Child, mates: Iterator[Trial], taken: Taken, rng: np.random.Generator
    ) -> tuple[Child, Verdict | None]:
        """The child that the predictor would measure, of as many as it may see."""
        assert self._screen is not None
        wanted = self._screen.candidates(rng)
        children = {first.key: first}
        for _ in range(2 * wanted):
            if len(children) >= wanted:
                break
            child = self._breed(mates, taken, rng)
            if child is not None:
                children.setdefault(child.key, child)
        listed = list(children.values())
        verdict = self._screen.choose([child.point for child in listed], rng)
        return (first, None) if verdict is None else (listed[verdict.chosen], verdict)

    def _breed(self, mates: Iterator[Trial], taken: Taken, rng: np.random.Generator) -> Child | None:
        """An untried child, or None if `RETRIES` children were all tried before."""
        for _ in range(RETRIES):
            if rng.random() < self._crossover:
                parents, origin = [next(mates), next(mates)], "crossover"
                point = self._evolvable.cross(parents[0].point, parents[1].point, rng)
                if rng.random() < self._mutation:
                    point = self._evolvable.mutate(point, rng)
            else:
                parents, origin = [next(mates)], "mutation"
                point = self._evolvable.mutate(parents[0].point, rng)
            point_key = key(point)
            if point_key not in self._tried and point_key not in taken:
                return Child(point, point_key, origin, tuple({parent.id: parent for parent in parents}.values()))
        return None

    def _random(self, taken: Taken, rng: np.random.Generator, reason: str) -> Proposal | None:
        points = self._sampler.draw(1, self._tried, taken, rng)
        extra: dict[str, Any] = {"origin": "random", "screened": False}
        if self._population.filled:
            extra["reference"] = self._population.reference
        return Proposal(point=points[0], reason=reason, extra=extra) if points else None

    def _inputs(self, child: Child) -> dict[str, str]:
        """Weights of the first parent that kept any, for a child that inherits."""
        kept = (parent.artifacts["weights"] for parent in child.parents if "weights" in parent.artifacts)
        weights = next(kept, None) if self._inherit else None
        return {} if weights is None else {"parent_weights": weights}

    def _reason(self, child: Child, verdict: Verdict | None) -> str:
        objective = self._objectives[0]
        parents = " and ".join(
            f"trial {parent.id} ({objective.name} {(parent.values or {})[objective.name]:.4g})"
            for parent in child.parents
        )
        return f"{child.origin} of {parents}" + (f": {verdict.reason}" if verdict is not None else "")


def _check(*, population: int, tournament: int, crossover: float, mutation: float) -> None:
    for name, value, valid in (
        ("population >= 2", population, population >= 2),
        ("tournament >= 1", tournament, tournament >= 1),
        ("crossover in [0, 1]", crossover, 0.0 <= crossover <= 1.0),
        ("mutation in [0, 1]", mutation, 0.0 <= mutation <= 1.0),
    ):
        if not valid:
            raise ConfigError(f"expected evolution with {name}, got {value}; correct the strategy's options")
