"""The networks for when none was searched."""

from __future__ import annotations

import torch

from matloop.orchestrator.randomness import torch_seed
from matloop.surrogates.networks.default_networks import default_network


def test_an_image_is_seen_alike_whatever_is_in_its_batch_in_training_and_after() -> None:
    # With few images the statistics of batches are not those of all, which cost more than half of the accuracy.
    with torch_seed(0):
        network = default_network((1, 16, 16), 2, dropout=1e-9)
        images = torch.rand(6, 1, 16, 16)
    with torch.no_grad():
        together, apart = network.train()(images)[:1], network(images[:1])
        afterwards = network.eval()(images[:1])
    assert torch.allclose(together, apart, atol=1e-5)
    assert torch.allclose(together, afterwards, atol=1e-5)
