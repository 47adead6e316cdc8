"""What every driver must do: subclass `DriverContract` and give it fixtures `driver` and `trial`.

A driver that takes its objectives from the campaign file overrides `objectives` as well.
"""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.loop.returned import as_measurement
from matloop.orchestrator.protocols import Driver
from matloop.orchestrator.trial import Objective, Trial

LARGEST_PICKLE = 10_000
"""Bytes; a driver travels with every submission, so it holds settings and no data."""


class DriverContract:
    """Shared tests."""

    bad_point: dict[str, object] = {"no such": "point"}  # noqa: RUF012

    @pytest.fixture
    def driver(self) -> Driver:
        raise NotImplementedError("a subclass of DriverContract defines the fixture `driver`")

    @pytest.fixture
    def trial(self) -> Trial:
        raise NotImplementedError("a subclass of DriverContract defines the fixture `trial`")

    @pytest.fixture
    def objectives(self, driver: Driver) -> tuple[Objective, ...]:
        return driver.objectives

    def test_declares_whether_it_is_repeatable(self, driver: Driver) -> None:
        assert isinstance(driver.repeatable, bool)

    def test_objectives_are_declared_once_each(self, objectives: tuple[Objective, ...]) -> None:
        names = [o.name for o in objectives]
        assert names
        assert len(set(names)) == len(names)
        assert all(o.direction in ("minimise", "maximise") for o in objectives)

    def test_measurement_is_valid(self, driver: Driver, trial: Trial, objectives: tuple[Objective, ...]) -> None:
        measurement = as_measurement(driver(trial), objectives)
        assert all(math.isfinite(measurement.values[o.name]) for o in objectives)

    def test_pickle_is_small_before_and_after_use(self, driver: Driver, trial: Trial) -> None:
        assert len(pickle.dumps(driver)) < LARGEST_PICKLE
        driver(trial)
        assert len(pickle.dumps(driver)) < LARGEST_PICKLE

    def test_same_seed_gives_same_values_also_after_pickling(
        self, driver: Driver, trial: Trial, objectives: tuple[Objective, ...]
    ) -> None:
        if not driver.repeatable:
            pytest.skip("cannot be repeated")
        first = as_measurement(driver(trial), objectives)
        copy = pickle.loads(pickle.dumps(driver))
        assert as_measurement(copy(trial), objectives).values == first.values

    def test_error_becomes_a_failure_with_its_traceback(
        self, driver: Driver, trial: Trial, objectives: tuple[Objective, ...], tmp_path: Path
    ) -> None:
        wrong = replace(trial, point=self.bad_point)
        answer = Evaluation(Conditions(driver=driver, objectives=objectives, artifacts=tmp_path), wrong)()
        assert answer.values is None
        assert answer.failure is not None
        assert answer.failure.message
        assert "Traceback" in answer.failure.traceback
