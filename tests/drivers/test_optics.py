"""RCWA driver against the Airy formula, grcwa, energy conservation and symmetry."""

import importlib.util
import sys

import grcwa
import numpy as np
import pytest

from matloop.drivers.optics import Optics
from matloop.orchestrator.errors import ConfigError, InvalidPoint, MissingExtra
from matloop.orchestrator.trial import Trial
from matloop.search_spaces.latent import Latent
from matloop.surrogates.generator.fields import two_phase_fields
from matloop.testing.driver import DriverContract

SILICA, SILICON = 1.46 + 0j, 4.3 + 0.07j
Z = {"z": [0.1 * ((7 * i) % 19 - 9) for i in range(16)]}


def asked(point):
    return Trial(id=0, study="study", number=0, point=point, seed=0)


def measure(structure, **options):
    return Optics(**options)(asked({"microstructure": np.asarray(structure).astype(int).tolist()}))


@pytest.fixture(scope="module")
def structure():
    return two_phase_fields(1, (32, 32), 4.0, np.random.default_rng(0))[0]


class TestOptics(DriverContract):
    @pytest.fixture
    def driver(self):
        return Optics(order=1)

    @pytest.fixture
    def trial(self):
        return asked(Z)


def airy(index, thickness_over_wavelength, angle_deg, polarisation):
    """Reflectance and transmittance of a slab in air, from Fresnel's coefficients of one face and the Airy sum."""
    cosine = np.cos(np.radians(angle_deg))
    inside = np.sqrt(1 - (np.sin(np.radians(angle_deg)) / index) ** 2 + 0j)
    r = (
        (cosine - index * inside) / (cosine + index * inside)
        if polarisation == "y"
        else (index * cosine - inside) / (index * cosine + inside)
    )
    phase = np.exp(2j * np.pi * thickness_over_wavelength * index * inside)
    denominator = 1 - r**2 * phase**2
    return abs(r * (1 - phase**2) / denominator) ** 2, abs((1 - r**2) * phase / denominator) ** 2


def reference(structure, order, axis, *, period=400.0, thickness=200.0, wavelength=500.0, angle_deg=0.0):
    """Reflectance and transmittance by grcwa, with the same rectangular truncation; axis 0 is x, 1 is y."""
    solver = grcwa.obj((2 * order + 1) ** 2, [period, 0], [0, period], 1 / wavelength, np.radians(angle_deg), 0.0, 0)
    solver.Add_LayerUniform(1.0, 1.0)
    solver.Add_LayerGrid(thickness, *structure.T.shape)
    solver.Add_LayerUniform(1.0, 1.0)
    solver.Init_Setup(Gmethod=1)
    solver.GridLayer_geteps(np.where(structure.T, SILICON**2, SILICA**2).flatten())
    solver.MakeExcitationPlanewave(1 - axis, 0.0, axis, 0.0, order=0)
    return solver.RT_Solve(normalize=1)


@pytest.mark.parametrize("polarisation", ["x", "y"])
@pytest.mark.parametrize("angle_deg", [0.0, 40.0])
@pytest.mark.parametrize("phase", [0, 1])
def test_uniform_slab_is_that_of_airy(polarisation, angle_deg, phase):
    found = measure(np.full((32, 32), phase), angle_deg=angle_deg, polarisation=polarisation, order=2)
    reflectance, transmittance = airy((SILICA, SILICON)[phase], 200 / 500, angle_deg, polarisation)
    assert found.info["reflectance"] == pytest.approx(reflectance, abs=1e-9)
    assert found.info["transmittance"] == pytest.approx(transmittance, abs=1e-9)
    assert found.values["absorption"] == pytest.approx(1 - reflectance - transmittance, abs=1e-9)


@pytest.mark.parametrize(("order", "axis"), [(2, 0), (2, 1), (3, 0), (3, 1)])
def test_structured_film_is_that_of_grcwa(structure, order, axis):
    found = measure(structure, order=order, polarisation="xy"[axis])
    expected = reference(structure, order, axis)
    assert (found.info["reflectance"], found.info["transmittance"]) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("axis", [0, 1])
def test_oblique_light_and_many_diffraction_orders_are_those_of_grcwa(structure, axis):
    found = measure(structure, order=2, polarisation="xy"[axis], angle_deg=30, period_nm=900)
    expected = reference(structure, 2, axis, period=900.0, angle_deg=30)
    assert (found.info["reflectance"], found.info["transmittance"]) == pytest.approx(expected, abs=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1])
