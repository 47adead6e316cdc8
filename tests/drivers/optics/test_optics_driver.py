"""RCWA driver against the Airy formula, grcwa, energy conservation and symmetry."""

import grcwa
import numpy as np
import pytest
import torch

from matloop.drivers.optics import spectrum
from matloop.drivers.optics.driver import Optics
from matloop.drivers.optics.rcwa import Film, Layer, Setup
from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.latent import Latent
from matloop.surrogates.generator.fields import two_phase_fields
from matloop.testing.driver import DriverContract

SILICA, SILICON = 1.46 + 0j, 4.3 + 0.07j
MALITSON = ((0.6961663, 0.0684043), (0.4079426, 0.1162414), (0.8974794, 9.896161))
Z = {"z": [0.1 * ((7 * i) % 19 - 9) for i in range(64)]}


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
    assert found.values["reflectance"] == pytest.approx(reflectance, abs=1e-9)
    assert found.values["transmittance"] == pytest.approx(transmittance, abs=1e-9)
    assert found.values["absorption"] == pytest.approx(1 - reflectance - transmittance, abs=1e-9)


@pytest.mark.parametrize(("order", "axis"), [(2, 0), (2, 1), (3, 0), (3, 1)])
def test_structured_film_is_that_of_grcwa(structure, order, axis):
    found = measure(structure, order=order, polarisation="xy"[axis])
    expected = reference(structure, order, axis)
    assert (found.values["reflectance"], found.values["transmittance"]) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("axis", [0, 1])
def test_oblique_light_and_many_diffraction_orders_are_those_of_grcwa(structure, axis):
    found = measure(structure, order=2, polarisation="xy"[axis], angle_deg=30, period_nm=900)
    expected = reference(structure, 2, axis, period=900.0, angle_deg=30)
    assert (found.values["reflectance"], found.values["transmittance"]) == pytest.approx(expected, abs=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1])
def test_fine_structure_at_order_five_is_that_of_grcwa(axis):
    fine = two_phase_fields(1, (64, 64), 8.0, np.random.default_rng(1))[0]
    found = measure(fine, order=5, polarisation="xy"[axis])
    expected = reference(fine, 5, axis)
    assert (found.values["reflectance"], found.values["transmittance"]) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("options", [{}, {"angle_deg": 25.0, "period_nm": 900.0}])
def test_lossless_film_absorbs_nothing(structure, options):
    found = measure(structure, order=2, index_inclusion=[4.3, 0.0], **options)
    assert abs(found.values["absorption"]) < 1e-9
    assert found.values["transmittance"] > 0.01


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


