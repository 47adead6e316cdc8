"""What surrogates of several networks share: folds of the data, training without each, and honest scales from that.

Every measurement is held out by the networks of one fold, so that standard deviations are recalibrated on predictions
of data not seen and no measurement is wasted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.randomness import derive, derive_seed, torch_seed
from matloop.search_spaces.networks.module import build
from matloop.surrogates.checks import check_data
from matloop.surrogates.networks.default_networks import DEFAULT_TRAINING, Standardise, default_network
from matloop.surrogates.networks.dropout_model import DropoutModel, Render
from matloop.surrogates.networks.fitting import Transform, fit
from matloop.surrogates.uncertainty.calibration import recalibrate

BETWEEN = 128
"""Points at which the disagreement of the networks is measured where data are too few to keep some aside."""

ENOUGH = 400
"""Rows from which on one in twenty is kept aside from all networks."""

STEPS = 240
"""Of the training of one network at a time, where none were asked for."""

TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Prepared:
    """Data as networks want them.

    Attributes:
        x: (n, d) float64, encoded points.
        inputs: (n, *input) float32, what the networks see.
        targets: (n, m) float32, standardised.
        y_mean: (m,) float64.
        y_std: (m,) float64, > 0.
        prepare: makes inputs of points.
        folds: (n,) int, which fold each row belongs to.
        k: number of folds; 1 if there is a single row, which is then not held out.
        aside: (n,) bool, rows that no network is trained on.
    """

    x: torch.Tensor
    inputs: torch.Tensor
    targets: torch.Tensor
    y_mean: torch.Tensor
    y_std: torch.Tensor
    prepare: Render
    folds: torch.Tensor
    k: int
    aside: torch.Tensor

    @classmethod
    def of(cls, x: torch.Tensor, y: torch.Tensor, *, render: Render | None, folds: int, seed: int) -> Prepared:
        """Standardise, render and divide.

        Raises:
            ValueError: shapes differ or a value is not finite.
        """
        x, y = check_data(x, y)
        y_mean, y_std = y.mean(dim=0), y.std(dim=0, correction=0)
        y_std = torch.where(y_std > 1e-12 * (1 + y_mean.abs()), y_std, torch.ones_like(y_std))
        prepare = render or Standardise(x)
        with torch.no_grad():
            inputs = prepare(x.to(torch.float32))
        k = min(folds, len(x))
        numbers = torch.as_tensor(derive(seed, "folds").permutation(len(x)) % k)
        aside = torch.as_tensor(derive(seed, "aside").permutation(len(x)) % 20 == 0) & (len(x) >= ENOUGH)
        return cls(x, inputs, ((y - y_mean) / y_std).to(torch.float32), y_mean, y_std, prepare, numbers, k, aside)

    def held(self) -> torch.Tensor:
        """(k, n) bool, the rows that each fold holds out."""
        return ((self.folds == torch.arange(self.k)[:, None]) & (self.k > 1)) | self.aside


def train_one(
    data: Prepared,
    held: torch.Tensor,
    *,
    genome: Mapping[str, Any] | None,
    steps: int,
    augment: Transform | None,
    device: str,
    seed: int,
) -> nn.Module:
    """Train one network of any architecture; where training diverges, it is repeated with smaller steps.

    Args:
        data: all of it.
        held: (n,) bool, rows left out.
        genome: as in `matloop.search_spaces.networks`; None for the default network.
        steps: most gradient steps.
        augment: of the training images.
        device: where it is trained; it comes back on the CPU.
        seed: of weights and batches.

    Raises:
        ConfigError: the genome does not fit the data.
        FloatingPointError: it diverged in spite of all.
    """
    kept = torch.nonzero(~held).flatten()
    if len(kept) == 1:
        kept = kept.repeat(2)  # a batch needs two
    for slower in (1, 4, 16):
        network, settings = _untrained(genome, tuple(data.inputs.shape[1:]), data.targets.shape[1], seed)
        settings["learning_rate"] /= slower
        batch = max(2, min(settings.pop("batch"), len(kept)))
        try:
            fit(
                network,
                data.inputs[kept],
                data.targets[kept],
                epochs=max(1, round(steps / max(1, len(kept) // batch))),
                batch=batch,
                seed=seed,
                device=device,
                transform=augment,
                **settings,
            )
            break
        except FloatingPointError:
            if slower == 16:
                raise
    return network.cpu()


def _untrained(
    genome: Mapping[str, Any] | None, shape: tuple[int, ...], outputs: int, seed: int
) -> tuple[nn.Module, dict[str, Any]]:
    with torch_seed(seed):
        if genome is None:
            return default_network(shape, outputs), dict(DEFAULT_TRAINING)
        expected = (tuple(genome["input"]), genome["outputs"])
        if expected != (shape, outputs):
            raise ConfigError(
                f"expected a network for input {list(shape)} and {outputs} outputs, got one for "
                f"{list(expected[0])} and {expected[1]}; search one on this study's space and objectives"
            )
        return build(genome), dict(genome["training"])


def set_scale(model: DropoutModel, data: Prepared, seed: int) -> None:
    """Set the model's scale and noise from residuals of held-out data.

    A residual is that of one member, whereas the model predicts by the mean of all, whose error is smaller. By how much
    is seen on the rows kept aside. Where data are too few for that, it is the variance between the members (Krogh &
    Vedelsby, NIPS 1995), taken where no member has seen the answer: at random points between pairs of data. In the same
    places the raw variance of all functions is measured, which the scale turns into the explained part of the error.

    Args:
        model: raw; changed in place. Its members are in the order of the folds.
        data: what it was trained on; nothing is done if there is a single fold.
        seed: of the points in between.
    """
    if data.k == 1:
        return
    x, folds, n = data.x, data.folds, len(data.x)
    if data.aside.any():
        fresh = x[data.aside]
    else:
        rng = derive(seed, "between")
        left, right = x[torch.as_tensor(rng.integers(n, size=(2, BETWEEN)))]
        fresh = left + torch.as_tensor(rng.random((BETWEEN, 1))) * (right - left)
    with torch.no_grad():
        raw, shapes = (values.to(torch.float64) for values in model.raw(torch.cat([x, fresh])))
    own = raw[folds, :, torch.arange(n)]  # (n, s / k, m)
    unseen = raw[:, :, n:]
    between = unseen.mean(dim=1).var(dim=0, correction=0).mean(dim=0)
    total = unseen.flatten(0, 1).var(dim=0).mean(dim=0)
    shape = shapes[folds, torch.arange(n)]  # (n, m)
    y = data.targets.to(torch.float64)
    model.held_out = torch.full_like(y, torch.nan)
    for j in range(y.shape[1]):
        mean, spread, own_shape = own[..., j].mean(dim=1).numpy(), own[..., j].std(dim=1).numpy(), shape[:, j].numpy()
        member = recalibrate(mean, spread, y[:, j].numpy(), shape=own_shape)
        explained = float(np.mean((member.scale * spread) ** 2))
        unexplained = float(np.mean((member.noise * own_shape) ** 2))
        squared_error = explained + unexplained
        if data.aside.any():
            errors = unseen[..., j].mean(dim=1) - y[data.aside, j]  # (k, rows)
            less = float(errors.mean(dim=0).abs().mean() / errors.abs().mean().clamp_min(TINY)) ** 2
        else:
            less = 1 - min(float(between[j]), squared_error / 2) / squared_error
        model.scale[j] = math.sqrt(less * explained / max(float(total[j]), TINY))
        model.held_out[:, j] = torch.as_tensor((y[:, j].numpy() - mean) / member.std(spread, own_shape))
        model.noise[j] = math.sqrt(less) * member.noise * float(model.y_std[j])


def member_seed(seed: int, i: int) -> int:
    """Of network i."""
    return derive_seed(seed, "member", i)
