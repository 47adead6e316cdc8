"""Fabrication errors: dilation and erosion against scipy, mean and worst of three structures, gradients and costs."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from scipy import ndimage

from matloop.drivers.dilation import dilated, eroded, offsets
from matloop.drivers.elasticity.driver import Elasticity
from matloop.drivers.manual import Manual
from matloop.drivers.morphology import Morphology
from matloop.drivers.optics.driver import Optics
from matloop.drivers.robust import Robust
from matloop.drivers.several import Several
from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.protocols import gradient_of, offers_gradients
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Measurement, Objective, Trial
from matloop.orchestrator.workplace import TRIAL_FOLDER
from matloop.search_spaces.latent import Latent
from matloop.surrogates.generator.fields import two_phase_fields
from matloop.testing.driver import DriverContract

ABSORPTION, STIFFNESS = Objective("absorption", "maximise"), Objective("c11", "maximise", "GPa")
HARD = two_phase_fields(1, (20, 16), 3.0, derive("robust"))[0].astype(int)
GREY = derive("grey").uniform(0.1, 0.9, (16, 16))
BALL = {1.0: 5, 1.5: 9, 2.0: 13, 2.9: 25}


def asked(point, **fields):
    return Trial(id=0, study="study", number=0, point=point, seed=0, **fields)


def hard(structure=HARD):
    return asked({"microstructure": np.asarray(structure).tolist()})


class TestRobust(DriverContract):
    @pytest.fixture
    def driver(self):
        return Robust(driver=Optics(order=1), error_pixels=1)

    @pytest.fixture
    def trial(self):
        return asked({"z": [0.0] * Latent().dimension})


@pytest.mark.parametrize("radius", BALL)
def test_dilation_is_that_of_scipy(radius):
    steps = offsets([radius] * 2)
    assert len(steps) == BALL[radius]
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    footprint = x**2 + y**2 <= radius**2
    for structure in (HARD, GREY):
        found = [f(torch.tensor(structure, dtype=torch.float64), steps).numpy() for f in (dilated, eroded)]
        expected = [f(structure.astype(float), footprint=footprint, mode="wrap") for f in GREYS]
        np.testing.assert_array_equal(found, expected)


GREYS = (ndimage.grey_dilation, ndimage.grey_erosion)


def test_in_three_dimensions_it_is_a_ball_and_pixels_need_not_be_square():
    assert len(offsets([1.0] * 3)) == 7
    assert sorted(offsets([0.5, 2.0])) == [(0, i) for i in range(-2, 3)]
    volume = torch.zeros(5, 6, 7, dtype=torch.float64)
    volume[0, 0, 0] = 1
    assert dilated(volume, offsets([1.0] * 3)).sum() == 7 and dilated(volume, offsets([1.0] * 3))[-1, 0, 0] == 1


def each(driver, structure=HARD, radius=1.0):
    """Values of the three structures, made by scipy."""
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    footprint = x**2 + y**2 <= radius**2
    made = [structure, *(f(structure, footprint=footprint, mode="wrap") for f in GREYS)]
    return [driver(hard(s)).values for s in made]


@pytest.mark.parametrize(("direction", "worst"), [("maximise", min), ("minimise", max)])
def test_the_mean_and_the_worst_of_three(direction, worst):
    for driver, name in ((Optics(order=1), "absorption"), (Elasticity(), "c11")):
        driver.objectives = (Objective(name, direction),)
        values = [of[name] for of in each(driver, radius=1.5)]
        mean, poorest = (Robust(driver=driver, error_pixels=1.5, aggregate=a)(hard()) for a in ("mean", "worst"))
        assert mean.values[name] == pytest.approx(np.mean(values), rel=1e-12)
        assert poorest.values[name] == worst(values)
        cases = [mean.values[f"{name}_{case}"] for case in ("as_designed", "dilated", "eroded")]
        assert cases == values and len(mean.values) == 4
        np.testing.assert_array_equal(mean.artifacts["microstructure"], HARD)
        assert set(mean.info) == {"as_designed", "dilated", "eroded"} and mean.cost == 3


def test_a_length_is_so_many_pixels():
    driver = Optics(order=1, period_nm=[160.0, 400.0])  # pixels of 10 nm along x and 20 nm along y
    found = Robust(driver=driver, error_nm=10.0)(hard()).values["absorption_dilated"]
    wide = ndimage.grey_dilation(HARD, footprint=np.ones((1, 3)), mode="wrap")
    assert found == driver(hard(wide)).values["absorption"]
    with pytest.raises(InvalidPoint, match=r"at most error_nm, 9\.9 nm"):
        Robust(driver=driver, error_nm=9.9)(hard())
    several = Several(drivers={"form": Morphology(), "light": driver})
    assert Robust(driver=several, error_nm=10.0)(hard()).values["volume_fraction_dilated"] == wide.mean()


@pytest.mark.parametrize("aggregate", ["mean", "worst"])
@pytest.mark.parametrize(
    ("driver", "objective"),
    [
        (Optics(order=1, objectives=(ABSORPTION,)), ABSORPTION),
        (Elasticity(objectives=(STIFFNESS,), tolerance=1e-9), STIFFNESS),
    ],
)
def test_gradients_are_those_of_finite_differences(driver, objective, aggregate):
    robust = Robust(driver=driver, error_pixels=1, aggregate=aggregate)
    direction, step = derive("direction").standard_normal(GREY.shape), 1e-6
    found = robust.value_and_gradient(asked({"density": GREY.tolist()}))
    below, above = (robust(asked({"density": (GREY + s * direction).tolist()})) for s in (-step, step))
    slope = (above.values[objective.name] - below.values[objective.name]) / (2 * step)
    gradient = found.artifacts[gradient_of(objective.name)]
    assert (gradient * direction).sum() == pytest.approx(slope, abs=1e-5 * np.linalg.norm(gradient))
    assert found.values == pytest.approx(robust(asked({"density": GREY.tolist()})).values, rel=1e-9)


def test_edges_share_a_gradient_alike_so_symmetry_stays():
    square = np.zeros((12, 12), dtype=int)
    square[4:8, 4:8] = 1
    found = Robust(driver=Elasticity(objectives=(Objective("bulk_modulus", "maximise"),)), error_pixels=1)
    gradient = found.value_and_gradient(hard(square)).artifacts[gradient_of("bulk_modulus")]
    for same in (gradient[::-1], gradient[:, ::-1], gradient.T):
        assert gradient == pytest.approx(same, rel=1e-5)


def test_a_gradient_costs_three_times_the_drivers(tmp_path):
    robust = Robust(driver=Optics(order=1, objectives=(ABSORPTION,)), error_pixels=1)
    trial = asked({"density": GREY.tolist()}, extra={"gradient": True})
    answer = Evaluation(Conditions(driver=robust, objectives=robust.objectives, artifacts=tmp_path), trial)()
    assert answer.failure is None and answer.cost == 4.5 == robust.gradient_cost * robust.call_cost
    both = Several(drivers={"light": robust, "stiffness": Elasticity(objectives=(ABSORPTION, STIFFNESS))})
    assert offers_gradients(both) and both(asked({"density": GREY.tolist()})).cost == 4
    assert both.gradient_cost * both.call_cost == pytest.approx(4.5 + 1.05)
    assert both.value_and_gradient(asked({"density": GREY.tolist()})).cost == pytest.approx(4.5 + 1.05)
    assert not offers_gradients(Robust(driver=Elasticity(youngs_modulus_gpa=[1, 2, 3]), error_pixels=1))


def test_an_error_beyond_half_the_side_is_refused_before_anything_is_made():
    with pytest.raises(InvalidPoint, match=r"half the structure's side, got one of 1e\+06 pixels for .* \(20, 16\)"):
        Robust(driver=Elasticity(), error_pixels=1e6)(hard())
    line = Robust(driver=Elasticity(), error_pixels=1)(hard([[0, 1, 1, 0, 0, 1, 0, 0]]))
    assert line.info["dilated"]["volume_fraction"] == 7 / 8 and line.info["eroded"]["volume_fraction"] == 0


def test_what_else_the_driver_measures_is_not_lost():
    driver = Optics(order=1, check_orders=1, objectives=(ABSORPTION,))
    found, alone = Robust(driver=driver, error_pixels=1)(hard()), driver(hard()).values
    values = found.info["as_designed"]["values"]
    assert values == {name: value for name, value in alone.items() if name != "absorption"}
    assert "absorption_at_order_2" in values and values.keys() == found.info["dilated"]["values"].keys()


class Noisy:
    """Says how noisy its values are, more so for larger shares."""

    repeatable, objectives = True, (Objective("price"),)

    def __call__(self, trial):
        share = float(np.mean(trial.point["microstructure"]))
        return Measurement(values={"price": share}, noise={"price": share / 10})


def test_noise_is_that_of_a_mean_of_independent_values_or_of_the_worst():
    mean, worst = (Robust(driver=Noisy(), error_pixels=1, aggregate=a)(hard()) for a in ("mean", "worst"))
    shares = [mean.values[f"price_{case}"] for case in ("as_designed", "dilated", "eroded")]
    assert mean.noise["price"] == pytest.approx(np.linalg.norm(shares) / 30)
    assert worst.noise["price"] == pytest.approx(max(shares) / 10)


class Resuming:
    """Goes on from what it finds in the trial's folder."""

    repeatable, objectives, keep, grace_s = True, (Objective("price"),), "all", 90.0

    def __call__(self, trial):
        kept = trial.folder / "price"
        if not kept.exists():
            kept.write_text(str(np.mean(trial.point["microstructure"])))
        assert os.environ[TRIAL_FOLDER] == str(trial.folder)
        return float(kept.read_text())


