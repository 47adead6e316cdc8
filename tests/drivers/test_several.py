"""One structure measured by several drivers: values, gradients, costs, and what cannot be combined."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from matloop.drivers.elasticity.driver import Elasticity
from matloop.drivers.manual import Manual
from matloop.drivers.morphology import Morphology
from matloop.drivers.optics.driver import Optics
from matloop.drivers.robust import Robust
from matloop.drivers.several import Several
from matloop.orchestrator.composition.build import validate
from matloop.orchestrator.composition.config import load
from matloop.orchestrator.errors import ConfigError, InvalidResult
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.protocols import Scaled, gradient_of, offers_gradients
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Measurement, Objective, Trial
from matloop.search_spaces.latent import Latent
from matloop.testing.driver import DriverContract

ABSORPTION, STIFFNESS, SHARE = (
    Objective("absorption", "maximise"),
    Objective("c11", "maximise", "GPa"),
    Objective("volume_fraction", "minimise"),
)
DENSITY = {"density": derive("several").uniform(0.1, 0.9, (16, 16)).tolist()}


def asked(point, **fields):
    return Trial(id=0, study="study", number=0, point=point, seed=0, **fields)


def three(*objectives, **more):
    drivers = {
        "light": Optics(order=1, objectives=objectives),
        "stiffness": Elasticity(objectives=objectives),
        "form": Morphology(objectives=objectives),
    }
    return Several(drivers=drivers | more, objectives=objectives)


class Plain:
    """Says nothing of what it measures, as a Python function."""

    repeatable, objectives = True, ()

    def __init__(self, result):
        self.result = result

    def __call__(self, trial):
        return self.result


class TestSeveral(DriverContract):
    @pytest.fixture
    def driver(self):
        return three()

    @pytest.fixture
    def trial(self):
        return asked({"z": [0.0] * Latent().dimension})


def test_values_are_those_of_each_driver_and_details_lie_under_its_name():
    found = three(ABSORPTION, STIFFNESS)(asked(DENSITY))
    light, stiffness = Optics(order=1)(asked(DENSITY)), Elasticity(objectives=(STIFFNESS,))(asked(DENSITY))
    form = Morphology()(asked(DENSITY))
    assert found.values == {**light.values, **stiffness.values, **form.values}
    assert found.info == {"light": light.info, "stiffness": stiffness.info}
    assert set(found.artifacts) == {"density"}
    assert found.cost == pytest.approx(2.02)


def test_gradients_are_those_of_the_drivers_that_measure_an_objective(tmp_path):
    driver = three(STIFFNESS, SHARE)
    assert [o.name for o in driver.objectives] == ["c11", "volume_fraction"]
    trial = asked(DENSITY, extra={"gradient": True})
    answer = Evaluation(Conditions(driver=driver, objectives=driver.objectives, artifacts=tmp_path), trial)()
    assert answer.failure is None
    assert set(answer.artifacts) == {"density", gradient_of("c11"), gradient_of("volume_fraction")}
    assert answer.cost == pytest.approx(1 + 1.05 + 0.02) == pytest.approx(driver.gradient_cost * driver.call_cost)
    alone = Elasticity(objectives=(STIFFNESS,)).value_and_gradient(asked(DENSITY))
    found = driver.value_and_gradient(asked(DENSITY))
    np.testing.assert_array_equal(found.artifacts[gradient_of("c11")], alone.artifacts[gradient_of("c11")])


def test_without_gradients_of_an_objective_there_are_none():
    assert offers_gradients(three(ABSORPTION, STIFFNESS))
    price = Objective("price")
    assert not offers_gradients(three(ABSORPTION, price, shop=Plain(1.0)))
    three_phases = {"stiffness": Elasticity(youngs_modulus_gpa=[1, 2, 3], objectives=(STIFFNESS,))}
    assert not offers_gradients(three(STIFFNESS, **three_phases))
    assert offers_gradients(three(ABSORPTION, **three_phases))  # which is only called


def test_a_driver_that_does_not_say_takes_what_no_other_knows():
    price = Objective("price")
    driver = three(ABSORPTION, price, shop=Plain(3.0))
    assert [o.name for o in driver.objectives] == ["absorption", "price"] and "price" in driver.measures
    assert driver(asked(DENSITY)).values["price"] == 3.0
    named = three(ABSORPTION, price, shop=Plain({"price": 4.0, "weight": 2.0}))(asked(DENSITY))
    assert named.values["price"] == 4.0 and named.values["weight"] == 2.0
    with pytest.raises(InvalidResult, match=r"values of none, got 3\.0; return numbers by name"):
        three(ABSORPTION, shop=Plain(3.0))(asked(DENSITY))


def test_names_that_collide_are_refused():
    with pytest.raises(ConfigError, match="got 'absorption' from 'light' and 'dark'; give one") as caught:
        Several(drivers={"light": Optics(), "dark": Optics(angle_deg=60)})
    assert caught.value.problems[0].place == ("drivers", "dark")
    with pytest.raises(ValueError, match="different values, got another 'c11' from 'shop'"):
        three(shop=Plain({"c11": 1.0}))(asked(DENSITY))
    other = Measurement(values={}, artifacts={"density": np.zeros((16, 16))})
    with pytest.raises(ValueError, match="different artifacts, got another 'density' from 'shop'"):
        three(shop=Plain(other))(asked(DENSITY))


def test_what_cannot_be_combined_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected drivers by name"):
        Several(drivers={})
    with pytest.raises(ConfigError, match="measures a structure by itself, got Manual") as caught:
        Several(drivers={"light": Optics(), "people": Manual()})
    assert caught.value.problems[0].place == ("drivers", "people")
    stiffness = Elasticity()
    stiffness.generator = tmp_path / "other.safetensors"
    with pytest.raises(ConfigError, match=r"one generator, got grf32 of 'light' and .* of 'stiffness'"):
        Several(drivers={"light": Optics(), "stiffness": stiffness})


CAMPAIGN = """
name: both
studies:
  first:
    space: {kind: latent, generator: grf32}
    driver: {kind: optics, order: 1}
    strategy: random
    budget: {trials: 3}
  both:
    space: {from: first}
    driver:
      kind: several
      drivers:
        light: {from: first}
        stiffness: {kind: elasticity, youngs_modulus_gpa: [1, 10]}
    strategy: random
    objectives: {reflectance: minimise, c11: {direction: maximise, unit: GPa}}
    budget: {trials: 3}
