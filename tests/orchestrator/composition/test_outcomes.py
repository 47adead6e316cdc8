"""What later studies are given of earlier ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from matloop.orchestrator.composition.outcomes import network_inputs
from matloop.search_spaces.box import Box


class Drawing(Box):
    """Two numbers, shown as an image of two pixels, ten times as bright."""

    def render(self, z: torch.Tensor) -> torch.Tensor:
        return z.reshape(-1, 1, 1, 2) * 10


def drawing() -> Any:
    return Drawing(parameters={name: {"type": "float", "low": 0.0, "high": 1.0} for name in ("a", "b")})


def test_data_sets_show_what_a_renderer_draws() -> None:
    points = [{"a": i / 300, "b": (i + 0.5) / 300} for i in range(300)]
    x = network_inputs(drawing(), points)
    assert x.shape == (300, 1, 1, 2) and x.dtype == np.float32
    np.testing.assert_allclose(x[299, 0, 0], [2990 / 300, 2995 / 300], rtol=1e-6)


def test_elsewhere_they_are_the_encoded_points() -> None:
    space = Box(parameters={"a": {"type": "float", "low": 0.0, "high": 4.0}})
    assert network_inputs(space, [{"a": 1.0}, {"a": 4.0}]).tolist() == [[0.25], [1.0]]
