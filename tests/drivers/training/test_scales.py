"""Scales of inputs of every rank, against a loop over channels."""

from __future__ import annotations

import numpy as np
import pytest

from matloop.drivers.training.scales import ArrayScales


@pytest.mark.parametrize("places", [(), (7,), (4, 5), (3, 4, 5)])
def test_each_channel_is_standardised(places):
    rng = np.random.default_rng(0)
    factors = np.array([1.0, 20.0, 0.0]).reshape(3, *(1 for _ in places))
    x = (5 + factors * rng.normal(size=(50, 3, *places))).astype(np.float32)
    scales = ArrayScales.of(x[:30])
    scaled = scales.apply(x).numpy()
    assert scaled.shape == x.shape
    for channel in range(2):
        assert scaled[:30, channel].mean() == pytest.approx(0, abs=1e-4)
        assert scaled[:30, channel].std() == pytest.approx(1, rel=1e-4)
    assert (scaled[:, 2] == 0).all()  # a constant
    assert scales.listed()["x_mean"] == pytest.approx([x[:30, c].mean() for c in range(3)], rel=1e-5)
