"""What the strategies of design do with gradients, beside each other and after an interruption."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from matloop.drivers.optics.driver import Optics
from matloop.hpc.serial import Serial
from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.loop.budget import Budget
from matloop.orchestrator.protocols import differentiates, wants_gradient
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.design.ascent import GradientAscent
from matloop.orchestrator.strategies.design.inverse_design import InverseDesign
from matloop.orchestrator.strategies.design.structures import Structures
from matloop.orchestrator.strategies.design.topology import TopologyOptimisation
from matloop.orchestrator.strategies.design.trust_region import FIRST, TrustRegion
from matloop.orchestrator.strategies.modelled.hedge import GPHedge
from matloop.orchestrator.trial import Objective, Proposal, Trial, best
from matloop.search_spaces.density import Density
from matloop.search_spaces.latent import Latent
from matloop.surrogates.gaussian_process.isotropic import Isotropic
from matloop.testing.strategy import answered, as_trial
from tests.orchestrator.harness import run
from tests.orchestrator.strategies import toys
from tests.orchestrator.strategies.design.pictures import Blobs, Physics
from tests.orchestrator.toys import study

(LOSS,) = toys.loss()
FIELD = {"kind": "field", "size": 16, "length": 3}
ABSORPTION = Objective("absorption", "maximise")


def campaign(strategy: Any, physics: Physics, trials: int) -> list[Trial]:
    """Serial."""
    told = []
    for number in range(trials):
        (proposal,) = strategy.ask(1, (), derive("campaign", number))
        told.append(physics(as_trial(number, proposal, ask=number)))
        strategy.tell(told[-1])
    return told


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.mark.parametrize("space", [Latent("grf32"), Latent(FIELD), Blobs(normal=False)], ids=["gan", "field", "blobs"])
def test_a_slope_is_that_of_the_soft_structure(space: Any) -> None:
    structures = Structures(space, "test")
    z, direction = structures.random(2, derive("slope"))
    weights = derive("weights").standard_normal(structures.sides)

    def worth(at: np.ndarray) -> float:
        return float((structures.soft(torch.tensor(at[None]))[0].numpy() * weights).sum())

    slope = structures.slope(z, weights)
    expected = (worth(z + 1e-5 * direction) - worth(z - 1e-5 * direction)) / 2e-5
    assert slope @ direction == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("normal", [True, False])
def test_steps_are_as_long_as_they_say_and_stay_in_the_space(normal: bool) -> None:
    structures = Structures(Blobs(normal=normal), "test")
    z, direction = structures.random(2, derive("steps"))
    direction = direction - (direction @ z) / (z @ z) * z  # along the sphere
    moved = structures.moved(z, direction, 0.01)
    if normal:
        assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm(z))
        assert np.arccos(z @ moved / (z @ z)) == pytest.approx(0.01, rel=1e-3)
        turned = structures.near(z, 50, 0.3, derive("near"))
        np.testing.assert_allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(z))
    else:
        assert np.sqrt(np.mean((moved - z) ** 2)) == pytest.approx(0.01, rel=1e-3)
        assert np.abs(structures.moved(z, direction, 9.0)).max() <= 1
    assert (structures.moved(z, 0 * z, 0.1) == z).all()


@pytest.mark.parametrize("normal", [True, False])
def test_a_climb_gets_further_than_as_many_random_structures(normal: bool, store: ArtifactStore) -> None:
    space = Blobs(normal=normal)
    physics = Physics(space, store, LOSS)
    made = GradientAscent(space=space, objectives=(LOSS,), artifacts=store, starts=6, like_data=None)
    told = campaign(made, physics, 40)
    starts = [t.values["f0"] for t in told if not wants_gradient(t)]
    randoms = [physics(as_trial(k, Proposal(point=space.sample(derive("random", k))))).values["f0"] for k in range(60)]
    assert len(starts) == 6
    assert min(t.values["f0"] for t in told) < 0.6 * min(*starts, *randoms)


def test_a_climb_keeps_to_the_data_and_one_without_limits_says_where_it_left_them(store: ArtifactStore) -> None:
    space = Blobs(normal=False)
    outside = {}
    for like_data in (0.8, None):
        made = GradientAscent(space=space, objectives=(LOSS,), artifacts=store, starts=4, like_data=like_data)
        told = campaign(made, Physics(space, store, LOSS), 25)
        assert all({"volume_fraction", "two_point_distance", "speckle"} == set(t.extra["statistics"]) for t in told)
        outside[like_data] = [t for t in told if t.extra["outside"]]
    assert outside[0.8] == []
    free = GradientAscent(space=space, objectives=(LOSS,), artifacts=store, like_data=None)._admissible
    strict = GradientAscent(space=space, objectives=(LOSS,), artifacts=store, like_data=0.8)._admissible
    z = strict.structures.random(40, derive("anywhere"))
    kept = strict.likeness.holds(strict.structures.labels(z))
    told_outside = [bool(strict.proposal(one, "test", {}).extra["outside"]) for one in z]
    assert told_outside == (~kept).tolist() and 0 < kept.sum() < 40
    assert "outside the data" in strict.proposal(z[~kept][0], "test", {}).reason
    assert free.likeness.holds(strict.structures.labels(z)).all()


def test_free_workers_climb_side_by_side_and_none_waits(store: ArtifactStore) -> None:
    space = Blobs(normal=True)
    physics = Physics(space, store, LOSS)
    made = GradientAscent(space=space, objectives=(LOSS,), artifacts=store, starts=3, like_data=None)
    told = campaign(made, physics, 3)
    pending = [as_trial(10 + k, proposal) for k, proposal in enumerate(made.ask(3, (), derive(1)))]
    assert [t.extra["chain"] for t in pending] == [0, 1, 2] and [t.extra["step"] for t in pending] == [0, 0, 0]
    best_first = sorted(told, key=lambda t: t.values["f0"])
    assert [t.parents for t in pending] == [(t.id,) for t in best_first]
    made.tell(physics(pending[1]))
    (following,) = made.ask(1, [pending[0], pending[2]], derive(2))
    assert (following.extra["chain"], following.extra["step"]) == (1, 1) and following.parents == (pending[1].id,)
    fresh = made.ask(2, [pending[0], as_trial(20, following), pending[2]], derive(3))  # no measured start is left
    assert [p.extra["chain"] for p in fresh] == [3, 4] and {p.parents for p in fresh} == {()}


def test_a_climb_without_gradient_ends_and_the_next_start_follows(store: ArtifactStore) -> None:
    space = Blobs(normal=True)
    made = GradientAscent(space=space, objectives=(LOSS,), artifacts=store, starts=2, like_data=None)
    physics = Physics(space, store, LOSS)
    campaign(made, physics, 2)
    (first,) = made.ask(1, (), derive(0))
    lost = replace(physics(as_trial(5, first)), artifacts={"gradient_f0": "0" * 64})  # nobody has it any more
    made.tell(lost)
    (second,) = made.ask(1, (), derive(1))
    assert (second.extra["chain"], second.extra["step"]) == (1, 0)


def test_earlier_trials_are_starts(store: ArtifactStore) -> None:
    space = Blobs(normal=True)
    physics = Physics(space, store, LOSS)
    climbed = {"extra": {"gradient": True, "chain": 0, "step": 0}}  # in an earlier study
    data = tuple(physics(as_trial(k, Proposal(point=space.sample(derive(k)), **climbed))) for k in range(6))
    made = GradientAscent(space=space, objectives=(LOSS,), artifacts=store, data=data, starts=6, like_data=None)
    (proposal,) = made.ask(1, (), derive(0))
    top = best(data, LOSS)
    assert top is not None and proposal.parents == (top.id,) and wants_gradient(proposal)
    assert (proposal.extra["chain"], proposal.extra["step"]) == (0, 0)


def test_density_optimisation_finds_the_target_and_compares_its_ends_alone(store: ArtifactStore) -> None:
    space = Density(shape=[12, 12])
    physics = Physics(space, store, LOSS)
    made = TopologyOptimisation(space=space, objectives=(LOSS,), artifacts=store, steps=25)
    told = campaign(made, physics, 26)
    end = told[-1]
    assert [t.fidelity is None for t in told] == [False] * 25 + [True] and not wants_gradient(end)
    assert set(np.unique(end.point["density"])) == {0.0, 1.0} and best(told, LOSS) is end
    assert end.values["f0"] < 0.03 < told[0].values["f0"]
    (another,) = made.ask(1, (), derive("next"))
    assert (another.extra["chain"], another.extra["step"]) == (1, 0)


def test_densities_are_optimised_one_after_the_other_unless_more_are_asked_for(store: ArtifactStore) -> None:
    """A queue that is longer than the workers are many must not begin so many that none is finished."""
    physics = Physics(Density(shape=[7, 9]), store, LOSS)
    physics.target = np.add.outer(np.arange(7) < 3, np.zeros(9)).astype(float)
    for side_by_side in (1, 2):
        made = TopologyOptimisation(
            space=physics.space, objectives=(LOSS,), artifacts=store, steps=4, side_by_side=side_by_side
        )
        pending: list[Trial] = []
        told: list[Trial] = []
        while len(told) < 5 * side_by_side:
            for proposal in made.ask(3, pending, derive("ask", len(told))):
                pending.append(as_trial(len(told) + len(pending), proposal))
            assert 1 <= len(pending) <= side_by_side
            told.append(physics(pending.pop(0)))
            made.tell(told[-1])
        assert [t.extra["chain"] for t in told if t.fidelity is None] == [*range(side_by_side)]
        assert len(made.ask(3, (), derive("next"))) == side_by_side  # and then others


@pytest.mark.parametrize("damage", ["shape", "nan", "empty", "gone"])
@pytest.mark.parametrize("kind", [GradientAscent, TopologyOptimisation])
def test_a_gradient_that_cannot_be_used_ends_a_climb_and_not_the_study(
    kind: Any, damage: str, store: ArtifactStore
) -> None:
    space: Any = Blobs(normal=True) if kind is GradientAscent else Density(shape=[12, 12])
    options = {"starts": 1, "like_data": None} if kind is GradientAscent else {}
    made = kind(space=space, objectives=(LOSS,), artifacts=store, **options)
    physics = Physics(space, store, LOSS)
    if kind is GradientAscent:
        campaign(made, physics, 1)
    (first,) = made.ask(1, (), derive(0))
    done = physics(as_trial(5, first))
    content = {"shape": np.ones((3, 5)), "nan": np.full((12, 12), np.nan)}.get(damage, np.ones((12, 12)))
    name = store.save(content)
    if damage == "empty":
        store.path(name).write_bytes(b"")
    elif damage == "gone":
        store.path(name).unlink()
    made.tell(replace(done, artifacts={"gradient_f0": name}))
    (second,) = made.ask(1, (), derive(1))
    assert (second.extra["chain"], second.extra["step"]) == (1, 0)
    assert "0 has ended: its last step" in second.reason and "left no gradient that can be used" in second.reason
    space.check(second.point)


@pytest.mark.parametrize("kind", [GradientAscent, InverseDesign])
def test_an_interrupted_search_goes_on_as_if_it_never_was(kind: Any, tmp_path: Path) -> None:
    def made(folder: Path, cost: float) -> Any:
        space = Latent(FIELD)
        counts = {"starts": 3} if kind is GradientAscent else {"initial": 2, "modelled": 3, "candidates": 8}
        strategy = kind(space=space, objectives=(ABSORPTION,), artifacts=ArtifactStore(folder / "artifacts"), **counts)
        driver = Optics(generator=FIELD, order=1)
        return replace(
            study(strategy=strategy, driver=driver, objectives=(ABSORPTION,), budget=Budget(cost=cost)), space=space
        )

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, lambda: made(whole, 12.0), executor=Serial())
    for cost in (2.0, 6.0, 12.0):
        run(parts, lambda cost=cost: made(parts, cost), executor=Serial())
    once, again = read(whole / "ledger.db").trials, read(parts / "ledger.db").trials
    assert len(once) > 7 and [t.point for t in again] == [t.point for t in once]
    assert sum(t.cost or 1.0 for t in once) >= 12


def test_validate_refuses_them_with_a_driver_without_gradients(tmp_path: Path) -> None:
    text = """
