"""Models that have learned from earlier campaigns first, and trust them as far as they foretell the present one.

For each output, what an earlier campaign's model expects becomes a regressor: y = a + sum_k b_k s_k(x) + r(x), with r
another model of the same family. A shift of the earlier results is in a, another size of the effect in b, a deviation
that depends on the place in r; where b is 0 nothing is taken over. Beside it stands the plain model, which knows of no
earlier campaign. The two are weighed by the probability of the present data when held out (stacking), with a prior for
equal shares; so an earlier campaign that is about something else loses its say as soon as the data can tell.

The posterior is the Gaussian with the mean and covariance of the mixture.

References:
    Yao, Vehtari, Simpson & Gelman, Bayesian Analysis 13 (2018) 917: stacking.
    Golovin et al., KDD 2017, section 3.3: transfer by models of residuals.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from botorch.models.ensemble import EnsembleModel
from botorch.models.model import Model
from botorch.posteriors.ensemble import EnsemblePosterior
from botorch.sampling.pathwise import draw_matheron_paths
from gpytorch.distributions import MultivariateNormal
from linear_operator import to_linear_operator
from torch import nn

from matloop.orchestrator.protocols import DrawsFunctions, Stepped, Surrogate
from matloop.orchestrator.randomness import derive, derive_seed
from matloop.surrogates.checks import check_noise
from matloop.surrogates.independent import Independent
from matloop.surrogates.milestones import milestone
from matloop.surrogates.noise import fit
from matloop.surrogates.stacking import weigh

Array = npt.NDArray[np.float64]

FOLDS = 4
FEWEST = 4
"""Rows from which on the two models are weighed; fewer tell nothing, and both count alike."""

PRIOR = 1.0
"""Pull towards equal shares, in held-out rows for each."""

JITTER = 1e-8
"""Added to the diagonal of covariances, relative to its mean."""

ROUNDS = 20
"""In which regression and noise settle."""


@dataclass(frozen=True)
class Task:
    """What an earlier campaign measured.

    Attributes:
        x: (k, d) float64, encoded points.
        y: (k, m) float64, in the units of the present outputs; NaN where an output was not measured.
    """

    x: torch.Tensor
    y: torch.Tensor


@dataclass(frozen=True)
class Foreseen:
    """What a model that is there already expects, in the place of an earlier campaign's results.

    Attributes:
        models: of one output each, in the units of the present ones; None where nothing is expected of an output.
        centres, spreads: of what each was made from; spreads > 0.
    """

    models: Sequence[Model | None]
    centres: Sequence[float]
    spreads: Sequence[float]


class Transferred:
    """A surrogate that learns from earlier campaigns first."""

    accepts_noise = True

    def __init__(self, surrogate: Surrogate, tasks: Sequence[Task | Foreseen]) -> None:
        """Set it up.

        Args:
            surrogate: family of every model in it.
            tasks: at least one.
        """
        self._surrogate, self._tasks = surrogate, tuple(tasks)
        self._sources: dict[int, list[_Source]] = {}
        self._weights: dict[int, tuple[bytes, float]] = {}
        self._apart: dict[int, Transferred] = {}

    def output(self, j: int) -> Transferred:
        """The same for output j alone; see `ByOutput`."""
        if j not in self._apart:
            self._apart[j] = Transferred(self._surrogate, [_of_output(task, j) for task in self._tasks])
        return self._apart[j]

    def fit(
        self, x: torch.Tensor, y: torch.Tensor, seed: int, *, noise: npt.NDArray[np.float64] | None = None
    ) -> TransferredModel:
        """Fit to the present data; see `Surrogate.fit`.

        Args:
            x: (n, d) float64, n >= 1.
            y: (n, m) float64; rows with NaN are left out of that output's models.
            seed: all randomness comes from it.
            noise: (n, m) float64, standard deviations of the measurements, NaN where unknown.
        """
        spread = check_noise(noise, y).numpy()
        outputs = []
        for j in range(y.shape[1]):
            rows = torch.isfinite(y[:, j])
            data = _Data(x[rows], y[rows, j : j + 1], spread[rows.numpy(), j : j + 1])
            outputs.append(self._output(j, data, derive_seed(seed, "output", j)))
        return TransferredModel(outputs).eval()

    def _output(self, j: int, data: _Data, seed: int) -> _Output:
        if j not in self._sources:
            self._sources[j] = [found for task in self._tasks if (found := self._source(task, j)) is not None]
        sources = self._sources[j]
        plain = data.fit(self._surrogate, seed)
        if not sources:
            return _Output(plain, None, 0.0)
        return _Output(plain, self._corrected(sources, data, seed), self._weight(j, sources, data))

    def _source(self, task: Task | Foreseen, j: int) -> _Source | None:
        """Model of an earlier campaign's output; None if it has none of it."""
        if isinstance(task, Foreseen):
            model = task.models[j]
            return None if model is None else _Source(model, task.centres[j], task.spreads[j])
        rows = torch.isfinite(task.y[:, j])
        if not rows.any():
            return None
        y = task.y[rows, j : j + 1]
        model = self._surrogate.fit(task.x[rows], y, derive_seed("earlier", j))
        spread = float(y.std(correction=0))
        return _Source(model, float(y.mean()), spread if spread > 1e-12 * (1 + abs(float(y.mean()))) else 1.0)

    def _corrected(self, sources: Sequence[_Source], data: _Data, seed: int) -> _Corrected:
        """The earlier campaigns' models, shifted and scaled to the present data, and a model of what is left."""
        expected = torch.stack([source.standardised(data.x) for source in sources], dim=1)
        spread = float(np.mean([source.spread for source in sources]))
        centre = float(np.mean([source.centre for source in sources]))
        coefficients = regression(expected.numpy(), data.y[:, 0].numpy(), centre, spread)
        left = data.y[:, 0] - torch.as_tensor(coefficients[0] + expected.numpy() @ coefficients[1:])
        residual = _Data(data.x, left[:, None], data.noise).fit(self._surrogate, derive_seed(seed, "residual"))
        return _Corrected(list(sources), coefficients, residual)

    def _weight(self, j: int, sources: Sequence[_Source], data: _Data) -> float:
        """Share of the corrected model, decided anew when the data have grown by a quarter."""
        n = milestone(len(data.x))
        if n < FEWEST:
            return 0.5
        first = data.rows(np.arange(n))
        key = hashlib.sha256(b"".join(a.tobytes() for a in (first.x.numpy(), first.y.numpy(), first.noise))).digest()
        if j not in self._weights or self._weights[j][0] != key:
            self._weights[j] = key, self._stacked(sources, first)
        return self._weights[j][1]

    def _stacked(self, sources: Sequence[_Source], data: _Data) -> float:
        n = len(data.x)
        folds = derive("transfer folds", n).permutation(n) % min(FOLDS, n)
        plain, corrected = np.zeros(n), np.zeros(n)
        for i in range(folds.max() + 1):
            out = np.flatnonzero(folds == i)
            known, seed = data.rows(np.flatnonzero(folds != i)), derive_seed("transfer", i, n)
            held = data.rows(out)
            for found, model in (
                (plain, known.fit(self._surrogate, seed)),
                (corrected, TransferredModel([_Output(None, self._corrected(sources, known, seed), 1.0)])),
            ):
                found[out] = _log_density(model, held)
        return weigh(plain, corrected, PRIOR)


