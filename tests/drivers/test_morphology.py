"""Volume fraction and smallest features as values."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.drivers.morphology import Morphology
from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import gradient_of, offers_gradients
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.latent import Latent
from matloop.testing.driver import DriverContract

STRIPES = np.tile([0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1], (12, 1))


def asked(point):
    return Trial(id=0, study="study", number=0, point=point, seed=0)


def zeros():
    return asked({"z": [0.0] * Latent().dimension})


class TestMorphology(DriverContract):
    @pytest.fixture
    def driver(self):
        return Morphology()

    @pytest.fixture
    def trial(self):
        return zeros()


def test_the_volume_fraction_is_the_share_of_ones():
    assert Morphology()(zeros()).values["volume_fraction"] == Latent().microstructure(zeros().point).mean()
    assert Morphology()(asked({"microstructure": [[[0, 1], [1, 1]]]})).values["volume_fraction"] == 0.75
    found = Morphology().value_and_gradient(asked({"density": [[0.2, 0.4, 0.9]]}))
    assert found.values["volume_fraction"] == pytest.approx(0.5)
    np.testing.assert_allclose(found.artifacts[gradient_of("volume_fraction")], np.full((1, 3), 1 / 3))


def test_stripes_are_as_wide_as_they_are():
    in_pixels = Morphology()(asked({"microstructure": STRIPES.tolist()})).values
    assert (in_pixels["smallest_feature"], in_pixels["smallest_gap"]) == (2, 3)
    driver = Morphology(period_nm=600.0, objectives=(Objective("smallest_gap"), Objective("absorption")))
    grey = driver.value_and_gradient(asked({"density": (0.1 + 0.8 * STRIPES).tolist()}))
    assert (grey.values["smallest_feature"], grey.values["smallest_gap"]) == (100.0, 150.0)
    assert not np.any(grey.artifacts[gradient_of("smallest_gap")]) and len(grey.artifacts) == 2
    assert driver.measures["smallest_feature"].unit == "nm" and Morphology().measures["smallest_gap"].unit == "pixels"


def test_features_need_square_pixels_to_have_a_length():
    with pytest.raises(InvalidPoint, match="expected square pixels"):
        Morphology(period_nm=600.0)(asked({"microstructure": STRIPES[:6].tolist()}))
    with pytest.raises(InvalidPoint, match="expected square pixels"):
        Morphology(period_nm=600.0)(asked({"microstructure": [STRIPES.tolist()]}))
    assert Morphology(period_nm=[600, 300])(asked({"microstructure": STRIPES[:6].tolist()})).values["smallest_gap"] > 50
    for options in ({"period_nm": -1.0}, {"generator": "grf"}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            Morphology(**options)


def test_it_offers_gradients_and_costs_little():
    driver = Morphology()
    assert offers_gradients(driver)
    assert driver(zeros()).cost == driver.value_and_gradient(zeros()).cost == driver.call_cost < 0.1
