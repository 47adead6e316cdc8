"""Row: steps a second in training the generator of microstructures, the drawing of real ones included."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from device.row import Figure, Row, Setting
from device.timing import per_second


def measure(setting: Setting) -> Iterator[Figure]:
    """Two sizes of image, batches as in training."""
    import torch

    from matloop.orchestrator.randomness import derive, torch_seed
    from matloop.surrogates.generator.fields import two_phase_fields
    from matloop.surrogates.generator.train import Game, Recipe

    for size in (8,) if setting.quick else (32, 64):
        recipe = Recipe(size=size, length=size / 8)
        for device in setting.compared:
            with torch_seed(0):
                game, rng, numbers = Game(recipe, device), derive("generator training"), itertools.count(1)

                def step(game=game, rng=rng, numbers=numbers, recipe=recipe):
                    real = two_phase_fields(recipe.batch, (recipe.size, recipe.size), recipe.length, rng)
                    game.update(torch.from_numpy(real).float().unsqueeze(1), min(next(numbers), recipe.steps))

                rate = per_second(step, device, 0.0 if setting.quick else 8.0)
            key = setting.key(f"generator_{size}_steps_per_s", device)
            yield Figure(key, rate, "steps/s", f"batch {recipe.batch}")


ROW = Row("training of the generator", 45, ("torch", "safetensors"), measure)
