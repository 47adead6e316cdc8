"""Networks trained on all but their folds of the data, as one model whose standard deviations those folds have set.

Every measurement is held out by the networks of one fold, so that standard deviations are recalibrated on predictions
of data not seen and no measurement is wasted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from matloop.orchestrator.randomness import derive
from matloop.surrogates.networks.model import Member, NetworkModel
from matloop.surrogates.networks.prepared import Prepared
from matloop.surrogates.uncertainty.calibration import recalibrate

BETWEEN = 128
"""Points at which the disagreement of the networks is measured where data are too few to keep some aside."""

TINY = 1e-12


def calibrated_model(
    members: Sequence[Member], data: Prepared, *, heads: bool, samples: int, masks: int, seed: int
) -> NetworkModel:
    """Put trained networks together, and set scale and noise from residuals of held-out data.

    Args:
        members: networks in the order of the folds, one member for each.
        data: what they were trained on; with a single fold nothing is known of residuals, and nothing is set.
        heads: whether they predict variances too.
        samples: number of functions.
        masks: seed of the masks that make functions of them.
        seed: of the points at which disagreement is measured.
    """
    model = NetworkModel(
        members,
        prepare=data.prepare,
        y_mean=data.y_mean,
        y_std=data.y_std,
        samples=samples,
        seed=masks,
        heads=heads,
    )
    if data.k > 1:
        _set_scale(model, data, seed)
    return model.eval()


def _set_scale(model: NetworkModel, data: Prepared, seed: int) -> None:
    """Set the model's scale and noise.

    A residual is that of one member, whereas the model predicts by the mean of all, whose error is smaller. By how much
    is seen on the rows kept aside. Where data are too few for that, it is the variance between the members (Krogh &
    Vedelsby, NIPS 1995), taken where no member has seen the answer: at random points between pairs of data. In the same
    places the raw variance of all functions is measured, which the scale turns into the explained part of the error.
    """
    n, folds, y = len(data.x), data.folds, data.targets.to(torch.float64)
    with torch.no_grad():
        places = torch.cat([data.x, _unseen(data, seed)])
        raw, shapes = (values.to(torch.float64) for values in model.raw(places))
    own, shape = raw[folds, :, torch.arange(n)], shapes[folds, torch.arange(n)]  # (n, s / k, m), (n, m)
    unseen = raw[:, :, n:]
    between = unseen.mean(dim=1).var(dim=0, correction=0).mean(dim=0)
    total = unseen.flatten(0, 1).var(dim=0).mean(dim=0)
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


def _unseen(data: Prepared, seed: int) -> torch.Tensor:
    """Encoded points whose answers no member has seen: the rows kept aside, else points between pairs of data."""
    if data.aside.any():
        return data.x[data.aside]
    rng = derive(seed, "between")
    left, right = data.x[torch.as_tensor(rng.integers(len(data.x), size=(2, BETWEEN)))]
    between: torch.Tensor = left + torch.as_tensor(rng.random((BETWEEN, 1))) * (right - left)
    return between
