"""Materials against values that others quote, and against the ranges of their tables."""

import numpy as np
import pytest

from matloop.drivers.optics.materials import MATERIALS, refractive_indices
from matloop.orchestrator.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "wavelength_nm", "n", "k", "tolerance"),
    [
        ("air", 500.0, 1.0, 0.0, 1e-12),
        ("silica", 587.6, 1.4585, 0.0, 1e-4),  # n_d of fused silica in any catalogue
        ("silica", 1550.0, 1.4440, 0.0, 1e-4),
        ("silicon", 632.8, 3.87, 0.016, 0.02),  # of ellipsometers: 3.87 - 3.88
        ("titanium dioxide", 589.3, 2.613, 0.0, 5e-3),  # rutile, ordinary ray, sodium light
        ("gold", 632.8, 0.18, 3.43, 0.02),
        ("silver", 632.8, 0.056, 4.28, 0.02),
        ("aluminium", 632.8, 1.45, 7.54, 0.02),
        ("titanium nitride", 619.9, 1.32, 2.69, 1e-9),
    ],
)
def test_indices_are_those_that_are_known(name, wavelength_nm, n, k, tolerance):
    (found,) = refractive_indices(name, [wavelength_nm], at="substrate")
    assert (found.real, found.imag) == pytest.approx((n, k), abs=tolerance)


@pytest.mark.parametrize("name", [name for name, material in MATERIALS.items() if np.isfinite(material.high_nm)])
def test_tables_rise_and_end(name):
    material = MATERIALS[name]
    inside = np.linspace(material.low_nm, material.high_nm, 50)
    assert (material.index(inside).real > 0).all() and (material.index(inside).imag >= 0).all()
    assert material.source
    for outside in (material.low_nm - 1, material.high_nm + 1):
        with pytest.raises(ConfigError, match=f"index of {name} is known"):
            refractive_indices(name, [550.0, outside], at="substrate")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.5, [1.5, 1.5]), ([1.5, 0.2], [1.5 + 0.2j] * 2), ([[1.5, 0.2], [1.4, 0.1]], [1.5 + 0.2j, 1.4 + 0.1j])],
)
def test_indices_by_number(value, expected):
    assert list(refractive_indices(value, [500.0, 600.0], at="substrate")) == expected


@pytest.mark.parametrize("value", ["glas", [], [[1.5, 0.0]] * 3, [1.5, -0.1], [float("nan"), 0.0], [1.0, 2.0, 3.0]])
def test_what_is_no_index_is_refused(value):
    with pytest.raises(ConfigError, match="expected substrate"):
        refractive_indices(value, [500.0, 600.0], at="substrate")
