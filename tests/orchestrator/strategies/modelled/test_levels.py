"""Choices that nobody has tried: each is looked at while the model cannot rule it out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.modelled import levels
from matloop.orchestrator.strategies.modelled.bayes import Bayesian
from matloop.orchestrator.strategies.modelled.levels import Levels
from matloop.orchestrator.trial import Objective, Point, Trial
from matloop.search_spaces.box import Box
from matloop.search_spaces.pool import Pool
from matloop.surrogates.gaussian_process.gp import GP

UP = (Objective("yield", "maximise", "%"),)
LIGANDS, BASES, HEATS = 12, 4, (90, 105, 120)


def reactions(seed: int) -> tuple[Pool, np.ndarray]:
    """Reactions of which most fail; one ligand in four works, with the right base and heat."""
    rng = np.random.default_rng(seed)
    good, base, heat = rng.random(LIGANDS) ** 4, rng.uniform(0.2, 1.0, (LIGANDS, BASES)), rng.uniform(0.5, 1.0, 3)
    points, values = [], []
    for a, b, t in itertools.product(range(LIGANDS), range(BASES), range(3)):
        points.append({"ligand": f"L{a}", "base": f"B{b}", "heat": HEATS[t]})
        values.append(100 * good[a] * base[a, b] * heat[t])
    return Pool(points=points), np.array(values)


def campaign(pool: Pool, values: np.ndarray, seed: int, length: int, starts: int = 2) -> list[int]:
    """Indices in the order measured."""
    strategy = Bayesian(space=pool, objectives=UP, initial=starts, explain=False, seed=seed)
    index = {tuple(p.values()): i for i, p in enumerate(pool.points)}
    order = derive("starts", seed).choice(len(values), starts, replace=False).tolist()
    for number in range(length):
        if number >= starts:
            (proposal,) = strategy.ask(1, (), derive("ask", seed, number))
            order.append(index[tuple(proposal.point.values())])
        strategy.tell(told(number, pool.points[order[number]], values[order[number]]))
    return order


def told(number: int, point: Point, value: float) -> Trial:
    return Trial(
        id=number, study="s", number=number, point=point, seed=0, state="answered", values={"yield": float(value)}
    )


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_ligands_are_not_passed_over_and_the_best_reaction_is_found(seed: int) -> None:
    pool, values = reactions(seed)
    order = campaign(pool, values, seed, 40)
    tried = {pool.points[i]["ligand"] for i in order[:24]}
    assert len(tried) >= 7, tried
    assert values[order].max() >= 0.98 * values.max()


def test_a_point_is_worth_a_look_if_its_choice_is_new_and_it_may_be_better_than_the_best() -> None:
    pool, _ = reactions(0)
    x = torch.as_tensor(pool.encode(pool.points))
    known = torch.tensor([i for i, p in enumerate(pool.points) if p["ligand"] in ("L0", "L1", "L2")])
    looks = Levels(pool)
    new = looks.untried(x, x[known])
    assert new.tolist() == [p["ligand"] not in ("L0", "L1", "L2") for p in pool.points]
    y = torch.as_tensor(derive("levels").normal(size=(len(known), 1)))
    model = GP(space=pool).fit(x[known], y, 0)
    with torch.no_grad():
        posterior = model.posterior(x.unsqueeze(1))
    high = (posterior.mean + 2 * posterior.variance.sqrt())[:, 0, 0]
    middle = float(high[new].sort().values[len(high[new]) // 2 :][:2].mean())
    assert torch.equal(looks.worth_a_look(model, x, x[known], middle), new & (high > middle))
    assert not looks.worth_a_look(model, x, x[known], float(high.max()) + 1).any()
    place = x[-1]
    assert looks.name(place, x[known]) == "ligand L11"


def test_what_is_new_is_said_and_nothing_is_where_nothing_is() -> None:
    pool, values = reactions(1)
    strategy = Bayesian(space=pool, objectives=UP, initial=2, seed=0)
    first = [i for i, p in enumerate(pool.points) if p["ligand"] in ("L0", "L1")][:: levels.EVERY]
    for number, i in enumerate(first[: 2 * levels.EVERY]):
        strategy.tell(told(number, pool.points[i], values[i]))
    (proposal,) = strategy.ask(1, (), derive(0))
    assert proposal.point["ligand"] not in ("L0", "L1")
    assert f"first look at ligand {proposal.point['ligand']}" in proposal.reason
    numbers = Levels(Pool(points=[{"t": float(i)} for i in range(5)]))
    assert not numbers.due(levels.EVERY, 0)
    assert not Levels(object()).due(levels.EVERY, 0)


def test_a_batch_looks_at_different_choices() -> None:
    pool, values = reactions(2)
    strategy = Bayesian(space=pool, objectives=UP, initial=2, explain=False, seed=0)
    for number, i in enumerate(range(0, 24, 4)):
        strategy.tell(told(number, pool.points[i], values[i]))
    proposals = strategy.ask(2 * levels.EVERY + 1, (), derive(0))
    looked = [p.point["ligand"] for p in proposals if "first look at ligand" in p.reason]
    assert len(looked) >= 2
    assert len(set(looked)) == len(looked)


def test_a_box_looks_at_its_choices_too() -> None:
    space = Box(
        parameters={
            "gas": {"type": "categorical", "choices": ["argon", "nitrogen", "air", "helium", "oxygen"]},
            "heat": {"type": "float", "low": 0.0, "high": 1.0},
        }
    )
    strategy = Bayesian(space=space, objectives=UP, initial=4, explain=False, seed=0, candidates=32)
    for number in range(6):
        strategy.tell(told(number, {"gas": ("argon", "air")[number % 2], "heat": number / 6}, np.sin(number)))
    looked = set()
    for number in range(6, 15):
        (proposal,) = strategy.ask(1, (), derive(0, number))
        looked.add(proposal.point["gas"])
        strategy.tell(told(number, proposal.point, np.sin(5 * proposal.point["heat"])))
    assert {"nitrogen", "helium", "oxygen"} <= looked
