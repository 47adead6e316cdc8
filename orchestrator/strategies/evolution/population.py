"""The living trials of a steady-state evolution: who may be a parent, and who makes room for the newcomer.

DEAP holds the tournaments. What it would work out anew for the whole population at every newcomer is kept up to date
instead: the order by loss or, with several objectives, the fronts and their crowding.

References:
    K. Deb, A. Pratap, S. Agarwal, T. Meyarivan, "NSGA-II", IEEE Trans. Evol. Comput. 6 (2002) 182.
    E. Real, A. Aggarwal, Y. Huang, Q. V. Le, "Regularized evolution for image classifier architecture search",
    AAAI 33 (2019) 4780.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from deap import base, tools

from matloop.orchestrator.randomness import python_seed
from matloop.orchestrator.strategies.evolution.dominance import Fronts
from matloop.orchestrator.trial import Trial

Replacement = Literal["aging", "elitist"]

_deap = threading.Lock()
"""DEAP draws from Python's global generator, which two threads may not use in turns."""


@dataclass(slots=True, eq=False)
class Individual:
    """A measured trial as tournaments see it.

    Attributes:
        trial: the trial.
        losses: one an objective, smaller is better.
        place: where it stands in `fronts`.
        fronts: of the population it lives in; None if there is one objective.
    """

    trial: Trial
    losses: tuple[float, ...]
    place: int
    fronts: Fronts | None

    @property
    def merit(self) -> tuple[float, ...]:
        """What tournaments compare, larger is better."""
        return (-self.losses[0],) if self.fronts is None else self.fronts.merit(self.place)


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
        self._living: list[Individual] = []  # oldest first; elitist with one objective: best first
        self._first_losses: list[float] = []  # ascending
        self._fronts = Fronts(size + 1, objectives) if objectives > 1 else None
        self._free = [size]
        self._toolbox = base.Toolbox()
        self._toolbox.register("select", tools.selTournament, tournsize=tournament, fit_attr="merit")

    def __len__(self) -> int:
        return len(self._living)

    @property
    def size(self) -> int:
        """Most that live at a time."""
        return self._size

    @property
    def filled(self) -> bool:
        """Whether evolution may begin."""
        return len(self._living) >= self._size

    @property
    def trials(self) -> list[Trial]:
        """The living."""
        return [individual.trial for individual in self._living]

    @property
    def reference(self) -> float:
        """Median of the first loss."""
        n = len(self._first_losses)
        return 0.5 * (self._first_losses[(n - 1) // 2] + self._first_losses[n // 2])

    def add(self, trial: Trial, losses: Sequence[float]) -> None:
        """Take in a measured trial, and let one go if that makes one too many."""
        place = len(self._living) if len(self._living) < self._size else self._free.pop()
        newcomer = Individual(trial, tuple(losses), place, self._fronts)
        insort(self._first_losses, newcomer.losses[0])
        if self._fronts is not None:
            self._fronts.add(place, np.array(losses, dtype=np.float64))
        if self._fronts is None and self._replacement == "elitist":
            insort(self._living, newcomer, key=lambda individual: individual.losses[0])
        else:
            self._living.append(newcomer)
        if len(self._living) > self._size:
            self._let_go()

    def parents(self, rng: np.random.Generator) -> Iterator[Trial]:
        """Winners of tournaments without end."""
        k = 2
        while True:
            with _deap, python_seed(int(rng.integers(2**63))):
                winners = self._toolbox.select(self._living, k)
            yield from (individual.trial for individual in winners)
            k = min(2 * k, 64)

    def _let_go(self) -> None:
        if self._replacement == "aging":
            index = 0
        elif self._fronts is None:
            index = len(self._living) - 1
        else:
            place = self._fronts.worst()
            index = next(i for i, individual in enumerate(self._living) if individual.place == place)
        gone = self._living.pop(index)
        self._free.append(gone.place)
        del self._first_losses[bisect_left(self._first_losses, gone.losses[0])]
        if self._fronts is not None:
            self._fronts.remove(gone.place)
