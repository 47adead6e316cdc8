"""Strategies of design: the contract of all strategies, with gradients that a made-up physics leaves as artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.protocols import Space, Strategy
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.strategies.design.ascent import GradientAscent
from matloop.orchestrator.strategies.design.image_model import ImageModel
from matloop.orchestrator.strategies.design.inverse_design import InverseDesign
from matloop.orchestrator.strategies.design.topology import TopologyOptimisation
from matloop.orchestrator.strategies.design.trust_region import TrustRegion
from matloop.orchestrator.strategies.modelled.hedge import GPHedge
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.density import Density
from matloop.surrogates.gaussian_process.isotropic import Isotropic
from matloop.testing.strategy import Make, StrategyContract, as_trial, failed
from tests.orchestrator.strategies import toys
from tests.orchestrator.strategies.design.pictures import Blobs, Physics


class DesignContract(StrategyContract):
    """Every told trial that asked for a gradient has one, of the made-up physics."""

    trials = 18

    @pytest.fixture(autouse=True)
    def store(self, tmp_path: Path) -> None:
        self.artifacts = ArtifactStore(tmp_path / "artifacts")

    def history(
        self, strategy: Strategy, space: Space, objectives: Sequence[Objective], *, failures: bool = True
    ) -> list[Trial]:
        physics = Physics(space, self.artifacts, objectives[0])
        told: list[Trial] = []
        for number in range(self.trials):
            (proposal,) = strategy.ask(1, (), derive(3, number))
            trial = as_trial(number, proposal, ask=number)
            told.append(failed(trial) if failures and number % 7 == 3 else physics(trial))
            strategy.tell(told[-1])
        return told

    def test_maximising_is_minimising_the_negative(self, make: Make) -> None:
        strategy, space, objectives = make(0)
        mirror, _, opposite = make(0, direction="maximise")
        for trial in self.history(strategy, space, objectives):
            mirror.tell(Physics(space, self.artifacts, opposite[0]).mirrored(trial))
        theirs = [p.point for p in mirror.ask(self.n, (), derive(9))]
        assert theirs == [p.point for p in strategy.ask(self.n, (), derive(9))]


SPACES = {"box": lambda: Blobs(normal=False), "sphere": lambda: Blobs(normal=True)}


class TestGradientAscent(DesignContract):
    @pytest.fixture(params=SPACES.values(), ids=list(SPACES))
    def make(self, request: pytest.FixtureRequest) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise") -> Any:
            space, objectives = request.param(), toys.loss(direction)
            made = GradientAscent(
                space=space, objectives=objectives, artifacts=self.artifacts, starts=5, steps=4, seed=seed
            )
            return made, space, objectives

        return make


class TestInverseDesign(DesignContract):
    @pytest.fixture
    def make(self) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise") -> Any:
            space, objectives = Blobs(normal=True), toys.loss(direction)
            options = {"initial": 4, "modelled": 7, "candidates": 16, "steps": 4, "seed": seed}
            made = InverseDesign(space=space, objectives=objectives, artifacts=self.artifacts, **options)
            return made, space, objectives

        return make


class TestTopologyOptimisation(DesignContract):
    @pytest.fixture
    def make(self) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise") -> Any:
            space, objectives = Density(shape=[12, 12]), toys.loss(direction)
            made = TopologyOptimisation(
                space=space, objectives=objectives, artifacts=self.artifacts, steps=6, seed=seed
            )
            return made, space, objectives

        return make


class TestImageModel(DesignContract):
    trials = 12

    @pytest.fixture(params=["log_ei", "thompson"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise") -> Any:
            space, objectives = Blobs(normal=False), toys.loss(direction)
            options = {"initial": 8, "candidates": 16, "acquisition": request.param, "seed": seed}
            return ImageModel(space=space, objectives=objectives, **options), space, objectives

        return make


class TestTrustRegion(DesignContract):
    trials = 11

    @pytest.fixture(params=["image", "latent"])
    def make(self, request: pytest.FixtureRequest) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise") -> Any:
            space, objectives = Blobs(normal=request.param == "image"), toys.loss(direction)
            options = {"initial": 6, "candidates": 32, "model": request.param, "failures": 2, "seed": seed}
            return TrustRegion(space=space, objectives=objectives, **options), space, objectives

        return make


class TestGPHedge(StrategyContract):
    trials = 14

    @pytest.fixture
    def make(self) -> Make:
        def make(seed: int, direction: toys.Direction = "minimise") -> Any:
            space, objectives = toys.pool(18), toys.loss(direction)
            options = {"initial": 5, "surrogate": Isotropic(), "refit_every": 2}
            return GPHedge(space=space, objectives=objectives, seed=seed, **options), space, objectives

        return make
