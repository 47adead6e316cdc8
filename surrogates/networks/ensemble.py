"""A deep ensemble as a BoTorch model: its networks, trained from different starts, are the sample functions.

Lakshminarayanan, Pritzel & Blundell (NeurIPS 2017): networks that agree where there are data need not agree elsewhere,
and with enough data each also predicts how far measurements scatter around it. Every network leaves out one fold of the
data, and the networks of a fold recalibrate the whole on it (`matloop.surrogates.networks.members`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.protocols import Space
from matloop.orchestrator.randomness import derive_seed
from matloop.surrogates.networks.augmentation import Augmentation, augmentation
from matloop.surrogates.networks.dropout_model import DropoutModel, Render
from matloop.surrogates.networks.last_layer import last_features
from matloop.surrogates.networks.masks import Masks
from matloop.surrogates.networks.members import STEPS, Prepared, member_seed, set_scale, train_one
from matloop.surrogates.networks.stack import Recipe, train


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
        folds: int = 4,
        members: int = 3,
        steps: int | None = None,
        augment: Augmentation = "none",
        device: str = "cpu",
    ) -> None:
        """Set up the family.

        Args:
            space: where the points come from; if it has `render` and `shape`, the networks see the rendered image.
            network: genome as in `matloop.search_spaces.networks`, with its own training settings; None for a
                perceptron that suits the size of the data, or a small convolutional network for images.
            folds: of the data, >= 2; each is left out by its own networks.
            members: networks for each fold, >= 2.
            steps: most gradient steps per network, >= 1; None for as many as suit the size of the data.
            augment: symmetries of the property that the training images are varied by, see
                `matloop.surrogates.networks.augmentation`.
            device: where the networks are trained; the model itself lives on the CPU.
        """
        for name, value, least in (
            ("folds", folds, 2), ("members", members, 2), ("steps", 1 if steps is None else steps, 1)
        ):  # fmt: skip
            if value < least:
                raise ConfigError(f"expected {name} >= {least}, got {value}")
        self.network = network
        self.folds = folds
        self.members = members
        self.steps = steps
        self.augment = augmentation(augment)
        self.device = device
        self._render: Render | None = getattr(space, "render", None)

    def fit(self, x: torch.Tensor, y: torch.Tensor, seed: int) -> DropoutModel:
        """Train, recalibrate, and return the model.

        Args:
            x: (n, d) float64, n >= 1.
            y: (n, m) float64, any unit.
            seed: of folds, weights and batches.

        Raises:
            ValueError: shapes differ or a value is not finite.
            ConfigError: the network does not fit the data.
        """
        data = Prepared.of(x, y, render=self._render, folds=self.folds, seed=seed)
        held = data.held().repeat_interleave(self.members, dim=0)
        heads = False
        if self.network is None and data.inputs.ndim == 2:
            recipe = Recipe.suited(len(x), steps=self.steps)
            stack = train(
                data.inputs, data.targets, held, torch.zeros(len(held)), recipe,
                seed=derive_seed(seed, "stack"), device=self.device,
            )  # fmt: skip
            networks: list[nn.Module] = [stack.member(i) for i in range(len(held))]
            heads = recipe.heads
        else:
            networks = [
                train_one(
                    data, rows, genome=self.network, steps=self.steps or STEPS, augment=self.augment,
                    device=self.device, seed=member_seed(seed, i),
                )
                for i, rows in enumerate(held)
            ]  # fmt: skip
        model = DropoutModel(
            [Networks(networks[i : i + self.members]) for i in range(0, len(networks), self.members)],
            prepare=data.prepare,
            y_mean=data.y_mean,
            y_std=data.y_std,
            samples=len(networks),
            seed=0,
            heads=heads,
        )
        set_scale(model, data, seed)
        return model.eval()