def test_no_structure_finds_what_another_left(tmp_path):
    robust = Robust(driver=Resuming(), error_pixels=1)
    whole = Several(drivers={"shop": robust, "form": Morphology()}, objectives=robust.objectives)
    assert (whole.keep, whole.grace_s) == ("all", 90.0)
    conditions = Conditions(driver=whole, objectives=whole.objectives, artifacts=tmp_path / "run" / "artifacts")
    for _ in range(2):  # again, as after an interruption
        answer = Evaluation(conditions, hard())()
        values = answer.values
        assert answer.failure is None and answer.leaves_folder and TRIAL_FOLDER not in os.environ
        assert values["price_eroded"] < values["price_as_designed"] == HARD.mean() < values["price_dilated"]
    assert (Robust(driver=Elasticity(), error_pixels=1).keep, hasattr(robust.driver, "generator")) == ("failed", False)


class Fussy(Noisy):
    """Knows beforehand what would go wrong."""

    def check(self, space):
        raise ConfigError("no such program", at=("driver", "run"))


def test_what_the_driver_refuses_beforehand_is_refused_at_its_place():
    with pytest.raises(ConfigError) as caught:
        Robust(driver=Several(drivers={"shop": Robust(driver=Fussy(), error_pixels=1)}), error_pixels=1).check(Latent())
    assert caught.value.problems[0].place == ("driver", "driver", "drivers", "shop", "driver", "run")
    assert Robust(driver=Elasticity(), error_pixels=1).check(Latent()) == []


