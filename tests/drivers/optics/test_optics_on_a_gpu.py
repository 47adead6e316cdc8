"""RCWA on a GPU: the same absorptance and gradient as on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.drivers.optics.driver import Optics
from matloop.orchestrator.trial import Trial
from matloop.surrogates.generator.fields import two_phase_fields


@pytest.mark.gpu
@pytest.mark.parametrize(
    "options",
    [
        {"order": 2},
        {"order": 3, "angle_deg": 25.0, "period_nm": 900.0},
        {"order": 2, "substrate": "gold", "layers_above": [{"index": "silica", "thickness_nm": 80.0}]},
    ],
)
def test_a_film_absorbs_the_same_on_a_gpu(options):
    structure = two_phase_fields(1, (32, 32), 4.0, np.random.default_rng(0))[0]
    trial = Trial(id=0, study="s", number=0, point={"microstructure": structure.astype(int).tolist()}, seed=0)
    there, here = (Optics(**options, device=device).value_and_gradient(trial) for device in ("cuda", "cpu"))
    assert there.values == pytest.approx(here.values, abs=1e-8)
    gradients = [found.artifacts["gradient_absorption"] for found in (there, here)]
    assert gradients[0] == pytest.approx(gradients[1], abs=1e-8)
