"""Homogenisation on a GPU: the same stiffness and gradient as on the CPU."""

from __future__ import annotations

import pytest

from matloop.drivers.elasticity.driver import Elasticity
from matloop.orchestrator.protocols import gradient_of
from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Objective, Trial


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(32, 31), (8, 9, 10)])
def test_a_structure_is_as_stiff_on_a_gpu(shape):
    structure = derive("gpu", *shape).integers(0, 2, shape)
    trial = Trial(id=0, study="s", number=0, point={"microstructure": structure.tolist()}, seed=0)
    options = {"objectives": (Objective("youngs_modulus"),), "tolerance": 1e-9}
    there, here = (Elasticity(**options, device=device).value_and_gradient(trial) for device in ("cuda", "cpu"))
    assert there.values == pytest.approx(here.values, rel=1e-9, abs=1e-9)
    gradients = [found.artifacts[gradient_of("youngs_modulus")] for found in (there, here)]
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-6, abs=1e-9)
