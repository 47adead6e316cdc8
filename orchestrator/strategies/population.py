"""The living trials of a steady-state evolution: who may be a parent, and who makes room for the newcomer.

DEAP supplies fitness, tournament and non-dominated sorting with crowding.

References:
    K. Deb, A. Pratap, S. Agarwal, T. Meyarivan, "NSGA-II", IEEE Trans. Evol. Comput. 6 (2002) 182.
    E. Real, A. Aggarwal, Y. Huang, Q. V. Le, "Regularized evolution for image classifier architecture search",
    AAAI 33 (2019) 4780.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from deap import base, tools

from orchestrator.trial import Trial

Replacement = Literal["aging", "elitist"]


@dataclass(slots=True, eq=False)
class Individual:
    """A measured trial as DEAP sees it.

    Attributes:
        trial: the trial.
        losses: one a objective, smaller is better.
        fitness: DEAP's fitness of the losses; carries the crowding distance where there are several.
        merit: what tournaments compare, larger is better.
    """

    trial: Trial
    losses: tuple[float, ...]
    fitness: Any
    merit: tuple[float, ...] = ()


class Population:
    """At most `size` individuals; each newcomer displaces the oldest or the worst.

    Args:
        size: at most this many, >= 2.
        objectives: how many.
        replacement: "aging" removes the oldest, "elitist" the worst: by loss, or by front and crowding.
        tournament: individuals drawn for each parent, of which the best becomes one, >= 1.
    """

    def __init__(self, *, size: int, objectives: int, replacement: Replacement, tournament: int) -> None:
        self._size = size
        self._replacement = replacement
        self._fitness = type("Fitness", (base.Fitness,), {"weights": (-1.0,) * objectives})
        self._living: list[Individual] = []
        self._toolbox = base.Toolbox()
        self._toolbox.register("select", tools.selTournament, tournsize=tournament, fit_attr="merit")
        self._toolbox.register("survive", tools.selBest if objectives == 1 else tools.selNSGA2, k=size)

    def __len__(self) -> int:
        return len(self._living)

    @property
    def filled(self) -> bool:
        """Whether evolution may begin."""
        return len(self._living) >= self._size

    @property
    def trials(self) -> list[Trial]:
        """The living, oldest first unless replacement is elitist."""
        return [individual.trial for individual in self._living]

    @property
    def reference(self) -> float:
        """Median of the first loss."""
        return float(np.median([individual.losses[0] for individual in self._living]))

    def add(self, trial: Trial, losses: Sequence[float]) -> None:
        """Take in a measured trial, and let one go if that makes one too many."""
        individual = Individual(trial, tuple(losses), self._fitness(tuple(losses)))
        self._living.append(individual)
        if len(self._living) > self._size:
            self._living = self._living[1:] if self._replacement == "aging" else self._toolbox.survive(self._living)
        self._rank()

    def parents(self, k: int) -> list[Trial]:
        """Winners of k tournaments. Draws from the global `random`: wrap it in `python_seed`."""
        return [individual.trial for individual in self._toolbox.select(self._living, k)]

    def _rank(self) -> None:
        if len(self._living[0].losses) == 1:
            for individual in self._living:
                individual.merit = (-individual.losses[0],)
            return
        for level, front in enumerate(tools.sortNondominated(self._living, len(self._living))):
            tools.emo.assignCrowdingDist(front)
            for individual in front:
                individual.merit = (-float(level), individual.fitness.crowding_dist)
