"""Gradients of effective moduli against finite differences, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.drivers.elasticity.driver import Elasticity
from matloop.orchestrator.errors import InvalidPoint
from matloop.orchestrator.loop.evaluation import Conditions, Evaluation
from matloop.orchestrator.protocols import gradient_of
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Objective, Trial

STEP = 1e-4
NAMES = ("c11", "c12", "youngs_modulus", "poissons_ratio", "bulk_modulus", "shear_modulus")
OBJECTIVES = tuple(map(Objective, NAMES))


def asked(point, **fields):
    return Trial(id=0, study="study", number=0, point=point, seed=0, **fields)


def mirror_symmetric(n=8):
    corner = derive("corner").uniform(0.1, 0.9, (n // 2, n // 2))
    corner = (corner + corner.T) / 2
    return np.block([[corner, corner[:, ::-1]], [corner[::-1], corner[::-1, ::-1]]])


STRUCTURES = {
    "random": derive("random").uniform(0.1, 0.9, (7, 8)),
    "mirror": mirror_symmetric(),
    "uniform": np.full((6, 6), 0.4),
    "laminate": np.tile(np.repeat([0.15, 0.85], 3), (4, 1)),
    "volume": derive("volume").uniform(0.1, 0.9, (4, 3, 4)),
}


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("plane", ["strain", "stress"])
def test_gradients_are_those_of_finite_differences(name, plane):
    structure = STRUCTURES[name]
    if structure.ndim == 3 and plane == "stress":
        pytest.skip("no plane problem")
    driver = Elasticity(poissons_ratio=[0.3, 0.15], plane=plane, tolerance=1e-9, objectives=OBJECTIVES)
    direction = derive("direction", name).standard_normal(structure.shape)
    found = driver.value_and_gradient(asked({"density": structure.tolist()}))
    ends = [driver(asked({"density": (structure + i * STEP * direction).tolist()})).values for i in (-2, -1, 1, 2)]
    for objective in NAMES:
        gradient = found.artifacts[gradient_of(objective)]
        far_below, below, above, far_above = (values[objective] for values in ends)
        slope = (8 * (above - below) - (far_above - far_below)) / (12 * STEP)
        usual = np.linalg.norm(gradient) or 1.0
        assert (gradient * direction).sum() == pytest.approx(slope, abs=1e-6 * usual), objective


def test_a_symmetric_structure_has_a_symmetric_gradient():
    found = Elasticity(objectives=(Objective("bulk_modulus"),)).value_and_gradient(
        asked({"density": mirror_symmetric().tolist()})
    )
    gradient = found.artifacts[gradient_of("bulk_modulus")]
    for same in (gradient[::-1], gradient[:, ::-1], gradient.T):
        assert gradient == pytest.approx(same, rel=1e-5)
    assert gradient.min() > 0


def test_gradients_of_a_microstructure_point_inwards_and_cost_what_they_say(tmp_path):
    driver = Elasticity(objectives=(Objective("c11"), Objective("c66")), tolerance=1e-9)
    hard = (STRUCTURES["random"] > 0.5).astype(int)
    trial = asked({"microstructure": hard.tolist()}, extra={"gradient": True})
    answer = Evaluation(Conditions(driver=driver, objectives=driver.objectives, artifacts=tmp_path), trial)()
    assert answer.failure is None and answer.cost == driver.gradient_cost == 1.05
    found, value = driver.value_and_gradient(trial), driver(trial)
    assert found.values == pytest.approx(value.values, rel=1e-9, abs=1e-9) and value.cost is None
    inwards = 1 - 2 * hard
    steps = [driver(asked({"density": (hard + n * 1e-5 * inwards).tolist()})).values for n in (1, 2)]
    for name in ("c11", "c66"):
        rise = (4 * steps[0][name] - steps[1][name] - 3 * value.values[name]) / 2e-5
        assert (found.artifacts[gradient_of(name)] * inwards).sum() == pytest.approx(rise, rel=1e-4)


def test_there_are_none_between_three_phases():
    driver = Elasticity(youngs_modulus_gpa=[1.0, 2.0, 3.0])
    assert driver.gradient_cost == 0
    with pytest.raises(InvalidPoint, match="expected two phases"):
        driver.value_and_gradient(asked({"microstructure": [[0, 1], [2, 0]]}))
