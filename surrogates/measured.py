"""Ensembles whose posterior can be that of a measurement: what the functions leave unexplained is added to them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.models.ensemble import EnsembleModel
from botorch.posteriors.ensemble import EnsemblePosterior


class MeasuredPosterior(EnsemblePosterior):
    """Posterior of a measurement rather than of the function: adds what the functions leave unexplained."""

    def __init__(self, values: torch.Tensor, noise: torch.Tensor) -> None:
        """Args: values: (b) x s x q x m; noise: (b) x q x m, standard deviations."""
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


class MeasuredEnsemble(EnsembleModel):
    """`posterior(X)` is that of the function, `posterior(X, observation_noise=True)` that of a measurement."""

    @abstractmethod
    def scatter(self, X: torch.Tensor) -> torch.Tensor:
        """(b) x q x d -> (b) x q x m: standard deviation of a measurement around its function, units of y."""

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
            noise = self.scatter(X)
            if output_indices is not None:
                noise = noise[..., output_indices]
            posterior = MeasuredPosterior(posterior.values, noise)
        return posterior if posterior_transform is None else posterior_transform(posterior=posterior, X=X)
