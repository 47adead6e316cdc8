"""Train a generator as a GAN on random fields or micrographs; a training that was killed goes on where it stopped.

The checkpoint that matches held-out structures best is the one that is kept. The same recipe gives the same weights on
the same machine, torch version and number of threads, whether or not it was interrupted; elsewhere the order of
floating-point sums differs and, training being chaotic, so do the weights.
"""

from __future__ import annotations

import dataclasses
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import derive
from matloop.surrogates.generator.examples import Examples
from matloop.surrogates.generator.game import Game, Recipe
from matloop.surrogates.generator.network import Generator
from matloop.surrogates.generator.quality import Examination, Quality, total

CHECK_EVERY = 100
"""Steps between checkpoints."""

EXAMINED = 1000
"""Structures that a checkpoint is judged by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The averaged generator after some steps, and its quality by place (see `Examination`)."""

    step: int
    generator: Generator
    qualities: Mapping[str, Quality]

    @property
    def score(self) -> float:
        """What the best is chosen by, 0 is best."""
        return total(self.qualities)


def train(
    recipe: Recipe,
    examples: Examples,
    watch: Callable[[Checkpoint, bool], None] = lambda checkpoint, best: None,
    *,
    state: Path | None = None,
    check_every: int = CHECK_EVERY,
    examined: int = EXAMINED,
    device: str = "cpu",
) -> Checkpoint | None:
    """Train, and return the best checkpoint of this call, its generator on the CPU.

    Args:
        recipe: settings.
        examples: what to learn from.
        watch: called with every checkpoint, and whether it is the best so far.
        state: file that holds what is needed to go on after a kill; written at the start, and after each `watch`.
        check_every: steps between checkpoints.
        examined: structures that a checkpoint is judged by.
        device: where the networks are trained, e.g. "cuda".

    Returns:
        None where an earlier call had a better one, or was complete.

    Raises:
        ConfigError: an option is out of its range, there is no such device, or the state is that of another recipe
            or of other examples.
    """
    if not 1 <= check_every <= recipe.steps:
        raise ConfigError(f"expected steps >= {check_every}, between two checkpoints, got {recipe.steps}", at="steps")
    if examined < 4:
        raise ConfigError(f"expected examined >= 4, got {examined}", at="examined")
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"expected a device that torch finds here, such as cpu, got {device!r}", at="device")
    shape = recipe.architecture.size
    game = Game(recipe, examples.two_point(shape), periodic=examples.periodic, device=device)
    examination = Examination.of(game.average, examples, examined, derive("generator examination", recipe.seed))
    owner = {
        "recipe": dataclasses.asdict(recipe),
        "examples": dict(examples.notes),
        "examined": examined,
        "check_every": check_every,
    }
    done, lowest = _restore(game, state, owner)
    best = None

    def keep(step: int) -> None:
        if state is not None:
            _write(state, {"owner": owner, "step": step, "lowest": lowest, "game": game.state()})

    keep(done)
    for step in range(done + 1, recipe.steps + 1):
        real = examples.draw(recipe.batch, shape, derive("generator examples", recipe.seed, step))
        game.update(torch.from_numpy(real).float().unsqueeze(1), step)
        if step % check_every == 0 or step == recipe.steps:
            generator = game.averaged(examined)
            checkpoint = Checkpoint(step=step, generator=generator, qualities=examination.qualities(generator))
            if better := checkpoint.score < lowest:
                best, lowest = checkpoint, checkpoint.score
            watch(checkpoint, better)
            keep(step)
    return best


def _restore(game: Game, state: Path | None, owner: Mapping[str, Any]) -> tuple[int, float]:
    """Steps that are done and the lowest score so far."""
    if state is None or not state.exists():
        return 0, float("inf")
    another = f"expected the state of a training at {state}, got another file; remove it, or write to another --out"
    if not zipfile.is_zipfile(state):  # what `torch.save` writes
        raise ConfigError(another)
    try:
        saved = torch.load(state, map_location=game.device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(f"{another} ({error})") from error
    if not isinstance(saved, dict) or not {"owner", "step", "lowest", "game"} <= set(saved):
        raise ConfigError(another)
    if saved["owner"] != owner:
        changed = [
            key
            for part in owner
            for key in ([part] if not isinstance(owner[part], dict) else owner[part])
            if _of(saved["owner"].get(part), key) != _of(owner[part], key)
        ]
        raise ConfigError(
            f"expected the settings with which {state} was begun, got others ({', '.join(changed)}); remove that file "
            "to begin anew, or write to another one"
        )
    game.restore(saved["game"])
    return saved["step"], saved["lowest"]


def _of(part: Any, key: str) -> Any:
    return part.get(key) if isinstance(part, dict) else part


def _write(path: Path, state: Mapping[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    torch.save(dict(state), part)
    part.replace(path)