def _of_output(task: Task | Foreseen, j: int) -> Task | Foreseen:
    if isinstance(task, Task):
        return Task(task.x, task.y[:, j : j + 1])
    return Foreseen([task.models[j]], [task.centres[j]], [task.spreads[j]])


def regression(x: Array, y: Array, centre: float, spread: float) -> Array:
    """Coefficients of y = a + x b, near those that hold if both campaigns are about the same.

    Args:
        x: (n, k) float64, standardised expectations of k earlier campaigns.
        y: (n,) float64.
        centre: of what they measured, in the unit of y.
        spread: of the same, > 0.

    Returns:
        (1 + k,) float64: a and b, with the priors a ~ N(centre, (3 spread)²) and b ~ N(spread / k, spread²).
    """
    design = np.column_stack([np.ones(len(x)), x])
    k = x.shape[1]
    prior = np.array([centre, *[spread / k] * k])
    precision = np.diag([1 / 9.0, *[1.0] * k]) / spread**2
    variance = (spread / 2) ** 2
    found = prior
    for _ in range(ROUNDS):
        covariance = np.linalg.inv(precision + design.T @ design / variance)
        found = covariance @ (precision @ prior + design.T @ y / variance)
        left = y - design @ found
        unsure = float(np.einsum("ij,jk,ik->", design, covariance, design))
        variance = (float(left @ left) + unsure + 2 * (spread / 4) ** 2) / (len(y) + 2)
    coefficients: Array = found
    return coefficients


