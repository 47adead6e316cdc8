"""Shares of phases as values."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.drivers.morphology import Morphology
from matloop.orchestrator.protocols import gradient_of, offers_gradients
from matloop.orchestrator.trial import Trial
from matloop.search_spaces.latent import Latent
from matloop.testing.driver import DriverContract

Z = {"z": [0.1 * ((7 * i) % 19 - 9) for i in range(64)]}


def asked(point):
    return Trial(id=0, study="study", number=0, point=point, seed=0)


class TestMorphology(DriverContract):
    @pytest.fixture
    def driver(self):
        return Morphology()

    @pytest.fixture
    def trial(self):
        return asked(Z)


def test_the_volume_fraction_is_the_share_of_ones():
    assert Morphology()(asked(Z)).values == {"volume_fraction": Latent().microstructure(Z).mean()}
    assert Morphology()(asked({"microstructure": [[[0, 1], [1, 1]]]})).values["volume_fraction"] == 0.75
    found = Morphology().value_and_gradient(asked({"density": [[0.2, 0.4, 0.9]]}))
    assert found.values["volume_fraction"] == pytest.approx(0.5)
    np.testing.assert_allclose(found.artifacts[gradient_of("volume_fraction")], np.full((1, 3), 1 / 3))


def test_it_offers_gradients_and_costs_little():
    driver = Morphology()
    assert offers_gradients(driver)
    assert driver(asked(Z)).cost == driver.value_and_gradient(asked(Z)).cost == driver.call_cost < 0.1
