"""Exact Gaussian process: the surrogate for small data in a box, and the yardstick for every other one.

BoTorch's SingleTaskGP over inputs scaled to the unit cube and standardised outputs, one process per output, with a
length scale per dimension under the dimension-scaled prior of Hvarfner, Hellsten & Nardi (ICML 2024).
"""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import torch
from botorch.exceptions.errors import ModelFittingError
from botorch.exceptions.warnings import InputDataWarning, OptimizationWarning
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms import Normalize, Standardize
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.utils.warnings import NumericalWarning
from linear_operator.utils.errors import NanError, NotPSDError

from orchestrator.errors import ConfigError
from orchestrator.protocols import Space, Vectorised
from orchestrator.randomness import torch_seed
from surrogates.checks import check_data


class GP:
    """Exact GP regression, float64, one independent process per output."""

    def __init__(
        self, *, space: Space | None = None, kernel: Literal["matern52", "rbf"] = "matern52", max_iterations: int = 200
    ) -> None:
        """Set up the family.

        Args:
            space: where the points come from; its bounds, if it has any, scale the inputs, else the data do.
            kernel: matern52 for properties that may bend sharply, rbf for very smooth ones.
            max_iterations: of L-BFGS on the marginal likelihood, >= 1; exact fits cost O(n³) each.
        """
        if kernel not in ("matern52", "rbf"):
            raise ConfigError(f"expected kernel 'matern52' or 'rbf', got {kernel!r}")
        if max_iterations < 1:
            raise ConfigError(f"expected max_iterations >= 1, got {max_iterations}")
        self.kernel = kernel
        self.max_iterations = max_iterations
        self._bounds = np.asarray(space.bounds, dtype=np.float64) if isinstance(space, Vectorised) else None

    def fit(self, x: torch.Tensor, y: torch.Tensor, seed: int) -> SingleTaskGP:
        """Fit by maximum a posteriori; where the data cannot tell (one point, constant y) the prior stands.

        Args:
            x: (n, d) float64, n >= 1.
            y: (n, m) float64, any unit.
            seed: used only if the optimiser has to restart.

        Returns:
            A model with posterior in the units of y.

        Raises:
            ValueError: shapes differ or a value is not finite.
        """
        x, y = check_data(x, y)
        d, m = x.shape[1], y.shape[1]
        with warnings.catch_warnings():
            # Constant or single outputs cannot be standardised; jitter on duplicates is expected, not news.
            warnings.simplefilter("ignore", InputDataWarning)
            warnings.simplefilter("ignore", NumericalWarning)
            model = SingleTaskGP(
                x,
                y,
                covar_module=get_covar_module_with_dim_scaled_prior(
                    ard_num_dims=d,
                    batch_shape=torch.Size([m]) if m > 1 else torch.Size(),
                    use_rbf_kernel=self.kernel == "rbf",
                ),
                input_transform=Normalize(d, bounds=None if self._bounds is None else torch.as_tensor(self._bounds)),
                outcome_transform=Standardize(m),
            )
            warnings.simplefilter("ignore", OptimizationWarning)
            prior = {name: value.clone() for name, value in model.state_dict().items()}
            options = {"maxiter": self.max_iterations}
            with torch_seed(seed):
                try:
                    fit_gpytorch_mll(
                        ExactMarginalLogLikelihood(model.likelihood, model), optimizer_kwargs={"options": options}
                    )
                except (ModelFittingError, NanError, NotPSDError):
                    model.load_state_dict(prior)
        return model.eval()
