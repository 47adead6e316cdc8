"""Children of measured trials or of other children, and whom they descend from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from matloop.orchestrator.protocols import Evolvable
from matloop.orchestrator.strategies.tried import Reserved, Tried, key
from matloop.orchestrator.trial import Point, Trial

RETRIES = 20
"""Children bred in search of an untried one before the breeder gives up."""


@dataclass(frozen=True, slots=True)
class Child:
    """A candidate.

    Attributes:
        point: what it would measure.
        key: canonical.
        origin: "crossover" if two parents had a hand in it, at any generation, else "mutation"; empty for a measured
            trial.
        parents: the measured trials that it descends from, each once.
        generations: how many lie between those and it; 0 for a measured trial itself.
    """

    point: Point
    key: str
    origin: str
    parents: tuple[Trial, ...]
    generations: int

    @classmethod
    def measured(cls, trial: Trial) -> Child:
        """A measured trial as a parent."""
        return cls(trial.point, "", "", (trial,), 0)


@dataclass(frozen=True)
class Breeder:
    """Crosses and mutates.

    Attributes:
        space: knows how.
        crossover: probability in [0, 1] that a child has two parents.
        mutation: probability in [0, 1] that a child of two is mutated as well; a child of one always is.
        tried: keys of points that are not wanted again.
    """

    space: Evolvable
    crossover: float
    mutation: float
    tried: Tried

    def child(self, mates: Iterator[Child], reserved: Reserved, rng: np.random.Generator) -> Child | None:
        """An untried child of the next of the mates, or None if `RETRIES` children were all tried or reserved."""
        for _ in range(RETRIES):
            if rng.random() < self.crossover:
                parents, origin = [next(mates), next(mates)], "crossover"
                point = self.space.cross(parents[0].point, parents[1].point, rng)
                if rng.random() < self.mutation:
                    point = self.space.mutate(point, rng)
            else:
                parents = [next(mates)]
                origin = parents[0].origin or "mutation"
                point = self.space.mutate(parents[0].point, rng)
            point_key = key(point)
            if point_key not in self.tried and point_key not in reserved:
                ancestors = {trial.id: trial for parent in parents for trial in parent.parents}
                generations = 1 + max(parent.generations for parent in parents)
                return Child(point, point_key, origin, tuple(ancestors.values()), generations)
        return None