"""


def refused(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        validate(load(path))
    return [str(problem).removeprefix(str(path)) for problem in caught.value.problems]


def test_a_campaign_names_them(tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text(CAMPAIGN)
    (_, study), _ = validate(load(path))
    assert [o.name for o in study.objectives] == ["reflectance", "c11"]
    light, stiffness = study.driver.drivers.values()
    assert light.order == 1 and [o.name for o in light.objectives] == ["reflectance"]
    assert stiffness.youngs_moduli == (1.0, 10.0) and study.driver.drivers.keys() == {"light", "stiffness"}
    robust = CAMPAIGN.replace("light: {from: first}", "light: {kind: robust, error_nm: 13, driver: {from: first}}")
    path.write_text(robust)
    (_, study), _ = validate(load(path))
    assert isinstance(study.driver.drivers["light"], Robust)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("light: {from: first}", "light: 3", "14:16 light: expected a driver, such as"),
        ("light: {from: first}", "light: {from: last}", "14:23 light.from: there is no study 'last'"),
        ("[1, 10]", "[1, 0]", "15:59 stiffness.youngs_modulus_gpa: expected youngs_modulus_gpa of two"),
        ("y, youngs", "y, young", "15:39 stiffness.young_modulus_gpa: unknown option of Elasticity; did you mean"),
        ("stiffness: {kind: elasticity, youngs_modulus_gpa: [1, 10]}", "dark: {kind: optics}", "15:15 dark: expected"),
    ],
)
def test_what_is_wrong_with_one_is_said_where_it_stands(tmp_path, old, new, message):
    first, *_ = refused(tmp_path / "campaign.yaml", CAMPAIGN.replace(old, new))
    position, _, text = message.partition(" ")
    assert first.startswith(f":{position}: studies.both.driver.drivers.{text}"), first


def test_an_objective_that_none_measures_is_said_to_be_so(tmp_path):
    (line,) = refused(tmp_path / "campaign.yaml", CAMPAIGN.replace("c11: {", "c17: {"))
    assert line.startswith(":17:41: studies.both.objectives.c17: the driver does not measure it; did you mean 'c1")
    assert "accepted: absorption, absorption_in_film, bulk_modulus, c11," in line


@pytest.mark.parametrize("around", ["{}", "{{kind: robust, error_pixels: 1, driver: {}}}"])
def test_an_only_objective_that_is_misspelt_is_refused(tmp_path, around):
    driver = around.format("{kind: several, drivers: {light: {kind: optics, order: 1}, stiffness: {kind: elasticity}}}")
    text = f"""
name: misspelt
studies:
  a:
    space: {{kind: latent}}
    driver: {driver}
    strategy: random
    objectives: {{absorbtion: maximise}}
    budget: {{trials: 1}}
"""
    (line,) = refused(tmp_path / "campaign.yaml", text)
    assert "objectives.absorbtion: the driver does not measure it; did you mean 'absorption'" in line


class Failing(Plain):
    """Fails, but tells what it had."""

    def __call__(self, trial):
        error = TimeoutError("too slow")
        error.info = {"read": {"weight": 1.0}}
        raise error


def test_where_one_fails_it_is_said_which_and_what_the_others_measured(tmp_path):
    driver = three(ABSORPTION, shop=Failing(None))
    conditions = Conditions(driver=driver, objectives=driver.objectives, artifacts=tmp_path)
    answer = Evaluation(conditions, asked(DENSITY))()
    assert answer.values is None and answer.failure is not None and "too slow" in answer.failure.message
    assert "in the driver 'shop'" in answer.failure.traceback
    assert answer.info["read"] == {**three(ABSORPTION)(asked(DENSITY)).values, "weight": 1.0}


def test_a_value_that_is_no_number_fails_the_trial(tmp_path):
    driver = three(ABSORPTION, Objective("price"), shop=Plain({"price": float("nan")}))
    answer = Evaluation(Conditions(driver=driver, objectives=driver.objectives, artifacts=tmp_path), asked(DENSITY))()
    assert answer.values is None and answer.failure is not None and "price" in answer.failure.message


def test_what_one_says_of_structures_holds_for_all():
    driver = three(light=Optics(period_nm=300.0, thickness_nm=50.0))
    assert driver.generator == "grf32" and driver.period_nm == (300.0, 300.0) and driver.thickness_nm == 50.0
    around = Robust(driver=driver, error_pixels=1)
    assert isinstance(driver, Scaled) and isinstance(around, Scaled) and around.period_nm == (300.0, 300.0)
    assert not isinstance(Several(drivers={"stiffness": Elasticity()}), Scaled)
    assert not isinstance(Robust(driver=Elasticity(), error_pixels=1), Scaled)


def test_the_order_of_names_does_not_matter():
    found = three(ABSORPTION, STIFFNESS)(asked(DENSITY))
    driver = three(ABSORPTION, STIFFNESS)
    driver.drivers = dict(reversed(driver.drivers.items()))
    assert dict(driver(replace(asked(DENSITY))).values) == dict(found.values)