def test_fine_structure_at_order_five_is_that_of_grcwa(axis):
    fine = two_phase_fields(1, (64, 64), 8.0, np.random.default_rng(1))[0]
    found = measure(fine, order=5, polarisation="xy"[axis])
    expected = reference(fine, 5, axis)
    assert (found.info["reflectance"], found.info["transmittance"]) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("options", [{}, {"angle_deg": 25.0, "period_nm": 900.0}])
def test_lossless_film_absorbs_nothing(structure, options):
    found = measure(structure, order=2, index_inclusion=[4.3, 0.0], **options)
    assert abs(found.values["absorption"]) < 1e-9
    assert found.info["transmittance"] > 0.01


def test_rolling_the_structure_changes_nothing_and_transposing_it_swaps_the_polarisations(structure):
    x, y, rolled, transposed, both = (
        measure(s, polarisation=p, order=2).values["absorption"]
        for s, p in [
            (structure, "x"),
            (structure, "y"),
            (np.roll(structure, (3, 5), (0, 1)), "x"),
            (structure.T, "y"),
            (structure, "unpolarised"),
        ]
    )
    assert rolled == pytest.approx(x, abs=1e-9)
    assert transposed == pytest.approx(x, abs=1e-9)
    assert abs(x - y) > 1e-3
    assert both == pytest.approx((x + y) / 2, abs=1e-12)


def test_several_wavelengths_are_averaged_each_with_its_own_index(structure):
    options = {"order": 1, "index_inclusion": [[4.3, 0.07], [4.1, 0.04]]}
    found = measure(structure, wavelength_nm=[500.0, 550.0], **options)
    each = [
        measure(structure, order=1, wavelength_nm=w, index_inclusion=n).values["absorption"]
        for w, n in [(500.0, [4.3, 0.07]), (550.0, [4.1, 0.04])]
    ]
    assert found.info["absorption_by_wavelength"] == pytest.approx(each, abs=1e-12)
    assert found.values["absorption"] == pytest.approx(np.mean(each), abs=1e-12)


def test_latent_points_are_rendered_by_the_generator_and_kept():
    found = Optics(order=1)(asked(Z))
    microstructure = Latent().microstructure(Z)
    np.testing.assert_array_equal(found.artifacts["microstructure"], microstructure)
    assert found.artifacts["microstructure"].dtype == np.uint8
    assert found.info["volume_fraction"] == microstructure.mean()
    assert found.values == measure(microstructure, order=1).values


def test_a_grazing_diffraction_order_is_refused(structure):
    with pytest.raises(FloatingPointError, match=r"500\.0 nm"):
        measure(structure, order=1, period_nm=500.0)
    assert np.isfinite(measure(structure, order=1, period_nm=500.01).values["absorption"])


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({}, "one key 'z' or 'microstructure'"),
        ({"microstructure": [[0, 1], [1]]}, "rows of equal length"),
        ({"microstructure": [0, 1]}, "1 dimensions"),
        ({"microstructure": [[0.5] * 16] * 16}, r"values \[0.5\]"),
        ({"microstructure": [[0] * 12] * 16}, "at least 13 pixels"),
    ],
)
def test_points_that_are_no_microstructure_are_refused(point, message):
    with pytest.raises(InvalidPoint, match=message):
        Optics(order=3)(asked(point))


@pytest.mark.parametrize(
    "options",
    [
        {"order": 0},
        {"period_nm": 0.0},
        {"thickness_nm": float("nan")},
        {"wavelength_nm": []},
        {"wavelength_nm": [500.0, -1.0]},
        {"angle_deg": 90.0},
        {"polarisation": "circular"},
        {"index_matrix": [1.5]},
        {"index_inclusion": [4.3, -0.07]},
        {"index_inclusion": [[4.3, 0.1], [4.0, 0.1]]},
        {"generator": "grf1000"},
    ],
)
def test_impossible_options_are_refused_by_name(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Optics(**options)


def test_a_missing_package_names_the_extra(monkeypatch, structure):
    monkeypatch.setitem(sys.modules, "torcwa", None)
    with pytest.raises(MissingExtra, match=r"matloop\[optics\]"):
        measure(structure)
    monkeypatch.delitem(sys.modules, "torcwa")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"matloop\[optics\]"):  # before the campaign starts
        Optics()