class TransferredModel(Independent):
    """Gaussian with the first two moments of the mixture, one for each output, in the units of y.

    Attributes:
        trust: share of the model that goes by the earlier campaigns, by output.
    """

    def __init__(self, outputs: Sequence[_Output]) -> None:
        super().__init__()
        self._outputs = list(outputs)
        self.trust = [output.share for output in outputs]
        self.parts = nn.ModuleList([model for output in outputs for model in output.models])
        self.stepped = any(isinstance(m, Stepped) and m.stepped for m in self.parts)

    @property
    def num_outputs(self) -> int:
        """Number m of outputs."""
        return len(self._outputs)

    def of_output(self, j: int, X: torch.Tensor, measured: bool) -> MultivariateNormal:
        """See `Independent`."""
        return self._outputs[j].joint(X, measured)

    def draw_function(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """One function drawn from the mixture, by torch's generator: (n, d) -> (n, m)."""
        drawn = [output.draw() for output in self._outputs]
        return lambda x: torch.stack([function(x) for function in drawn], dim=1)


@dataclass(frozen=True)
class _Data:
    """Rows of one output: x (n, d), y (n, 1), noise (n, 1)."""

    x: torch.Tensor
    y: torch.Tensor
    noise: Array

    def rows(self, chosen: npt.NDArray[np.int_]) -> _Data:
        return _Data(self.x[chosen], self.y[chosen], self.noise[chosen])

    def fit(self, surrogate: Surrogate, seed: int) -> Model:
        return fit(surrogate, self.x, self.y, seed, self.noise)


@dataclass(frozen=True)
class _Source:
    """An earlier campaign's model of one output, with centre and spread of what it measured."""

    model: Model
    centre: float
    spread: float

    def standardised(self, x: torch.Tensor) -> torch.Tensor:
        """(n, d) -> (n,) expectations, in spreads about the centre."""
        with torch.no_grad():
            mean, *_ = _moments(self.model, x.unsqueeze(1), False)
        return (mean[:, 0] - self.centre) / self.spread


Moments = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Mean (b) x q, covariance of the function (b) x q x q, variance of a measurement around it (b) x q (0 if unasked)."""


@dataclass(frozen=True)
class _Corrected:
    """Earlier campaigns' models, their coefficients (1 + k,), and a model of what is left."""

    sources: Sequence[_Source]
    coefficients: Array
    residual: Model

    def moments(self, x: torch.Tensor, measured: bool) -> Moments:
        mean, covariance, noise = _moments(self.residual, x, measured)
        mean = mean + float(self.coefficients[0])
        for source, slope in zip(self.sources, self.coefficients[1:], strict=True):
            expected, unsure, _ = _moments(source.model, x, False)
            factor = float(slope) / source.spread
            mean = mean + factor * (expected - source.centre)
            covariance = covariance + factor**2 * unsure
        return mean, covariance, noise

    def draw(self) -> Callable[[torch.Tensor], torch.Tensor]:
        left, drawn = _drawn(self.residual), [_drawn(source.model) for source in self.sources]
        parts = list(zip(drawn, self.sources, self.coefficients[1:].tolist(), strict=True))
        start = float(self.coefficients[0])

        def function(x: torch.Tensor) -> torch.Tensor:
            value = left(x) + start
            for path, source, slope in parts:
                value = value + slope / source.spread * (path(x) - source.centre)
            return value

        return function


@dataclass(frozen=True)
class _Output:
    """Plain and corrected model of one output; `share` is the weight of the latter."""

    plain: Model | None
    corrected: _Corrected | None
    share: float

    @property
    def models(self) -> list[Model]:
        """Those of the present data."""
        return [m for m in (self.plain, self.corrected.residual if self.corrected else None) if m is not None]

    def joint(self, x: torch.Tensor, measured: bool) -> MultivariateNormal:
        mean, covariance, noise = self._moments(x, measured)
        covariance = covariance + torch.diag_embed(noise)
        scale = covariance.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[..., None, None]
        covariance = covariance + JITTER * scale * torch.eye(x.shape[-2]).to(x)
        return MultivariateNormal(mean, to_linear_operator(covariance))

    def _moments(self, x: torch.Tensor, measured: bool) -> Moments:
        if self.corrected is None:
            assert self.plain is not None
            return _moments(self.plain, x, measured)
        mean, covariance, noise = self.corrected.moments(x, measured)
        if self.plain is None:
            return mean, covariance, noise
        other, own, scatter = _moments(self.plain, x, measured)
        gap, share = mean - other, self.share
        covariance = (
            (1 - share) * own + share * covariance + share * (1 - share) * gap.unsqueeze(-1) * gap.unsqueeze(-2)
        )
        return other + share * gap, covariance, (1 - share) * scatter + share * noise

    def draw(self) -> Callable[[torch.Tensor], torch.Tensor]:
        if self.corrected is not None and float(torch.rand(())) < self.share:
            return self.corrected.draw()
        assert self.plain is not None
        return _drawn(self.plain)


def _moments(model: Model, x: torch.Tensor, measured: bool) -> Moments:
    """Of a model with one output and a Gaussian or an ensemble posterior."""
    posterior: Any = model.posterior(x)
    mean = posterior.mean[..., 0]
    if isinstance(posterior, EnsemblePosterior):
        votes = (posterior.values - posterior.mean.unsqueeze(-3))[..., 0]  # (b) x s x q
        covariance = votes.mT @ votes / (votes.shape[-2] - 1)
    else:
        covariance = posterior.distribution.covariance_matrix
    if not measured:
        return mean, covariance, torch.zeros_like(mean)
    noisy: Any = model.posterior(x, observation_noise=True)
    return mean, covariance, (noisy.variance - posterior.variance)[..., 0].clamp_min(0.0)


def _drawn(model: Model) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function (n, d) -> (n,) drawn from a model with one output."""
    if isinstance(model, DrawsFunctions):
        function = model.draw_function()
        return lambda x: function(x)[:, 0]
    if isinstance(model, EnsembleModel):
        index = int(torch.randint(2**31, ()))
        return lambda x: _values(model, x)[:, index % _values(model, x).shape[1], 0, 0]
    path: Any = draw_matheron_paths(model, torch.Size([1]))
    return lambda x: path(x).reshape(-1)


def _values(model: Model, x: torch.Tensor) -> torch.Tensor:
    """(n, s, 1, 1): an ensemble's functions at (n, d) points."""
    posterior: Any = model.posterior(x.unsqueeze(1))
    values: torch.Tensor = posterior.values
    return values


def _log_density(model: Model, held: _Data) -> Array:
    """(n,) of measurements under a model that has not seen them."""
    with torch.no_grad():
        posterior: Any = model.posterior(held.x.unsqueeze(1), observation_noise=True)
        mean, variance = posterior.mean[:, 0, 0], posterior.variance[:, 0, 0].clamp_min(1e-300)
    density = -0.5 * ((held.y[:, 0] - mean) ** 2 / variance + (2 * math.pi * variance).log())
    found: Array = density.numpy()
    return found
