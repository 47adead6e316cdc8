"""A Gaussian process over what a trained network sees in an image, after Tran et al. (Mach. Learn. Sci. Technol. 2020).

The network learns which features of an image matter, the process how the property varies with them and how sure one can
be. The network is trained on a part of the data; length scales and noise are fitted on the rest, whose features it did
not bend to their values. The process then holds all data.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.models.model import Model
from torch import nn

from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Space
from matloop.surrogates.gaussian_process.gp import GP
from matloop.surrogates.gaussian_process.process import Process
from matloop.surrogates.networks.augmentation import Augment
from matloop.surrogates.networks.members import STEPS, Training
from matloop.surrogates.networks.prepared import Prepared

FOLDS = 3
"""The network is trained without one fold in three."""


class ConvGP:
    """Features of a network, trained afresh at every fit, into an exact Gaussian process."""

    def __init__(
        self,
        *,
        space: Space | None = None,
        network: Mapping[str, Any] | None = None,
        features: int = 8,
        steps: int = STEPS,
        augment: Augment = "none",
        device: str = "cpu",
    ) -> None:
        """Set up the family.

        Args:
            space: where the points come from; if it has `render`, the network sees the rendered image.
            network: genome as in `matloop.search_spaces.networks`, with its own training settings; None for a small
                default.
            features: most principal components of the network's last hidden layer that the process sees, >= 1.
            steps: most gradient steps of the network, >= 1.
            augment: symmetries of the property that the training images are varied by, see
                `matloop.surrogates.networks.augmentation`.
            device: where the network is trained; the model itself lives on the CPU.
        """
        at_least(1, features=features)
        self.features = features
        self._training = Training.of(space=space, network=network, steps=steps, augment=augment, device=device)

    def fit(self, x: torch.Tensor, y: torch.Tensor, seed: int) -> FeatureModel:
        """Train the network on two thirds, fit the process; see `Surrogate.fit`.

        Raises:
            ValueError: shapes differ or a value is not finite.
            ConfigError: the network does not fit the data.
        """
        data = self._training.prepare(x, y, folds=FOLDS, seed=seed)
        held = data.held()[0]
        (network,) = self._training.one_by_one(data, held[None], seed).networks
        trunk = Trunk(network, data, self.features)
        rows = np.flatnonzero(held.numpy()) if int(held.sum()) >= 4 else None
        with torch.no_grad():
            features = trunk(data.x)
        return FeatureModel(trunk, GP().fit(features, y, seed, rows=rows)).eval()


class Trunk(nn.Module):
    """From encoded points to the principal components of a network's last hidden layer."""

    centre: torch.Tensor
    axes: torch.Tensor

    def __init__(self, network: nn.Module, data: Prepared, features: int) -> None:
        """Cut the last linear layer off; components are those of the data."""
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.prepare = data.prepare
        last = [name for name, layer in self.network.named_modules() if isinstance(layer, nn.Linear)][-1]
        parent, _, child = last.rpartition(".")
        setattr(self.network.get_submodule(parent), child, nn.Identity())
        with torch.no_grad():
            hidden = self.hidden(data.x)
        centre = hidden.mean(dim=0)
        _, strength, axes = torch.linalg.svd(hidden - centre, full_matrices=False)
        keep = max(1, min(features, int((strength > 1e-6 * strength[0].clamp_min(1e-12)).sum())))
        self.register_buffer("centre", centre)
        self.register_buffer("axes", axes[:keep])

    def hidden(self, x: torch.Tensor) -> torch.Tensor:
        """(n, d) -> (n, h) float64."""
        weight = next(self.network.parameters())
        hidden: torch.Tensor = self.network(self.prepare(x.to(weight.dtype))).flatten(1).to(torch.float64)
        return hidden

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(b) x q x d -> (b) x q x features, float64."""
        hidden = self.hidden(X.reshape(-1, X.shape[-1]))
        return ((hidden - self.centre) @ self.axes.mT).reshape(*X.shape[:-1], len(self.axes))


class FeatureModel(Model):
    """A model of features, seen as one of the encoded points."""

    def __init__(self, trunk: Trunk, model: Process) -> None:
        super().__init__()
        self.trunk, self.model = trunk, model

    @property
    def num_outputs(self) -> int:
        """m."""
        return int(self.model.num_outputs)

    @property
    def batch_shape(self) -> torch.Size:
        """Of the model of features."""
        shape: torch.Size = self.model.batch_shape
        return shape

    def posterior(
        self,
        X: torch.Tensor,
        output_indices: list[int] | None = None,
        observation_noise: bool | torch.Tensor = False,
        posterior_transform: PosteriorTransform | None = None,
    ) -> Any:
        """Posterior at (b) x q x d points."""
        return self.model.posterior(
            self.trunk(X),
            output_indices=output_indices,
            observation_noise=bool(observation_noise),
            posterior_transform=posterior_transform,
        )

    def draw_function(self) -> Any:
        """One function drawn from the process, seen through the network; by torch's generator.

        Returns:
            (n, d) -> (n, m).
        """
        path = self.model.draw_function()
        return lambda x: path(self.trunk(x))
