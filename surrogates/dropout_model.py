"""Fixed functions that dropout masks make of trained networks, as a BoTorch ensemble model in the units of y."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.models.ensemble import EnsembleModel
from botorch.posteriors.ensemble import EnsemblePosterior
from torch import nn

from orchestrator.randomness import derive
from surrogates.masks import MaskedNetwork

Render = Callable[[torch.Tensor], torch.Tensor]


class MeasuredPosterior(EnsemblePosterior):
    """Posterior of a measurement rather than of the function: adds what the functions leave unexplained."""

    def __init__(self, values: torch.Tensor, noise: torch.Tensor) -> None:
        """Args: values: (b) x s x q x m; noise: (m,), standard deviations."""
        super().__init__(values)
        self.noise = noise

    @property
    def variance(self) -> torch.Tensor:
        """(b) x q x m."""
        return super().variance + self.noise**2

    def rsample_from_base_samples(self, sample_shape: torch.Size, base_samples: torch.Tensor) -> torch.Tensor:
        """Functions picked by index, plus independent noise."""
        values = super().rsample_from_base_samples(sample_shape, base_samples)
        return values + self.noise * torch.randn_like(values)


class DropoutModel(EnsembleModel):
    """s fixed functions of the encoded point, with posterior in the units of y.

    `posterior(X)` is that of the function, `posterior(X, observation_noise=True)` that of a measurement.
    """

    y_mean: torch.Tensor
    y_std: torch.Tensor
    scale: torch.Tensor
    noise: torch.Tensor

    def __init__(
        self,
        networks: list[MaskedNetwork],
        *,
        prepare: Render,
        y_mean: torch.Tensor,
        y_std: torch.Tensor,
        samples: int,
        seed: int,
    ) -> None:
        """Put trained networks together.

        Args:
            networks: k trained on standardised outputs.
            prepare: (n, d) -> (n, *input), differentiable; dtype follows its argument.
            y_mean: (m,) float64.
            y_std: (m,) float64, > 0.
            samples: number of functions s; rounded up to a multiple of k.
            seed: of the masks.
        """
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.prepare = prepare
        self.samples = samples
        self._num_outputs = len(y_mean)
        for name, value in (("y_mean", y_mean), ("y_std", y_std), ("scale", torch.ones_like(y_mean))):
            self.register_buffer(name, value)
        self.register_buffer("noise", torch.zeros_like(y_mean))
        self.masks = self._draw(seed)

    def _draw(self, seed: int) -> list[dict[str, torch.Tensor]]:
        each = math.ceil(self.samples / len(self.networks))
        return [network.draw(each, derive(seed, "masks", i)) for i, network in enumerate(self.networks)]  # type: ignore[operator]

    def redraw(self, seed: int) -> DropoutModel:
        """Return the same networks with fresh masks, for the next acquisition."""
        model = copy.copy(self)
        model.masks = self._draw(seed)
        return model

    def raw(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs before any recalibration, standardised: (k, s / k, n, m) in the networks' dtype.

        Args:
            x: (n, d), encoded points.
        """
        inputs = self.prepare(x.to(next(self.networks.parameters()).dtype))
        return torch.stack([net(inputs, masks) for net, masks in zip(self.networks, self.masks, strict=True)])

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(b) x q x d, encoded points -> (b) x s x q x m, units of y; dtype follows X."""
        values = self.raw(X.reshape(-1, X.shape[-1])).flatten(0, 1).to(X.dtype)
        centre = values.mean(dim=0)
        values = (centre + self.scale.to(X) * (values - centre)) * self.y_std.to(X) + self.y_mean.to(X)
        return values.reshape(len(values), *X.shape[:-1], self.num_outputs).movedim(0, -3)

    def posterior(  # type: ignore[override]
        self,
        X: torch.Tensor,
        output_indices: list[int] | None = None,
        posterior_transform: PosteriorTransform | None = None,
        observation_noise: bool = False,
        **kwargs: Any,
    ) -> EnsemblePosterior:
        """Posterior over the s functions at (b) x q x d points; with observation noise, that of measurements."""
        posterior = super().posterior(X, output_indices, **kwargs)
        if observation_noise:
            noise = self.noise if output_indices is None else self.noise[output_indices]
            posterior = MeasuredPosterior(posterior.values, noise.to(X))
        return posterior if posterior_transform is None else posterior_transform(posterior=posterior, X=X)
