"""The driver elasticity: what it records, what it refuses, its bounds and densities between two phases."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.drivers.elasticity.driver import MEASURED, Elasticity
from matloop.drivers.elasticity.solver import NotConverged
from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Objective, Trial
from matloop.search_spaces.latent import Latent
from matloop.surrogates.generator.fields import two_phase_fields
from matloop.testing.driver import DriverContract

Z = {"z": [0.1 * ((7 * i) % 19 - 9) for i in range(Latent().dimension)]}


def asked(point):
    return Trial(id=0, study="study", number=0, point=point, seed=0)


def measure(structure, **options):
    return Elasticity(**options)(asked({"microstructure": np.asarray(structure).astype(int).tolist()}))


@pytest.fixture(scope="module")
def structure():
    return two_phase_fields(1, (16, 16), 3.0, derive("driver"))[0]


class TestElasticity(DriverContract):
    @pytest.fixture
    def driver(self):
        return Elasticity()

    @pytest.fixture
    def trial(self):
        return asked(Z)


def test_latent_points_are_rendered_by_the_generator_and_kept():
    found = Elasticity()(asked(Z))
    microstructure = Latent().microstructure(Z)
    np.testing.assert_array_equal(found.artifacts["microstructure"], microstructure)
    assert found.values == measure(microstructure).values
    assert found.info["volume_fraction"] == microstructure.mean()


def test_moduli_along_a_direction_are_those_of_the_turned_structure(structure):
    along_x, along_y = (measure(s, direction=[1, 0]).values for s in (structure, structure.T))
    found = measure(structure, direction=[0, 2]).values
    for name in ("youngs_modulus", "poissons_ratio", "bulk_modulus", "shear_modulus"):
        assert found[name] == pytest.approx(along_y[name], rel=1e-9)
    assert measure(structure).values == along_x
    assert abs(along_x["youngs_modulus"] / along_y["youngs_modulus"] - 1) > 0.01
    oblique = measure(structure, direction=[1, 1]).values["youngs_modulus"]
    assert measure(np.rot90(structure), direction=[-1, 1]).values["youngs_modulus"] == pytest.approx(oblique, rel=1e-9)


def test_averages_are_of_all_directions(structure):
    """The mean over turned frames of the stiffness of a body held at a uniform strain."""
    values = measure(structure).values
    c = np.array([[values["c11"], values["c12"], values["c16"]],
                  [values["c12"], values["c22"], values["c26"]],
                  [values["c16"], values["c26"], values["c66"]]])  # fmt: skip
    shears = []
    for angle in np.linspace(0, np.pi, 7)[:-1]:
        co, si = np.cos(angle), np.sin(angle)
        shear = np.array([-co * si, co * si, co**2 - si**2])  # of one unit, in the turned frame
        shears.append(shear @ c @ shear)
    assert values["shear_modulus"] == pytest.approx(np.mean(shears), rel=1e-12)
    assert values["bulk_modulus"] == pytest.approx(c[:2, :2].sum() / 4, rel=1e-12)


def test_three_dimensions_and_three_phases():
    volume = derive("three").integers(0, 3, (4, 3, 5))
    found = measure(volume, youngs_modulus_gpa=[1, 10, 3], poissons_ratio=[0.3, 0.2, 0.1])
    assert set(found.values) == set(MEASURED)
    assert found.info["volume_fractions"] == [float((volume == i).mean()) for i in range(3)]
    assert found.artifacts["microstructure"].shape == (4, 3, 5)
    turned = measure(volume.transpose(1, 0, 2), youngs_modulus_gpa=[1, 10, 3], poissons_ratio=[0.3, 0.2, 0.1])
    assert turned.values["c33"] == pytest.approx(found.values["c22"], rel=1e-9)
    assert turned.values["c26"] == pytest.approx(found.values["c35"], rel=1e-9)


def test_the_bounds_are_recorded_and_kept(structure):
    found = measure(structure, objectives=(Objective("c11"), Objective("poissons_ratio")))
    assert set(found.info["bounds"]) == {"c11", "bulk_modulus", "shear_modulus"}
    share, shear, area = structure.mean(), np.array([1, 50]) / 2.6, np.array([1, 50]) / 1.04
    low, high = found.info["bounds"]["bulk_modulus"]["hashin_shtrikman"]
    rest = 1 / (area[1] - area[0])
    assert low == pytest.approx(area[0] + share / (rest + (1 - share) / (area[0] + shear[0])))
    assert high == pytest.approx(area[1] + (1 - share) / (-rest + share / (area[1] + shear[1])))
    assert low < found.values["bulk_modulus"] < high and "outside_bounds" not in found.info
    low, high = found.info["bounds"]["c11"]["voigt_reuss"]
    assert low < found.values["c11"] < high == pytest.approx((area + shear) @ [1 - share, share])


def test_a_chequerboard_of_pixels_is_too_stiff_to_be_true_and_finer_pixels_show_it():
    found = measure(np.indices((8, 8)).sum(axis=0) % 2, check_refinement=2, objectives=(Objective("bulk_modulus"),))
    assert found.info["outside_bounds"] == ["bulk_modulus", "shear_modulus"]
    assert found.values["bulk_modulus_at_refinement_2"] < 0.7 * found.values["bulk_modulus"]


def test_a_refined_structure_is_its_pixels_cut(structure):
    found = measure(structure, check_refinement=3, objectives=(Objective("c12"),))
    cut = measure(np.kron(structure, np.ones((3, 3))))
    assert found.values["c12_at_refinement_3"] == cut.values["c12"]
    assert found.values["c12"] == measure(structure).values["c12"]


def test_a_density_is_the_softest_isotropic_mixture():
    share, phases = 0.3, {"youngs_modulus_gpa": [1.0, 20.0], "poissons_ratio": [0.3, 0.2]}
    for shape in ((4, 4), (3, 3, 3)):
        grey = Elasticity(**phases)(asked({"density": np.full(shape, share).tolist()}))
        limits = grey.info["bounds"]
        for name in ("bulk_modulus", "shear_modulus"):
            assert grey.values[name] == pytest.approx(limits[name]["hashin_shtrikman"][0], rel=1e-9)
    assert "density" in grey.artifacts and "microstructure" not in grey.artifacts


def test_a_density_of_zeros_and_ones_is_the_microstructure(structure):
    full = Elasticity()(asked({"density": structure.astype(float).tolist()}))
    assert full.values == pytest.approx(measure(structure).values, rel=1e-9, abs=1e-12)


def test_a_pore_may_be_a_very_soft_phase(structure):
    soft, softer = (measure(structure, youngs_modulus_gpa=[e, 1.0]).values["c11"] for e in (1e-4, 1e-5))
    assert 0 < softer < soft < measure(structure, youngs_modulus_gpa=[0.1, 1.0]).values["c11"]


@pytest.mark.parametrize(
    ("point", "message", "options"),
    [
        ({}, "one key 'z', 'microstructure' or 'density'", {}),
        ({"density": [[1.5] * 4] * 4}, "from 0 to 1, got 1.5", {}),
        ({"microstructure": [0, 1]}, r"\(H, W\) or \(D, H, W\) of 0 and 1, got the shape \(2,\)", {}),
        ({"microstructure": [[2] * 4] * 4}, r"of 0 and 1, got the values \[2.0\]", {}),
        ({"microstructure": [[3] * 4] * 4}, "whole numbers from 0 to 2", {"youngs_modulus_gpa": [1, 2, 3]}),
        ({"density": [[0.5] * 4] * 4}, "lies between two phases, not 3", {"youngs_modulus_gpa": [1, 2, 3]}),
        ({"microstructure": [[1] * 4] * 4}, "three dimensions, which c44 needs", {"objectives": (Objective("c44"),)}),
        ({"microstructure": [[1] * 4] * 4}, "in 3 dimensions, as the option direction", {"direction": [1, 0, 0]}),
    ],
)
def test_points_that_cannot_be_measured_are_refused_before_anything_is_solved(point, message, options, monkeypatch):
    monkeypatch.setattr("matloop.drivers.elasticity.homogenisation.homogenised", lambda *_, **__: pytest.fail("solved"))
    with pytest.raises(InvalidPoint, match=message):
        Elasticity(**options)(asked(point))


def test_a_solver_that_needs_more_iterations_fails_the_trial(structure):
    with pytest.raises(NotConverged, match="allow more \\(max_iterations\\)"):
        measure(structure, max_iterations=20)
    assert measure(structure, max_iterations=20, tolerance=0.09).values["c11"] > 0


@pytest.mark.parametrize(
    "options",
    [
        {"youngs_modulus_gpa": [1.0]},
        {"youngs_modulus_gpa": [0.0, 1.0]},
        {"youngs_modulus_gpa": [1.0, float("inf")]},
        {"poissons_ratio": 0.5},
        {"poissons_ratio": [0.3]},
        {"poissons_ratio": [0.3, -1.0]},
        {"plane": "shell"},
        {"direction": [1.0]},
        {"direction": [0.0, 0.0]},
        {"tolerance": 0.0},
        {"max_iterations": 0},
        {"check_refinement": 1},
        {"device": "tpu"},
        {"generator": "none such"},
    ],
)
def test_impossible_options_are_refused_by_name(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Elasticity(**options)
