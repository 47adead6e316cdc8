"""Models of several outputs that know nothing of each other, as one model: what such models share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from botorch.acquisition.objective import PosteriorTransform
from botorch.models.model import Model
from botorch.posteriors.gpytorch import GPyTorchPosterior
from gpytorch.distributions import MultitaskMultivariateNormal, MultivariateNormal


class Independent(Model):
    """Has a joint Gaussian posterior; a subclass says what it is of one output."""

    @property
    def batch_shape(self) -> torch.Size:
        """Empty: it is one model."""
        return torch.Size()

    @abstractmethod
    def of_output(self, j: int, X: torch.Tensor, measured: bool) -> MultivariateNormal:
        """Joint posterior of output j at (b) x q x d points, units of y; of measurements there if `measured`."""

    def posterior(  # type: ignore[override]
        self,
        X: torch.Tensor,
        output_indices: list[int] | None = None,
        observation_noise: bool = False,
        posterior_transform: PosteriorTransform | None = None,
    ) -> Any:
        """Joint posterior of the functions at (b) x q x d points; with observation noise, of measurements there.

        A new measurement is as noisy as those seen, in the mean of their variances.
        """
        outputs = range(self.num_outputs) if output_indices is None else output_indices
        parts = [self.of_output(j, X, bool(observation_noise)) for j in outputs]
        joint = parts[0] if len(parts) == 1 else MultitaskMultivariateNormal.from_independent_mvns(parts)
        posterior = GPyTorchPosterior(joint)
        return posterior if posterior_transform is None else posterior_transform(posterior=posterior, X=X)
