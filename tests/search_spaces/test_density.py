"""Densities: the contract of spaces, what is refused, and the statistics of random points."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.randomness import derive
from matloop.search_spaces.density import Density
from matloop.surrogates.generator.fields import autocorrelation, cut_correlation
from matloop.surrogates.microstructure.two_point import two_point_correlation
from matloop.testing.space import SpaceContract


class TestDensity(SpaceContract):
    @pytest.fixture(params=[[6, 8], [4, 4, 6]])
    def space(self, request: pytest.FixtureRequest) -> Density:
        return Density(shape=request.param, length=2.0)


def test_random_points_are_gaussian_fields_cut_at_zero() -> None:
    space = Density(shape=[16, 16], length=3.0)
    drawn = np.array([space.sample(derive("density", k))["density"] for k in range(1500)])
    assert set(np.unique(drawn)) == {0.0, 1.0}
    expected = cut_correlation(autocorrelation((16, 16), 3.0))
    np.testing.assert_allclose(two_point_correlation(drawn).mean(axis=0), expected, atol=0.012)


@pytest.mark.parametrize(
    ("density", "match"),
    [
        ([[0.0, 1.0]], "shape"),
        ([[0.0, 1.5], [0.0, 0.0]], "0 to 1.5"),
        ([[0.0], [0.0, 1.0]], "equal length"),
        ("grey", "equal length"),
        ([[0.0, float("nan")], [0.0, 0.0]], "from 0 to 1"),
    ],
)
def test_what_is_no_density_is_refused(density: object, match: str) -> None:
    with pytest.raises(InvalidPoint, match=match):
        Density(shape=[2, 2]).check({"density": density})


@pytest.mark.parametrize("options", [{"shape": [8]}, {"shape": [1, 8]}, {"length": 0.0}])
def test_impossible_options_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        Density(**options)
