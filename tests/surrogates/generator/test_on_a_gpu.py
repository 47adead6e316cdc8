"""Training of the generator on a GPU: the same first steps as on the CPU, and a generator that comes back to it."""

from __future__ import annotations

import pytest
import torch

from matloop.orchestrator.randomness import derive, torch_seed
from matloop.surrogates.generator.fields import two_phase_fields
from matloop.surrogates.generator.train import CHECK_EVERY, Game, Recipe, train


def after(steps: int, device: str) -> torch.Tensor:
    """Images of a generator that was trained for so many steps."""
    recipe = Recipe(size=8, length=1.5, batch=8, steps=100)
    rng = derive("fields")
    with torch_seed(0):
        game = Game(recipe, device)
        for step in range(1, steps + 1):
            real = two_phase_fields(8, (8, 8), 1.5, rng)
            game.update(torch.from_numpy(real).float().unsqueeze(1), step)
        z = game.latents(16)
        return game.averaged(z)(z).detach()


@pytest.mark.gpu
def test_the_first_steps_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    there, here = after(4, "cuda"), after(4, "cpu")  # the fourth has the gradient penalty
    assert there.is_cuda and (there.cpu() - here).abs().mean() < 0.005 < (after(0, "cpu") - here).abs().mean()


@pytest.mark.gpu
def test_the_best_generator_comes_back_to_the_cpu() -> None:
    found = train(Recipe(size=8, length=1.5, steps=CHECK_EVERY, batch=8), device="cuda")
    assert found.generator(torch.zeros(2, 16)).device.type == "cpu"
    assert 0 < found.quality.volume_fraction_mean < 1