name: no gradient
studies:
  design:
    space: {kind: latent}
    driver: {kind: python, path: "operator:length_hint"}
    strategy: {kind: inverse_design}
    objectives: {f: minimise}
    budget: {trials: 3}
"""
    (tmp_path / "campaign.yaml").write_text(text)
    config = load(tmp_path / "campaign.yaml")
    with pytest.raises(ConfigError, match="needs a driver that offers gradients"):
        validate(config)
    assert differentiates(InverseDesign) and differentiates(TopologyOptimisation) and not differentiates(TrustRegion)


def test_a_trust_region_grows_shrinks_and_begins_again() -> None:
    space = Blobs(normal=False)
    made = TrustRegion(space=space, objectives=(LOSS,), initial=2, failures=2, candidates=8, like_data=None)

    def tell(values: list[float], region: int = 0) -> Any:
        for value in values:
            number = len(made._answered)
            point = space.sample(derive("region", number))
            made.tell(answered(as_trial(number, Proposal(point=point, extra={"region": region})), {"f0": value}))
        return made._region()

    assert tell([5.0, 6.0]).side == FIRST  # random structures, and no failure
    assert tell([4.0, 3.0]).side == FIRST
    assert tell([2.0]).side == 1.6  # three successes; 1.6 is the largest
    assert tell([2.5, 2.6]).side == 0.8
    assert tell([2.5, 1.9, 2.5, 2.5]).side == 0.4  # a success breaks the row
    region = tell([2.5] * 12)
    assert region.number == 1 and region.side == FIRST and region.trials == 0 and region.best is None
    (proposal,) = made.ask(1, (), derive(0))
    assert proposal.extra["region"] == 1 and "to begin region 1" in proposal.reason


def test_candidates_stay_within_the_trust_region() -> None:
    made = TrustRegion(space=Blobs(normal=False), objectives=(LOSS,), candidates=500)
    centre = np.full(10, 0.9)
    found = made._around(centre, 0.5, derive(0))
    assert found.max() <= 1 and found.min() >= 0.9 - 0.5 and found.min() < 0.5
    sphere = TrustRegion(space=Blobs(normal=True), objectives=(LOSS,), candidates=50)
    np.testing.assert_allclose(np.linalg.norm(sphere._around(centre, 0.5, derive(0)), axis=1), np.linalg.norm(centre))


def test_gp_hedge_gains_what_the_updated_model_expects_at_nominees() -> None:
    space = toys.reals(2)
    made = GPHedge(
        space=space, objectives=(LOSS,), surrogate=Isotropic(), initial=4, candidates=16, restarts=1, iterations=3
    )
    told, expected = [], np.zeros(3)
    for number in range(8):
        (proposal,) = made.ask(1, (), derive("hedge", number))
        if number >= 4:
            assert proposal.extra["hedge"]["gains"] == pytest.approx(expected.tolist(), abs=1e-6)
        trial = as_trial(number, proposal, ask=number)
        done = answered(trial, {"f0": float(np.sum(np.square(list(trial.point.values()))))})
        made.tell(done)
        told.append(done)
        if number >= 4:
            x = torch.as_tensor(space.encode([t.point for t in told]))
            y = -torch.tensor([[t.values["f0"]] for t in told], dtype=torch.float64)
            model = Isotropic().fit(x, y, 0)
            nominees = torch.as_tensor(space.encode(trial.extra["hedge"]["nominees"]))
            with torch.no_grad():
                mean = model.posterior(nominees.unsqueeze(1)).mean[:, 0, 0]
            expected = expected + ((mean - y.mean()) / y.std(correction=0)).numpy()
            chosen = trial.extra["hedge"]["nominees"][trial.extra["hedge"]["arm"]]
            assert chosen == trial.point


def test_regions_and_gains_of_an_earlier_study_are_its_own() -> None:
    space = Blobs(normal=False)
    extra = {"region": 3, "hedge": {"arm": 0, "gains": [9.0, 0.0, 0.0], "after": 7, "nominees": []}}
    points = [Proposal(point=space.sample(derive("earlier", k)), extra=extra) for k in range(4)]
    data = tuple(answered(as_trial(k, proposal), {"f0": float(k)}) for k, proposal in enumerate(points))
    region = TrustRegion(space=space, objectives=(LOSS,), data=data, initial=2, like_data=None)._region()
    assert (region.number, region.trials) == (0, 4) and region.best is not None and region.best.values == {"f0": 0.0}
    pool = toys.pool(18)
    points = [Proposal(point=pool.points[k], extra=extra) for k in range(6)]
    data = tuple(answered(as_trial(k, proposal), {"f0": float(k)}) for k, proposal in enumerate(points))
    made = GPHedge(space=pool, objectives=(LOSS,), data=data, initial=5, surrogate=Isotropic())
    (proposal,) = made.ask(1, (), derive(0))
    assert proposal.extra["hedge"]["gains"] == [0.0, 0.0, 0.0] and proposal.extra["hedge"]["after"] == 0


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_lengths_are_above_zero_and_finite(value: float, store: ArtifactStore) -> None:
    with pytest.raises(ConfigError, match="step > 0, and finite"):
        GradientAscent(space=Blobs(normal=True), objectives=(LOSS,), artifacts=store, step=value)
    for name in ("smooth", "rate"):
        options: dict[str, Any] = {name: value}
        with pytest.raises(ConfigError, match=f"{name} > 0, and finite"):
            TopologyOptimisation(space=Density(shape=[4, 4]), objectives=(LOSS,), artifacts=store, **options)


def test_objectives_that_cannot_be_climbed_are_refused(store: ArtifactStore) -> None:
    with pytest.raises(ConfigError, match="expected one objective, got f0, f1"):
        GradientAscent(space=Blobs(normal=True), objectives=toys.loss(m=2), artifacts=store)
    limited = (Objective("f0", at_most=1.0),)
    with pytest.raises(ConfigError, match="without limits"):
        GradientAscent(space=Blobs(normal=True), objectives=limited, artifacts=store)
    with pytest.raises(ConfigError, match="use the strategy bayesian"):
        GPHedge(space=toys.pool(18), objectives=toys.loss(m=2))
    with pytest.raises(ConfigError, match="Rendering"):
        GradientAscent(space=toys.reals(), objectives=toys.loss(), artifacts=store)
