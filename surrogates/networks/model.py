"""Fixed functions that networks make, by dropout masks or by being several, as a BoTorch ensemble in the units of y."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import nn

from matloop.orchestrator.randomness import derive
from matloop.surrogates.measured import MeasuredEnsemble
from matloop.surrogates.networks.masks import CHUNK, Masks
from matloop.surrogates.networks.stacked import LEAST_LOG_VARIANCE

Render = Callable[[torch.Tensor], torch.Tensor]


class Member(Protocol):
    """What was trained without one fold of the data; a torch module."""

    def draw(self, samples: int, rng: np.random.Generator) -> Masks:
        """Masks that make that many functions; empty if their number is the member's own."""
        ...

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(n, *input) -> (n, p): what the last layers see, without dropout."""
        ...

    def __call__(self, x: torch.Tensor, masks: Masks) -> torch.Tensor:
        """(n, *input) -> (s, n, outputs)."""
        ...


class NetworkModel(MeasuredEnsemble):
    """s fixed functions of the encoded point, with posterior in the units of y.

    `posterior(X)` is that of the function, `posterior(X, observation_noise=True)` that of a measurement.

    Attributes:
        held_out: (n, m) float64, residuals of the data by networks that had not seen them, in standard deviations;
            None if nothing was held out. What `matloop.surrogates.uncertainty.calibration.Quantiles` is made of.
    """

    held_out: torch.Tensor | None = None

    y_mean: torch.Tensor
    y_std: torch.Tensor
    scale: torch.Tensor
    noise: torch.Tensor

    def __init__(
        self,
        networks: Sequence[Member],
        *,
        prepare: Render,
        y_mean: torch.Tensor,
        y_std: torch.Tensor,
        samples: int,
        seed: int,
        heads: bool = False,
    ) -> None:
        """Put trained networks together.

        Args:
            networks: k trained on standardised outputs.
            prepare: (n, d) -> (n, *input), differentiable; dtype follows its argument.
            y_mean: (m,) float64.
            y_std: (m,) float64, > 0.
            samples: number of functions s; rounded up to a multiple of k.
            seed: of the masks.
            heads: whether the networks give 2 m outputs, the last m being logarithms of the variance around the others.
        """
        super().__init__()
        self.heads = heads
        self.networks = nn.ModuleList(networks)  # type: ignore[arg-type]
        self.prepare = prepare
        self.samples = samples
        self._num_outputs = len(y_mean)
        for name, value in (("y_mean", y_mean), ("y_std", y_std), ("scale", torch.ones_like(y_mean))):
            self.register_buffer(name, value)
        self.register_buffer("noise", torch.zeros_like(y_mean))
        self.masks = self._draw(seed)

    @property
    def apart(self) -> bool:
        """See `matloop.orchestrator.protocols.Apart`."""
        return not any(self.masks)

    def _draw(self, seed: int) -> list[dict[str, torch.Tensor]]:
        each = math.ceil(self.samples / len(self.networks))
        return [network.draw(each, derive(seed, "masks", i)) for i, network in enumerate(self.networks)]  # type: ignore[operator]

    def redraw(self, seed: int) -> NetworkModel:
        """Return the same networks with fresh masks, for the next acquisition."""
        model = copy.copy(self)
        model.masks = self._draw(seed)
        return model

    def raw(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the networks say before any recalibration, standardised.

        Args:
            x: (n, d), encoded points.

        Returns:
            functions: (k, s / k, n, m) in the networks' dtype.
            shape: (k, n, m), standard deviation of what each member leaves unexplained; 1 if it does not say.
        """
        inputs = self.prepare(x.to(next(self.networks.parameters()).dtype))
        outputs = torch.stack([net(inputs, masks) for net, masks in zip(self.networks, self.masks, strict=True)])
        if not self.heads:
            return outputs, torch.ones_like(outputs[:, 0])
        functions, log_variance = outputs[..., : self.num_outputs], outputs[..., self.num_outputs :]
        return functions, log_variance.clamp_min(LEAST_LOG_VARIANCE).exp().mean(dim=1).sqrt()

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Where the networks see points: what their last layers are given, from all of them side by side.

        Points that are close there get similar values whatever the last layers weigh, so that measuring one tells about
        the other.

        Args:
            x: (n, d), encoded points.

        Returns:
            (n, p) in the networks' dtype.
        """
        inputs = self.prepare(x.to(next(self.networks.parameters()).dtype))
        parts = [torch.cat([net.features(part) for net in self.networks], dim=1) for part in torch.split(inputs, CHUNK)]  # type: ignore[operator]
        return torch.cat(parts)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(b) x q x d, encoded points -> (b) x s x q x m, units of y; dtype follows X."""
        values = self.raw(X.reshape(-1, X.shape[-1]))[0].flatten(0, 1).to(X.dtype)
        centre = values.mean(dim=0)
        values = (centre + self.scale.to(X) * (values - centre)) * self.y_std.to(X) + self.y_mean.to(X)
        return values.reshape(len(values), *X.shape[:-1], self.num_outputs).movedim(0, -3)

    def scatter(self, X: torch.Tensor) -> torch.Tensor:
        """See `MeasuredEnsemble`."""
        noise = self.noise.to(X).expand(*X.shape[:-1], self.num_outputs)
        if not self.heads:
            return noise
        _, shapes = self.raw(X.reshape(-1, X.shape[-1]))
        return noise * shapes.square().mean(dim=0).sqrt().to(X).reshape(noise.shape)
