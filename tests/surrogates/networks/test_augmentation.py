"""Symmetry operations keep what they must, and draw all of the group."""

from __future__ import annotations

import pytest
import torch

from matloop.surrogates.networks.augmentation import augmentation, roll, square


def test_rolling_keeps_periodic_neighbours():
    x = torch.rand(3, 2, 5, 7)
    torch.manual_seed(0)
    rolled = [roll(x) for _ in range(50)]
    correlation = (x * x.roll(1, 3)).sum(dim=(1, 2, 3))
    for image in rolled:
        assert torch.allclose((image * image.roll(1, 3)).sum(dim=(1, 2, 3)), correlation)
        assert torch.equal(image.flatten(2).sort().values, x.flatten(2).sort().values)
    assert len({tuple(image.flatten().tolist()) for image in rolled}) > 30


def test_square_draws_the_eight_symmetries_and_the_shifts():
    x = torch.rand(1, 1, 4, 4)
    torch.manual_seed(0)
    drawn = {tuple(square(x).flatten().tolist()) for _ in range(3000)}
    assert len(drawn) == 8 * 16
    turned = {tuple(x.rot90(k, (-2, -1)).flatten().tolist()) for k in range(4)}
    assert turned <= drawn


def test_oblong_images_have_no_diagonal():
    with pytest.raises(ValueError, match="expected square images"):
        square(torch.rand(1, 1, 4, 5))


def test_none_is_none():
    assert augmentation("none") is None
