"""A deep ensemble as a BoTorch model: its networks, trained from different starts, are the sample functions.

Lakshminarayanan, Pritzel & Blundell (NeurIPS 2017): networks that agree where there are data need not agree elsewhere,
and with enough data each also predicts how far measurements scatter around it. Every network leaves out one fold of the
data, and the networks of a fold recalibrate the whole on it (`matloop.surrogates.networks.calibrated`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Space
from matloop.orchestrator.randomness import derive_seed
from matloop.surrogates.networks.augmentation import Augment
from matloop.surrogates.networks.calibrated import calibrated_model
from matloop.surrogates.networks.last_layer import last_features
from matloop.surrogates.networks.masks import Masks
from matloop.surrogates.networks.members import Trained, Training
from matloop.surrogates.networks.model import NetworkModel
from matloop.surrogates.networks.perceptrons import Perceptrons
from matloop.surrogates.networks.prepared import Prepared
from matloop.surrogates.networks.recipe import Recipe
from matloop.surrogates.networks.residual import Residuals
from matloop.surrogates.networks.stacked import train


class Networks(nn.Module):
    """The networks of one fold, each a function."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks).eval().requires_grad_(False)

    def draw(self, samples: int, rng: np.random.Generator) -> Masks:
        """Nothing: the functions are what they are."""
        return {}

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(n, *input) -> (n, p): what the last layers see."""
        return torch.cat([last_features(network, x) for network in self.networks], dim=1)

    def forward(self, x: torch.Tensor, masks: Masks) -> torch.Tensor:
        """(n, *input) -> (s, n, outputs)."""
        return torch.stack([network(x) for network in self.networks])


class Ensemble:
    """Networks from different starts, trained afresh at every fit, recalibrated on held-out data."""

    def __init__(
        self,
        *,
        space: Space | None = None,
        network: Mapping[str, Any] | None = None,
        folds: int = 6,
        members: int = 2,
        steps: int | None = None,
        augment: Augment = "none",
        device: str = "cpu",
    ) -> None:
        """Set up the family.

        Args:
            space: where the points come from; if it has `render`, the networks see the rendered image.
            network: genome as in `matloop.search_spaces.networks`, with its own training settings; None for
                perceptrons and residual networks that suit the size of the data, or a small convolutional network
                for images.
            folds: of the data, >= 2; each is left out by its own networks.
            members: networks for each fold, >= 2.
            steps: most gradient steps per network, >= 1; None for as many as suit the size of the data.
            augment: symmetries of the property that the training images are varied by, see
                `matloop.surrogates.networks.augmentation`.
            device: where the networks are trained; the model itself lives on the CPU.
        """
        at_least(2, folds=folds, members=members)
        self.folds = folds
        self.members = members
        self._training = Training.of(space=space, network=network, steps=steps, augment=augment, device=device)

    def fit(self, x: torch.Tensor, y: torch.Tensor, seed: int) -> NetworkModel:
        """Train, recalibrate, and return the model; see `Surrogate.fit`.

        Raises:
            ValueError: shapes differ or a value is not finite.
            ConfigError: the network does not fit the data.
        """
        data = self._training.prepare(x, y, folds=self.folds, seed=seed)
        held = data.held().repeat_interleave(self.members, dim=0)
        train_all = self._stacked if self._training.at_once(data) else self._training.one_by_one
        trained = train_all(data, held, seed)
        networks = trained.networks
        members = [Networks(networks[i : i + self.members]) for i in range(0, len(networks), self.members)]
        return calibrated_model(members, data, heads=trained.heads, samples=len(networks), masks=0, seed=seed)

    def _stacked(self, data: Prepared, held: torch.Tensor, seed: int) -> Trained:
        """Of each fold one half perceptrons, the other residual networks; all of a kind trained at once.

        All learn the scatter too, which keeps them from bending to a few odd rows; with few rows it is not believed.
        """
        suited = Recipe.suited(len(data.x), steps=self._training.steps)
        recipe, heads = replace(suited, heads=True), suited.heads
        residual = torch.arange(len(held)) % self.members >= (self.members + 1) // 2
        inputs, outputs = data.inputs.shape[1], data.targets.shape[1]
        plain, other = held[~residual], held[residual]
        perceptrons = train(
            lambda: Perceptrons(torch.zeros(len(plain)), inputs, outputs, recipe), data.inputs, data.targets, plain,
            seed=derive_seed(seed, "stack"), device=self._training.device,
        )  # fmt: skip
        residuals = train(
            lambda: Residuals(len(other), inputs, outputs, recipe.as_residual()), data.inputs, data.targets, other,
            seed=derive_seed(seed, "residual"), device=self._training.device,
        )  # fmt: skip
        kinds: dict[bool, Iterator[nn.Module]] = {
            False: (perceptrons.member(i, heads=heads) for i in range(len(plain))),
            True: (residuals.member(i, heads=heads) for i in range(len(other))),
        }
        return Trained([next(kinds[kind]) for kind in residual.tolist()], heads)
