"""A network with dropout left on, as a BoTorch model: its masks give sample functions, held-out data their scale.

k copies of the network are trained, each without one of k folds of the data. Every measurement is then held out by
one copy, which is what the standard deviation is recalibrated on, and no measurement is wasted. Where the space can
render points as images (the latent space of a generator), the network sees the image and the model is one
differentiable function from the latent vector to the property.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from orchestrator.errors import ConfigError
from orchestrator.protocols import Space
from orchestrator.randomness import derive, derive_seed, torch_seed
from search_spaces.networks.module import build
from surrogates.augmentation import Augmentation, augmentation
from surrogates.calibration import recalibrate
from surrogates.checks import check_data
from surrogates.default_networks import DEFAULT_TRAINING, Standardise, default_network
from surrogates.dropout_model import DropoutModel, Render
from surrogates.fitting import fit
from surrogates.masks import MaskedNetwork

BETWEEN = 128
"""Points at which the disagreement of the networks is measured."""

TINY = 1e-12


class MCDropout:
    """Networks with Monte-Carlo dropout, trained afresh at every fit, recalibrated on held-out data."""

    def __init__(
        self,
        *,
        space: Space | None = None,
        network: Mapping[str, Any] | None = None,
        samples: int = 32,
        members: int = 3,
        steps: int = 240,
        augment: Augmentation = "none",
        device: str = "cpu",
    ) -> None:
        """Set up the family.

        Args:
            space: where the points come from; if it has `render` and `shape`, the network sees the rendered image.
            network: genome as in `search_spaces.networks`, with its own training settings; None for a small default.
            samples: number of sample functions s, >= 2.
            members: number k of networks, each trained without its fold of the data, >= 2.
            steps: most gradient steps per network, >= 1; the number of epochs follows from it and the data.
            augment: symmetries of the property that the training images are varied by, see `surrogates.augmentation`.
            device: where the networks are trained; the model itself lives on the CPU.
        """
        for name, value, least in (
            ("samples", samples, 2), ("members", members, 2), ("steps", steps, 1)
        ):  # fmt: skip
            if value < least:
                raise ConfigError(f"expected {name} >= {least}, got {value}")
        self.network = network
        self.samples = samples
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
            seed: of folds, weights, batches and masks.

        Raises:
            ValueError: shapes differ or a value is not finite.
            ConfigError: the network does not fit the data, or has no dropout.
        """
        x, y = check_data(x, y)
        y_mean, y_std = y.mean(dim=0), y.std(dim=0, correction=0)
        y_std = torch.where(y_std > 1e-12 * (1 + y_mean.abs()), y_std, torch.ones_like(y_std))
        prepare = self._render or Standardise(x)
        with torch.no_grad():
            inputs = prepare(x.to(torch.float32))
        targets = ((y - y_mean) / y_std).to(torch.float32)
        k = min(self.members, len(x))
        folds = torch.as_tensor(derive(seed, "folds").permutation(len(x)) % k)
        networks = []
        for i in range(k):
            held = folds == i if k > 1 else torch.zeros_like(folds, dtype=torch.bool)
            networks.append(self._train(inputs, targets, held, derive_seed(seed, "member", i)))
        model = DropoutModel(
            networks, prepare=prepare, y_mean=y_mean, y_std=y_std, samples=self.samples, seed=derive_seed(seed, "masks")
        )
        if k > 1:
            _set_scale(model, x, targets.to(torch.float64), folds, seed)
        return model.eval()

    def _train(self, x: torch.Tensor, y: torch.Tensor, held: torch.Tensor, seed: int) -> MaskedNetwork:
        kept = torch.nonzero(~held).flatten()
        if len(kept) == 1:
            kept = kept.repeat(2)  # a batch needs two
        for slower in (1, 4, 16):
            network, settings = self._untrained(x, y.shape[1], seed)
            settings["learning_rate"] /= slower
            batch = max(2, min(settings.pop("batch"), len(kept)))
            try:
                fit(
                    network,
                    x[kept],
                    y[kept],
                    epochs=max(1, round(self.steps / max(1, len(kept) // batch))),
                    batch=batch,
                    seed=seed,
                    device=self.device,
                    transform=self.augment,
                    **settings,
                )
                break
            except FloatingPointError:
                if slower == 16:
                    raise
        return MaskedNetwork(network.cpu(), x)

    def _untrained(self, x: torch.Tensor, outputs: int, seed: int) -> tuple[nn.Module, dict[str, Any]]:
        shape = tuple(x.shape[1:])
        with torch_seed(seed):
            if self.network is None:
                return default_network(shape, outputs), dict(DEFAULT_TRAINING)
            expected = (tuple(self.network["input"]), self.network["outputs"])
            if expected != (shape, outputs):
                raise ConfigError(
                    f"expected a network for input {list(shape)} and {outputs} outputs, got one for "
                    f"{list(expected[0])} and {expected[1]}; search one on this study's space and objectives"
                )
            return build(self.network), dict(self.network["training"])


def _set_scale(model: DropoutModel, x: torch.Tensor, y: torch.Tensor, folds: torch.Tensor, seed: int) -> None:
    """Set the model's scale and noise from residuals of held-out data.

    A residual is that of one member, whereas the model predicts by the mean of all. The squared error of that mean is
    smaller by the variance between the members (Krogh & Vedelsby, NIPS 1995), taken where no member has seen the
    answer: at random points between pairs of data. There also the raw variance of all functions is measured, which the
    scale turns into the explained part of the squared error.

    Args:
        model: raw; changed in place.
        x: (n, d) float64.
        y: (n, m) float64, standardised.
        folds: (n,) int, the member that did not see the row.
        seed: of the points in between.
    """
    rng = derive(seed, "between")
    left, right = x[torch.as_tensor(rng.integers(len(x), size=(2, BETWEEN)))]
    fresh = left + torch.as_tensor(rng.random((BETWEEN, 1))) * (right - left)
    with torch.no_grad():
        raw = model.raw(torch.cat([x, fresh])).to(torch.float64)  # (k, s / k, n + BETWEEN, m)
    own = raw[folds, :, torch.arange(len(x))]  # (n, s / k, m)
    unseen = raw[:, :, len(x) :]
    between = unseen.mean(dim=1).var(dim=0, correction=0).mean(dim=0)
    total = unseen.flatten(0, 1).var(dim=0).mean(dim=0)
    for j in range(y.shape[1]):
        mean, spread = own[..., j].mean(dim=1).numpy(), own[..., j].std(dim=1).numpy()
        member = recalibrate(mean, spread, y[:, j].numpy())
        explained = float(np.mean((member.scale * spread) ** 2))
        squared_error = explained + member.noise**2
        share = explained / squared_error
        squared_error -= min(float(between[j]), squared_error / 2)
        model.scale[j] = math.sqrt(share * squared_error / max(float(total[j]), TINY))
        model.noise[j] = math.sqrt((1 - share) * squared_error) * float(model.y_std[j])