class Price:
    """Does not say what it measures, as a Python function."""

    repeatable, objectives = True, ()

    def __call__(self, trial):
        return {"price": 2.0 * np.mean(trial.point["microstructure"])}


def test_a_driver_that_does_not_say_what_it_measures():
    price, share = Objective("price"), Objective("volume_fraction")
    robust = Robust(driver=Price(), error_pixels=1, objectives=(price, share))
    found = Several(drivers={"shop": robust, "form": Morphology()}, objectives=(price, share))(hard())
    assert found.values["volume_fraction"] == HARD.mean()
    assert found.values["price_as_designed"] == 2 * HARD.mean() < found.values["price_dilated"]
    assert found.values["price"] == pytest.approx(sum(v for n, v in found.values.items() if n.startswith("price_")) / 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of error_pixels and error_nm"),
        ({"error_pixels": 1, "error_nm": 10.0}, "one of error_pixels and error_nm"),
        ({"error_pixels": 0.5}, "error_pixels >= 1"),
        ({"error_nm": -1.0}, "error_nm > 0"),
        ({"error_pixels": 1, "aggregate": "median"}, "aggregate: mean or worst"),
        ({"error_nm": 5.0, "driver": Elasticity()}, "knows its period for error_nm; give error_pixels"),
        ({"error_pixels": 1, "driver": Manual()}, "by itself, got Manual"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Robust(**{"driver": Optics()} | options)
