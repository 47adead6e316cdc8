"""A network with dropout left on, as a BoTorch model: its masks give sample functions, held-out data their scale.

k copies of the network are trained, each without one of k folds of the data (`matloop.surrogates.networks.calibrated`).
The dropout rate is the one whose recalibrated predictions of held-out data are most likely. Where the space can render
points as images (the latent space of a generator), the network sees the image and the model is one differentiable
function from the latent vector to the property.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least
from matloop.orchestrator.protocols import Space
from matloop.orchestrator.randomness import derive, derive_seed
from matloop.surrogates.networks.augmentation import Augment
from matloop.surrogates.networks.calibrated import calibrated_model
from matloop.surrogates.networks.masks import MaskedNetwork
from matloop.surrogates.networks.members import Trained, Training
from matloop.surrogates.networks.model import NetworkModel
from matloop.surrogates.networks.perceptrons import Perceptrons
from matloop.surrogates.networks.prepared import Prepared
from matloop.surrogates.networks.recipe import Recipe
from matloop.surrogates.networks.stacked import train
from matloop.surrogates.uncertainty.calibration import recalibrate
from matloop.surrogates.uncertainty.metrics import nll

RATES = (0.02, 0.1, 0.3)
"""Among which a rate is fitted."""

PILOT = 1000
"""Most rows on which it is; finding it on more would cost several trainings."""

TRIAL_SAMPLES = 16


class MCDropout:
    """Networks with Monte-Carlo dropout, trained afresh at every fit, recalibrated on held-out data."""

    def __init__(
        self,
        *,
        space: Space | None = None,
        network: Mapping[str, Any] | None = None,
        rate: Literal["fitted"] | float = "fitted",
        samples: int = 32,
        members: int = 3,
        steps: int | None = None,
        augment: Augment = "none",
        device: str = "cpu",
    ) -> None:
        """Set up the family.

        Args:
            space: where the points come from; if it has `render`, the network sees the rendered image.
            network: genome as in `matloop.search_spaces.networks`, with its own training settings and dropout rates;
                None for a perceptron that suits the size of the data, or a small convolutional network for images.
            rate: of dropout in the perceptron, in (0, 1); fitted chooses it by held-out likelihood.
            samples: number of sample functions s, >= 2.
            members: number k of networks, each trained without its fold of the data, >= 2.
            steps: most gradient steps per network, >= 1; None for as many as suit the size of the data.
            augment: symmetries of the property that the training images are varied by, see
                `matloop.surrogates.networks.augmentation`.
            device: where the networks are trained; the model itself lives on the CPU.
        """
        at_least(2, samples=samples, members=members)
        if rate != "fitted" and not (isinstance(rate, float) and 0 < rate < 1):
            raise ConfigError(f"expected rate to be 'fitted' or within (0, 1), got {rate!r}", at="rate")
        self.rate = rate
        self.samples = samples
        self.members = members
        self._training = Training.of(space=space, network=network, steps=steps, augment=augment, device=device)

    def fit(self, x: torch.Tensor, y: torch.Tensor, seed: int) -> NetworkModel:
        """Train, recalibrate, and return the model; see `Surrogate.fit`.

        Raises:
            ValueError: shapes differ or a value is not finite.
            ConfigError: the network does not fit the data, or has no dropout.
        """
        data = self._training.prepare(x, y, folds=self.members, seed=seed)
        if self._training.at_once(data):
            trained = self._perceptrons(data, seed)
        else:
            trained = self._training.one_by_one(data, data.held(), seed)
        members = [MaskedNetwork(network, data.inputs) for network in trained.networks]
        masks = derive_seed(seed, "masks")
        return calibrated_model(members, data, heads=trained.heads, samples=self.samples, masks=masks, seed=seed)

    def _perceptrons(self, data: Prepared, seed: int) -> Trained:
        """Those of the best rate, of all that were trained at once."""
        n = len(data.x)
        rates = [self.rate] if isinstance(self.rate, float) else list(RATES) if data.k > 1 else [RATES[1]]
        if len(rates) > 1 and n > PILOT:
            rows = torch.as_tensor(np.sort(derive(seed, "pilot").permutation(n)[:PILOT]))
            rates = [rates[self._best(*self._trained(data, rows, rates, seed), data, rows)]]
        every = torch.arange(n)
        perceptrons, held = self._trained(data, every, rates, seed)
        best = self._best(perceptrons, held, data, every) if len(rates) > 1 else 0
        chosen = range(best * data.k, (best + 1) * data.k)
        heads = perceptrons.recipe.heads
        return Trained([perceptrons.member(i, heads=heads) for i in chosen], heads)

    def _trained(
        self, data: Prepared, rows: torch.Tensor, rates: list[float], seed: int
    ) -> tuple[Perceptrons, torch.Tensor]:
        """All folds of the first rate, then of the next; and the rows that each holds out."""
        held = data.held()[:, rows].repeat(len(rates), 1)
        each = torch.tensor(rates).repeat_interleave(data.k)
        x, y = data.inputs[rows], data.targets[rows]
        recipe = Recipe.suited(len(rows), steps=self._training.steps)
        return train(
            lambda: Perceptrons(each, x.shape[1], y.shape[1], recipe),
            x,
            y,
            held,
            seed=derive_seed(seed, "stack", len(rows)),
            device=self._training.device,
        ), held

    def _best(self, perceptrons: Perceptrons, held: torch.Tensor, data: Prepared, rows: torch.Tensor) -> int:
        """Index of the rate with the best score of held-out data, recalibrated as the model will be."""
        x, y, m = data.inputs[rows], data.targets[rows].to(torch.float64), perceptrons.outputs
        draws = torch.Generator().manual_seed(0)
        with torch.no_grad():
            outputs = torch.stack([perceptrons.sample(x, draws) for _ in range(TRIAL_SAMPLES)]).to(torch.float64)
        scores = []
        for first in range(0, len(held), data.k):
            own = outputs[:, first + data.folds[rows], torch.arange(len(rows))]  # (samples, n, outputs)
            mean, spread = own[..., :m].mean(dim=0), own[..., :m].std(dim=0)
            shape = own[..., m:].exp().mean(dim=0).sqrt() if perceptrons.recipe.heads else torch.ones_like(mean)
            parts = [[a[:, j].numpy() for a in (mean, spread, y, shape)] for j in range(m)]
            scores.append(
                sum(nll(a, recalibrate(a, b, c, shape=d).std(b, d), c) for a, b, c, d in parts)
            )  # fmt: skip
        return int(np.argmin(scores))
