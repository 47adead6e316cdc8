"""Training of the generator on a GPU: the same first steps as on the CPU, and a generator that comes back to it."""

from __future__ import annotations

import pytest
import torch

from matloop.orchestrator.randomness import derive
from matloop.surrogates.generator.examples import Fields
from matloop.surrogates.generator.game import Game, Recipe
from matloop.surrogates.generator.training import train

RECIPE = Recipe(size=8, widths=(16, 8), batch=8, steps=100)
FIELDS = Fields(length=1.5)


def after(steps: int, device: str) -> torch.Tensor:
    """Images of a generator that was trained for so many steps."""
    game, rng = Game(RECIPE, FIELDS.two_point((8, 8)), device=device), derive("fields")
    for step in range(1, steps + 1):
        game.update(torch.from_numpy(FIELDS.draw(8, (8, 8), rng)).float().unsqueeze(1), step)
    return game.averaged(16)(game.latents(16, "images").cpu()).detach()


@pytest.mark.gpu
def test_the_first_steps_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    there, here = after(8, "cuda"), after(8, "cpu")  # the eighth has the gradient penalty
    assert (there - here).abs().mean() < 0.005 < (after(0, "cpu") - here).abs().mean()


@pytest.mark.gpu
def test_the_best_generator_comes_back_to_the_cpu() -> None:
    found = train(RECIPE, FIELDS, check_every=50, examined=100, device="cuda")
    assert found is not None and found.generator(torch.zeros(2, 16)).device.type == "cpu"
    assert 0 < found.qualities["inside"].volume_fraction_mean < 1