def test_where_a_diffraction_order_grazes_the_film_the_value_is_that_beside_it(structure):
    at, beside = (measure(structure, order=1, period_nm=500.0 + e).values["absorption"] for e in (0.0, 1e-9))
    assert at == pytest.approx(beside, abs=1e-4)
    with pytest.raises(FloatingPointError, match="change a wavelength, the period or the angle"):
        measure(structure, order=1, period_nm=500.0, index_matrix=[1.0, 0.0], index_inclusion=[1.0, 0.0])


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({}, "one key 'z', 'microstructure' or 'density'"),
        ({"density": [[1.5] * 16] * 16}, "from 0 to 1, got 1.5"),
        ({"microstructure": [[0, 1], [1]]}, "rows of equal length"),
        ({"microstructure": [0, 1]}, r"shape \(2,\)"),
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
        {"check_orders": -1},
        {"period_nm": 0.0},
        {"period_nm": [400.0, 0.0]},
        {"period_nm": [400.0]},
        {"thickness_nm": float("nan")},
        {"wavelength_nm": []},
        {"wavelength_nm": [500.0, -1.0]},
        {"wavelength_nm": {"low": 500.0, "high": 400.0, "count": 3}},
        {"wavelength_nm": {"low": 400.0, "high": 500.0}},
        {"weights": [1.0, 2.0]},
        {"weights": [-1.0]},
        {"angle_deg": 90.0},
        {"angle_deg": [0.0, -1.0]},
        {"angle_deg": []},
        {"aggregate": "median"},
        {"azimuth_deg": float("inf")},
        {"polarisation": "circular"},
        {"polarisation": "x", "azimuth_deg": 10.0},
        {"superstrate": [1.5, 0.1]},
        {"substrate": "unobtainium"},
        {"layers_above": [{"index": "silica"}]},
        {"layers_below": [{"index": "silica", "thickness_nm": -1.0}]},
        {"layers_below": [{"index": [0.0, 1.0], "thickness_nm": 1.0}]},
        {"index_matrix": [1.5]},
        {"index_inclusion": [4.3, -0.07]},
        {"index_inclusion": [[4.3, 0.1], [4.0, 0.1]]},
        {"generator": "foam32"},
    ],
)
def test_impossible_options_are_refused_by_name(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Optics(**options)


def test_a_band_is_its_wavelengths_weighted(structure):
    band = {"low": 450.0, "high": 650.0, "count": 3}
    found = measure(structure, order=1, wavelength_nm=band, weights=[1.0, 2.0, 5.0], index_inclusion="silicon")
    rows = found.artifacts["spectrum"]
    assert rows[:, 0].tolist() == [450.0, 550.0, 650.0]
    assert rows[:, 1:].sum(axis=1) == pytest.approx(np.ones(3), abs=1e-12)
    for column, name in enumerate(("reflectance", "transmittance", "absorption"), start=1):
        assert found.values[name] == pytest.approx(rows[:, column] @ [1, 2, 5] / 8, abs=1e-12)
    one = measure(structure, order=1, wavelength_nm=550.0, index_inclusion=[4.077, 0.027968])  # Green's table
    assert rows[1, 3] == pytest.approx(one.values["absorption"], abs=1e-12)


def test_a_substrate_and_layers_are_those_of_the_solver(structure):
    found = measure(
        structure,
        order=2,
        period_nm=[400.0, 300.0],
        superstrate=1.2,
        substrate="gold",
        layers_above=[{"index": [2.0, 0.1], "thickness_nm": 50.0}],
        layers_below=[{"index": "silica", "thickness_nm": 80.0}],
        angle_deg=20.0,
        azimuth_deg=70.0,
        polarisation="s",
    )
    gold = complex(0.97112, 1.8736720)  # between Johnson and Christy's rows at 495.9 and 520.9 nm
    silica = complex(np.sqrt(1 + sum(b * 0.25 / (0.25 - c**2) for b, c in MALITSON)))
    film = Film(
        Setup(
            order=2,
            wavelengths_nm=(500.0,),
            indices=((SILICA,), (SILICON,)),
            thickness_nm=200.0,
            period_nm=(400.0, 300.0),
            above=(1.2 + 0j,),
            below=(gold,),
            layers_above=(Layer((2 + 0.1j,), 50.0),),
            layers_below=(Layer((silica,), 80.0),),
            angle_deg=20.0,
            azimuth_deg=70.0,
        )
    )
    light = film(torch.tensor(structure, dtype=torch.float64))
    assert found.values["absorption"] == pytest.approx(float(light.absorbed[0, 1]), abs=1e-6)
    assert found.values["absorption_in_film"] == pytest.approx(float(light.kept[0, 1]), abs=1e-6)
    assert found.values["absorption_in_film"] < found.values["absorption"] - 0.01


def test_more_orders_are_recorded_beside_the_value_of_those_asked_for(structure):
    found = measure(structure, order=1, check_orders=2)
    assert found.values["absorption"] == measure(structure, order=1).values["absorption"]
    assert found.values["absorption_at_order_3"] == measure(structure, order=3).values["absorption"]
    with pytest.raises(InvalidPoint, match="at least 37 pixels a side, which order 9"):
        measure(structure, order=7, check_orders=2)


def test_a_density_lies_between_the_phases(structure):
    options = {"order": 1, "index_matrix": [1.5, 0.0], "index_inclusion": [2.5, 0.2]}
    share = 0.25
    mixed = np.sqrt(1.5**2 + share * ((2.5 + 0.2j) ** 2 - 1.5**2))
    grey = Optics(**options)(asked({"density": np.full((16, 16), share).tolist()}))
    same = measure(np.ones((16, 16)), **options | {"index_inclusion": [mixed.real, mixed.imag]})
    assert grey.values["absorption"] == pytest.approx(same.values["absorption"], abs=1e-12)
    assert "density" in grey.artifacts and "microstructure" not in grey.artifacts
    full = Optics(**options)(asked({"density": structure.astype(float).tolist()}))
    assert full.values == measure(structure, **options).values


def test_many_wavelengths_are_solved_a_few_at_a_time_to_the_same(structure, monkeypatch):
    options = {
        "order": 1,
        "wavelength_nm": {"low": 450.0, "high": 650.0, "count": 5},
        "index_inclusion": "silicon",
        "substrate": "gold",
        "superstrate": "silica",
        "layers_above": [{"index": "titanium dioxide", "thickness_nm": 40.0}],
        "weights": [1.0, 2.0, 3.0, 4.0, 5.0],
    }
    driver, trial = Optics(**options), asked({"microstructure": structure.astype(int).tolist()})
    together = driver.value_and_gradient(trial)
    monkeypatch.setattr(spectrum, "TOGETHER", 2 * 18**2)
    apart = driver.value_and_gradient(trial)
    assert [len(part.wavelengths_nm) for part in spectrum._parts(driver.setup(1))] == [2, 2, 1]
    assert apart.values == pytest.approx(together.values, abs=1e-12)
    for name in ("spectrum", "gradient_absorption"):
        assert apart.artifacts[name] == pytest.approx(together.artifacts[name], abs=1e-12)


ANGLES = [0.0, 25.0, 50.0]


def test_several_angles_are_averaged_or_the_worst_is_taken(structure):
    options = {"order": 1, "wavelength_nm": [480.0, 520.0], "index_inclusion": [4.3, 0.3]}
    each = [measure(structure, angle_deg=angle, **options) for angle in ANGLES]
    mean, worst = (measure(structure, angle_deg=ANGLES, aggregate=a, **options) for a in ("mean", "worst"))
    for name in mean.values:
        values = [found.values[name] for found in each]
        assert mean.values[name] == pytest.approx(np.mean(values), rel=1e-12)
        assert worst.values[name] == (max if name == "reflectance" else min)(values)
    rows = np.column_stack(
        [ANGLES, *([f.values[n] for f in each] for n in ("reflectance", "transmittance", "absorption"))]
    )
    np.testing.assert_allclose(mean.artifacts["angles"], rows)
    np.testing.assert_allclose(mean.artifacts["spectrum"], np.mean([f.artifacts["spectrum"] for f in each], axis=0))
    assert mean.info["absorption_by_angle"] == pytest.approx(rows[:, -1])
    minimised = measure(
        structure, angle_deg=ANGLES, aggregate="worst", objectives=(Objective("absorption", "minimise"),), **options
    )
    assert minimised.values["absorption"] == max(found.values["absorption"] for found in each)


@pytest.mark.parametrize("aggregate", ["mean", "worst"])
def test_the_gradient_of_several_angles_is_the_mean_or_that_of_the_worst(structure, aggregate):
    trial = asked({"microstructure": structure.astype(int).tolist()})
    each = [Optics(order=1, angle_deg=angle).value_and_gradient(trial) for angle in ANGLES]
    found = Optics(order=1, angle_deg=ANGLES, aggregate=aggregate).value_and_gradient(trial)
    gradients = [of.artifacts["gradient_absorption"] for of in each]
    poorest = int(np.argmin([of.values["absorption"] for of in each]))
    expected = np.mean(gradients, axis=0) if aggregate == "mean" else gradients[poorest]
    np.testing.assert_allclose(found.artifacts["gradient_absorption"], expected, atol=1e-15)


def test_objectives_of_other_drivers_are_left_to_them():
    driver = Optics(objectives=(Objective("c11"), Objective("reflectance", "minimise")))
    assert [o.name for o in driver.objectives] == ["reflectance"]
    assert [o.name for o in Optics(objectives=(Objective("c11"),)).objectives] == ["absorption"]
