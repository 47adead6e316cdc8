"""Generator against critic, one step at a time: losses, optimisers, the average of the generator's weights.

Logistic loss with a gradient penalty on real images (R1), no momentum in Adam, and two things of our own. The critic
sees generated images as users get them, cut at 1/2, so that it cannot win by grey pixels; gradients pass the cut as if
it were not there. And the generator's running mean two-point correlation is drawn to the real one, which a critic that
sees one batch at a time would take long to bring about.
Sources: Goodfellow et al. 2014 (arXiv:1406.2661); Mescheder et al. 2018 (arXiv:1801.04406; R1, averaging); Karras et
al. 2020 (arXiv:1912.04958; penalty at some steps only); Bengio et al. 2013 (arXiv:1308.3432; passing the cut).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import norm
from torch.nn import functional

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import derive, derive_seed, torch_seed
from matloop.surrogates.generator.critic import Critic
from matloop.surrogates.generator.network import Architecture, Generator
from matloop.surrogates.microstructure.two_point import two_point_correlation

PENALTY_EVERY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Settings of a training run.

    Attributes:
        size: side of the images, pixels; a multiple of the latent grid's cell, which follows from the widths.
        widths: channels of the generator at each resolution, from the latent grid's up, each of twice the side; those
            of the critic are the same in reverse. Three make a cell of 4 x 4 pixels, four one of 8 x 8.
        channels: latent numbers in each cell.
        steps: updates of critic and generator each.
        batch: images per update, >= 4.
        learning_rate: of the generator at the start; falls linearly to zero.
        critic_learning_rate: of the critic, likewise.
        penalty: weight of R1, gamma / 2 times the squared norm of the critic's gradient at real images.
        statistics: weight of the squared error of the two-point correlation.
        corners: share of latent vectors at corners of their range, so that images are right there, too.
        seed: of everything random.
    """

    size: int = 32
    widths: tuple[int, ...] = (64, 48, 16)
    channels: int = 1
    steps: int = 900
    batch: int = 32
    learning_rate: float = 1.5e-3
    critic_learning_rate: float = 3e-3
    penalty: float = 0.1
    statistics: float = 0.05
    corners: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ConfigError: a number is out of its range.
        """
        for name, low in (("batch", 4), ("channels", 1), ("penalty", 0), ("statistics", 0), ("seed", 0)):
            if not low <= getattr(self, name) < math.inf:
                raise ConfigError(f"expected {name} >= {low}, got {getattr(self, name)}", at=name)
        for name in ("learning_rate", "critic_learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"expected {name} > 0, got {getattr(self, name)}", at=name)
        if not 0 <= self.corners <= 1:
            raise ConfigError(f"expected corners from 0 to 1, got {self.corners}", at="corners")
        if not self.widths or min(self.widths) < 1:
            raise ConfigError(f"expected widths >= 1, got {self.widths}", at="widths")

    @property
    def architecture(self) -> Architecture:
        """Of the generator.

        Raises:
            ConfigError: the size does not fit the widths.
        """
        return Architecture(widths=self.widths, grid=(2, 2), channels=self.channels).resized(self.size)


class Game:
    """Generator, critic, their optimisers and the generator's running average, on one device.

    Weights and latent vectors are drawn on the CPU, the latter for each step by its number, so that a training that is
    taken up again goes on as if it had not stopped.

    Args:
        recipe: settings.
        two_point: (H, W), what the mean two-point correlation should be.
        periodic: whether real images are unit cells; else pieces of larger images are held against them.
        device: where the networks are.
    """

    def __init__(
        self, recipe: Recipe, two_point: npt.NDArray[np.float64], *, periodic: bool = True, device: str = "cpu"
    ) -> None:
        self.recipe, self.periodic, self.device = recipe, periodic, device
        with torch_seed(derive_seed("generator", recipe.seed)):
            self.generator = Generator(recipe.architecture).to(device)
            self.critic = Critic(recipe.widths[::-1], periodic=periodic).to(device)
        with torch.no_grad():
            self.generator.level.fill_(float(norm.ppf(two_point[0, 0])))  # the volume fraction, from the start
        self.rendering = self.generator if periodic else self.generator.with_margin()
        self.average = copy.deepcopy(self.generator)
        self.target = torch.from_numpy(two_point).float().to(device)
        self.found = self.target.repeat(2, 1, 1)  # of images at corners, and of the others
        self._rates = (recipe.learning_rate, recipe.critic_learning_rate)
        self.optimisers = [
            torch.optim.Adam(network.parameters(), lr=rate, betas=(0.0, 0.99))
            for network, rate in zip((self.generator, self.critic), self._rates, strict=True)
        ]

    def latents(self, n: int, *keys: int | str) -> torch.Tensor:
        """Draw (n, d) float32 for images to be judged, some at corners; the same keys give the same."""
        z = self.rendering.sample(n, derive("generator latents", self.recipe.seed, *keys))
        at_corners = int(self.recipe.corners * n)
        z[:at_corners] = np.sign(z[:at_corners])
        return torch.from_numpy(z).float().to(self.device)

    def update(self, real: torch.Tensor, step: int) -> None:
        """One step of the critic, one of the generator, one of the average.

        Args:
            real: (n, 1, H, W) float32 of 0 and 1.
            step: its number, from 1.
        """
        real = real.to(self.device)
        for optimiser, rate in zip(self.optimisers, self._rates, strict=True):
            optimiser.param_groups[0]["lr"] = rate * (1 - (step - 1) / self.recipe.steps)
        generator_step, critic_step = self.optimisers
        with torch.no_grad():
            fake = self._cut(self.latents(len(real), step, "critic"))
        critic_step.zero_grad()
        torch.autograd.backward(self._critic_loss(real, fake, penalise=step % PENALTY_EVERY == 0))
        critic_step.step()
        generator_step.zero_grad()
        fake = self._cut(self.latents(len(real), step, "generator"))
        torch.autograd.backward(functional.softplus(-self.critic(fake)).mean() + self._statistics_loss(fake, step))
        generator_step.step()
        with torch.no_grad():  # over the last quarter of the steps so far, at most the last 500
            weight = max(1 / 500, 1 / (0.25 * step + 1))
            for mean, value in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                mean.lerp_(value, weight)

    def _cut(self, z: torch.Tensor) -> torch.Tensor:
        """Images of 0 and 1 whose gradients are those of soft ones, with wider interfaces than usual."""
        height, width = self.recipe.architecture.size
        soft = torch.sigmoid(self.rendering.logits(z)[..., :height, :width] / 2)
        return (soft > 0.5).float() + (soft - soft.detach())

    def _critic_loss(self, real: torch.Tensor, fake: torch.Tensor, *, penalise: bool) -> torch.Tensor:
        score = self.critic(real.requires_grad_(penalise))
        loss = functional.softplus(-score).mean() + functional.softplus(self.critic(fake)).mean()
        if penalise:  # so much stronger as it is rarer
            (slope,) = torch.autograd.grad(score.sum(), real, create_graph=True)
            loss = loss + PENALTY_EVERY * self.recipe.penalty / 2 * slope.square().sum(dim=(1, 2, 3)).mean()
        return loss

    def _statistics_loss(self, fake: torch.Tensor, step: int) -> torch.Tensor:
        """Its gradient is that of the summed squared error of the mean over the last batches, over 0.05.

        Images at corners are held to it by themselves, lest they be wrong in one way and the others in the opposite.
        """
        corners = int(self.recipe.corners * len(fake))
        correlations = two_point_correlation(fake[:, 0], periodic=self.periodic)
        loss = torch.zeros((), device=fake.device)
        for group, part in enumerate((correlations[:corners], correlations[corners:])):
            if len(part):
                mean, found = part.mean(dim=0), self.found[group]
                with torch.no_grad():
                    found.lerp_(mean, max(0.03, 1 / (step + 1)))
                loss = loss + len(part) / len(fake) * 2 * ((found - self.target) * mean).sum() / 0.05
        return self.recipe.statistics * loss

    def averaged(self, n: int) -> Generator:
        """Copy of the average on the CPU: normalised as n images in training, cut by 3 n drawn as users draw them."""
        candidate = copy.deepcopy(self.average)
        (candidate if self.periodic else candidate.with_margin()).settle(self.latents(n, "statistics"))
        z = candidate.eval().sample(3 * n, derive("generator level", self.recipe.seed))
        candidate.cut_at(float(self.target[0, 0]), torch.from_numpy(z).float().to(self.device))
        return candidate.cpu()

    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "generator": self.generator.state_dict(),
            "critic": self.critic.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "found": self.found,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a `state`."""
        for name in ("generator", "critic", "average"):
            getattr(self, name).load_state_dict(state[name])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.found = state["found"].to(self.device)
