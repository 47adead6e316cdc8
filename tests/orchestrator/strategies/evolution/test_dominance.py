"""Fronts and crowding kept up to date, held against DEAP's from scratch."""

from __future__ import annotations

import timeit
from typing import Any

import numpy as np
import pytest
from deap import base, tools

from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.evolution.dominance import Fronts, crowding, dominates, levels
from matloop.orchestrator.strategies.evolution.population import Population
from matloop.orchestrator.trial import Proposal
from matloop.testing.strategy import as_trial


def individuals(losses: np.ndarray) -> list[Any]:
    """As DEAP wants them; `place` is the row."""
    m = losses.shape[1]
    fitness = type("Fitness", (base.Fitness,), {"weights": (-1.0,) * m})
    made = []
    for place, row in enumerate(losses):
        made.append(type("Individual", (), {"fitness": fitness(tuple(row)), "place": place})())
    return made


def samples(m: int, n: int, *, ties: bool) -> np.ndarray:
    rng = derive("dominance", m, n, int(ties))
    return rng.integers(0, 5, (n, m)).astype(float) if ties else rng.random((n, m))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("n", [1, 2, 7, 60])
def test_levels_and_crowding_are_deaps(n: int, m: int, ties: bool) -> None:
    losses = samples(m, n, ties=ties)
    found = levels(dominates(losses[:, None], losses[None]))
    for number, front in enumerate(tools.sortNondominated(individuals(losses), n)):
        front.sort(key=lambda individual: individual.place)
        places = [individual.place for individual in front]
        assert places == np.flatnonzero(found == number).tolist()
        tools.emo.assignCrowdingDist(front)
        expected = [individual.fitness.crowding_dist for individual in front]
        np.testing.assert_allclose(crowding(losses[places]), expected, rtol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("m", [2, 3])
def test_updates_equal_a_fresh_start(m: int, ties: bool) -> None:
    rng, capacity = derive("updates"), 24
    fronts, living = Fronts(capacity, m), dict[int, np.ndarray]()
    for row in samples(m, 300, ties=ties):
        free = [place for place in range(capacity) if place not in living]
        if not free or (living and rng.random() < 0.3):
            place = int(rng.choice(list(living)))
            fronts.remove(place)
            del living[place]
            free.append(place)
        fronts.add(free[0], row)
        living[free[0]] = row
        places = sorted(living)
        losses = np.array([living[place] for place in places])
        fresh = levels(dominates(losses[:, None], losses[None]))
        merits = np.array([fronts.merit(place) for place in places])
        assert (-merits[:, 0]).tolist() == fresh.tolist()
        for number in set(fresh.tolist()):
            np.testing.assert_allclose(merits[fresh == number, 1], crowding(losses[fresh == number]))


@pytest.mark.parametrize("m", [2, 3])
def test_who_goes_is_whom_nsga2_lets_go(m: int) -> None:
    """DEAP sorts everything at every newcomer. Of equally crowded ones (the two ends of a front), any may go."""
    size = 16
    population = Population(size=size, objectives=m, replacement="elitist", tournament=2)
    rows = samples(m, 200, ties=False)
    before: set[int] = set()
    for number, row in enumerate(rows):
        population.add(as_trial(number, Proposal(point={})), row.tolist())
        after = {t.number for t in population.trials}
        candidates = sorted(before | {number})
        if number >= size:
            (gone,) = set(candidates) - after
            everyone = individuals(rows[candidates])
            kept = {candidates[individual.place] for individual in tools.selNSGA2(everyone, size)}
            (theirs,) = set(candidates) - kept
            ends = [everyone[candidates.index(one)].fitness for one in (gone, theirs)]
            assert gone == theirs or ends[0].crowding_dist == ends[1].crowding_dist == np.inf
            last = tools.sortNondominated(everyone, size + 1)[-1]
            assert candidates.index(gone) in [individual.place for individual in last]
        assert population.reference == pytest.approx(np.median(rows[sorted(after), 0]))
        before = after
    assert len(before) == size


def test_the_oldest_goes_where_replacement_is_aging() -> None:
    population = Population(size=5, objectives=2, replacement="aging", tournament=2)
    rows = samples(2, 40, ties=False)
    for number, row in enumerate(rows):
        population.add(as_trial(number, Proposal(point={})), row.tolist())
        assert [t.number for t in population.trials] == list(range(max(0, number - 4), number + 1))


def test_a_newcomer_costs_far_less_than_sorting_anew() -> None:
    n = 400
    losses = samples(2, n + 1, ties=False)
    population = Population(size=n, objectives=2, replacement="elitist", tournament=2)
    for number, row in enumerate(losses[:n]):
        population.add(as_trial(number, Proposal(point={})), row.tolist())
    newcomer = as_trial(n, Proposal(point={}))
    ours = min(timeit.repeat(lambda: population.add(newcomer, losses[n].tolist()), number=5, repeat=3)) / 5
    deaps = timeit.timeit(lambda: tools.selNSGA2(individuals(losses), n), number=1)
    assert ours < 0.05 * deaps
