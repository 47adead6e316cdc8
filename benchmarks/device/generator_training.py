"""Row: steps a second in training the generator of microstructures, the drawing of real ones included."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from device.row import Figure, Row, Setting
from device.timing import per_second


def measure(setting: Setting) -> Iterator[Figure]:
    """Two sizes of image, batches as in training."""
    import torch

    from matloop.orchestrator.randomness import derive
    from matloop.surrogates.generator.examples import Fields
    from matloop.surrogates.generator.game import Game, Recipe

    for size in (8,) if setting.quick else (32, 64):
        recipe, fields = Recipe(size=size), Fields(length=size / 8)
        for device in setting.compared:
            game, numbers = Game(recipe, fields.two_point((size, size)), device=device), itertools.count(1)

            def step(game=game, numbers=numbers, recipe=recipe, fields=fields):
                number = min(next(numbers), recipe.steps)
                real = fields.draw(recipe.batch, (recipe.size, recipe.size), derive("generator training", number))
                game.update(torch.from_numpy(real).float().unsqueeze(1), number)

            rate = per_second(step, device, 0.0 if setting.quick else 8.0)
            key = setting.key(f"generator_{size}_steps_per_s", device)
            yield Figure(key, rate, "steps/s", f"batch {recipe.batch}")


ROW = Row("training of the generator", 45, ("torch", "scipy", "safetensors"), measure)
