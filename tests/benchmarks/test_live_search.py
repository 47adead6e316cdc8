"""The live searches' data and encoding: exact effective diffusivities, and genomes that survive being flattened."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.live.data import effective, microstructure
from benchmarks.live.flat import Flat
from matloop.orchestrator.strategies.tried import key
from matloop.search_spaces.networks.conv import ConvNetworks


def test_laminates_conduct_in_series_and_in_parallel():
    layers = np.repeat([1.0, 0.1, 0.5, 0.1], 2)[:, None] * np.ones((1, 5))
    assert effective(layers) == pytest.approx(1 / np.mean(1 / layers), rel=1e-10)
    assert effective(layers.T) == pytest.approx(np.mean(layers), rel=1e-10)


def test_a_microstructure_lies_within_wieners_bounds_and_follows_the_unit():
    for seed in range(5):
        local = np.where(microstructure(12, np.random.default_rng(seed)) > 0, 1.0, 0.02)
        value = effective(local)
        assert 1 / np.mean(1 / local) < value < np.mean(local)
        assert effective(3 * local) == pytest.approx(3 * value)
        assert effective(np.roll(local, (3, 5), (0, 1))) == pytest.approx(value)


def test_flattened_genomes_are_points_of_the_box_and_come_back():
    networks = ConvNetworks(input=[1, 8, 8], outputs=10, max_layers=4)
    box, rng = Flat(networks), np.random.default_rng(0)
    for _ in range(30):
        genome = networks.sample(rng)
        point = box.flatten(genome)
        box.check(point)
        assert key(box.genome(point)) == key(genome)
    for _ in range(30):
        networks.check(box.genome(box.mutate(box.sample(rng), rng)))
