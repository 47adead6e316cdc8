"""Train the generator as a GAN on random two-phase fields: `python -m matloop.surrogates.generator.train --out FILE`.

Logistic loss with a gradient penalty on real images (R1), no momentum in Adam, averaged weights, and the checkpoint
that matches held-out fields best. Real fields are drawn anew for every step, so the critic cannot learn them by heart.
The same command gives the same weights on the same machine, torch version and number of threads; elsewhere the order
of floating-point sums differs and, training being chaotic, so do the weights.
Sources: Goodfellow et al. 2014 (arXiv:1406.2661); Mescheder et al. 2018 (arXiv:1801.04406; R1, averaging).
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from matloop.orchestrator.randomness import derive, derive_seed, torch_seed
from matloop.surrogates.generator.fields import two_phase_fields
from matloop.surrogates.generator.interface import phases
from matloop.surrogates.generator.network import Architecture, Critic, Generator
from matloop.surrogates.generator.quality import Quality, compare
from matloop.surrogates.generator.weights import save

HELD_OUT = 1000
PENALTY_EVERY = 4
CHECK_EVERY = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Settings of a training run.

    Attributes:
        size: side of the fields, pixels: 8, 16, 32, 64, …
        length: correlation length of the fields, pixels (see `fields.autocorrelation`).
        steps: updates of critic and generator each, >= CHECK_EVERY.
        batch: fields per update.
        learning_rate: at the start; falls linearly to zero.
        penalty: weight of R1, gamma / 2 times the squared norm of the critic's gradient at real fields.
        seed: of everything random.
    """

    size: int = 32
    length: float = 4.0
    steps: int = 1200
    batch: int = 32
    learning_rate: float = 2e-3
    penalty: float = 0.3
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The averaged generator after some steps, and its quality on the held-out fields."""

    step: int
    generator: Generator
    quality: Quality


def train(
    recipe: Recipe, watch: Callable[[Checkpoint], None] = lambda checkpoint: None, *, device: str = "cpu"
) -> Checkpoint:
    """Train and return the best checkpoint, its generator on the CPU.

    Args:
        recipe: settings.
        watch: called with every checkpoint, CHECK_EVERY steps apart.
        device: where the networks are trained, e.g. "cuda".
    """
    if recipe.steps < CHECK_EVERY:
        raise ValueError(f"expected steps >= {CHECK_EVERY}, got {recipe.steps}")
    shape = (recipe.size, recipe.size)
    held_out = two_phase_fields(HELD_OUT, shape, recipe.length, derive("generator held out", recipe.seed))
    rng = derive("generator fields", recipe.seed)
    checkpoints = []
    with torch_seed(derive_seed("generator", recipe.seed)):
        game = Game(recipe, device)
        probe = game.latents(HELD_OUT)
        for step in range(1, recipe.steps + 1):
            real = two_phase_fields(recipe.batch, shape, recipe.length, rng)
            game.update(torch.from_numpy(real).float().unsqueeze(1), step)
            if step % CHECK_EVERY == 0:
                generator = game.averaged(probe).cpu()
                quality = compare(phases(generator, probe.cpu().double().numpy()), held_out)
                checkpoints.append(Checkpoint(step=step, generator=generator, quality=quality))
                watch(checkpoints[-1])
    return min(checkpoints, key=lambda c: c.quality.score)


class Game:
    """Generator, critic, their optimisers and the generator's running average, on one device.

    Weights and latent vectors are drawn from torch's global generator on the CPU, so that they are the same everywhere.
    """

    def __init__(self, recipe: Recipe, device: str = "cpu") -> None:
        architecture = Architecture.of_size(recipe.size)
        self.recipe, self.device = recipe, device
        self.generator, self.critic = Generator(architecture).to(device), Critic(architecture).to(device)
        self.average = copy.deepcopy(self.generator)
        self.optimisers = [
            torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, betas=(0.0, 0.99))
            for network in (self.generator, self.critic)
        ]

    def latents(self, n: int) -> torch.Tensor:
        """Draw (n, d) uniformly in [-1, 1]."""
        return 2 * torch.rand(n, self.generator.dimension).to(self.device) - 1

    def update(self, real: torch.Tensor, step: int) -> None:
        """One step of the critic, one of the generator, one of the average.

        Args:
            real: (n, 1, H, W) float32 in [0, 1].
            step: its number, from 1.
        """
        real = real.to(self.device)
        for optimiser in self.optimisers:
            optimiser.param_groups[0]["lr"] = self.recipe.learning_rate * (1 - (step - 1) / self.recipe.steps)
        generator_step, critic_step = self.optimisers
        critic_step.zero_grad()
        torch.autograd.backward(self._critic_loss(real, penalise=step % PENALTY_EVERY == 0))
        critic_step.step()
        generator_step.zero_grad()
        fake = self.generator(self.latents(len(real)))
        torch.autograd.backward(functional.softplus(-self.critic(fake)).mean())
        generator_step.step()
        with torch.no_grad():  # over the last tenth of the steps so far, at most the last 200
            weight = max(1 / 200, 1 / (0.1 * step + 1))
            for mean, value in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                mean.lerp_(value, weight)

    def _critic_loss(self, real: torch.Tensor, *, penalise: bool) -> torch.Tensor:
        with torch.no_grad():
            fake = self.generator(self.latents(len(real)))
        score = self.critic(real.requires_grad_(penalise))
        loss = functional.softplus(-score).mean() + functional.softplus(self.critic(fake)).mean()
        if penalise:  # every few steps, and that much stronger
            (slope,) = torch.autograd.grad(score.sum(), real, create_graph=True)
            loss = loss + PENALTY_EVERY * self.recipe.penalty / 2 * slope.square().sum(dim=(1, 2, 3)).mean()
        return loss

    @torch.no_grad()
    def averaged(self, z: torch.Tensor) -> Generator:
        """Softened copy of the average whose normalisation statistics are those of z, (n, d)."""
        candidate = copy.deepcopy(self.average).train()
        for norm in candidate.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = 1.0  # the statistics of the one pass that follows
        candidate(z)
        candidate.eval().soften(z)
        return candidate


def main() -> None:
    """Command line."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    parser = argparse.ArgumentParser(description="Train a microstructure generator.")
    parser.add_argument("--out", type=Path, required=True, help="file to write, .safetensors")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    for field in dataclasses.fields(Recipe):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    options = vars(parser.parse_args())
    out, device = options.pop("out"), options.pop("device")
    recipe = Recipe(**options)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    best = math.inf
    with Progress(*columns) as progress:
        task = progress.add_task("training", total=recipe.steps)

        def watch(checkpoint: Checkpoint) -> None:
            nonlocal best
            quality = checkpoint.quality
            spread = quality.volume_fraction_std / quality.volume_fraction_std_real
            progress.update(task, completed=checkpoint.step)
            progress.console.print(
                f"step {checkpoint.step}: S2 error {quality.s2_error:.1%}; relative to real fields: nearest neighbour "
                f"{quality.nearest:.2f}, speckle {quality.speckle:.2f}, spread of the volume fraction {spread:.2f}; "
                f"score {quality.score:.3f}",
                soft_wrap=True,
            )
            if quality.score < best:  # saved at once, so that stopping early keeps the best
                best = quality.score
                save(checkpoint.generator, out, _notes(recipe, checkpoint, device))

        train(recipe, watch, device=device)
    print(f"{out}: score {best:.3f}")


def _notes(recipe: Recipe, checkpoint: Checkpoint, device: str) -> dict[str, Any]:
    return {
        "recipe": dataclasses.asdict(recipe),
        "step": checkpoint.step,
        "held_out": {name: round(value, 4) for name, value in dataclasses.asdict(checkpoint.quality).items()},
        "device": device,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    main()
