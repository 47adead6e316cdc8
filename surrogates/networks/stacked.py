"""Training of networks that are stacked: one step trains all of them, each on the rows that it does not hold out.

With enough data they predict, besides the mean, the logarithm of the variance (Nix & Weigend 1994), trained by the
weighted likelihood of Seitzer et al. (ICLR 2022), which does not give up on points that are hard at first; with few
data such a variance collapses, and squared error is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from matloop.orchestrator.randomness import torch_seed
from matloop.surrogates.networks.perceptrons import Perceptrons
from matloop.surrogates.networks.residual import Residuals
from matloop.surrogates.networks.schedule import GRADIENT_NORM, set_rate

SEITZER_BETA = 0.5
LEAST_LOG_VARIANCE = -9.0
"""Of standardised outputs: a variance head never claims to know more than four digits."""

Stack = TypeVar("Stack", Perceptrons, Residuals)


def train(
    make: Callable[[], Stack], x: torch.Tensor, y: torch.Tensor, held: torch.Tensor, *, seed: int, device: str
) -> Stack:
    """Train k networks, each without the rows that it holds out.

    Args:
        make: draws the untrained networks, from torch's global generator.
        x: (n, d) float32, standardised.
        y: (n, m) float32, standardised.
        held: (k, n) bool; every member keeps at least one row.
        seed: of weights, order and masks.
        device: where to train; they come back on the CPU.

    Raises:
        FloatingPointError: the loss became infinite or not a number.
    """
    k, n = held.shape
    kept = int((~held).sum(dim=1).min())
    x, y, held = x.to(device), y.to(device), held.to(device)
    with torch_seed(seed):
        networks = make().to(device)
        recipe = networks.recipe
        batch = min(recipe.batch, kept)
        per_epoch = max(1, kept // batch)
        matrices = list(networks.weights)
        others = [p for p in networks.parameters() if not any(p is matrix for matrix in matrices)]
        groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
        descent = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
        for step in range(recipe.steps):
            if step % per_epoch == 0:
                order = (torch.rand(k, n, device=device) + 2 * held).argsort(dim=1)[:, :kept]
            start = step % per_epoch * batch
            rows = order[:, start : start + batch]
            loss = _loss(networks, x[rows], y[rows])
            set_rate(descent, recipe.learning_rate, (step + 1) / recipe.steps)
            descent.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(networks.parameters(), GRADIENT_NORM * math.sqrt(k))
            descent.step()
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"training diverged at learning rate {recipe.learning_rate:g}; lower it")
    return networks.cpu().eval()


def _loss(networks: Stack, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Summed over members, mean over rows: the gradient of one network is that of its own training."""
    outputs, m = networks(x), networks.outputs
    errors = (y - outputs[..., :m]) ** 2
    if networks.recipe.heads:
        log_variance = outputs[..., m:].clamp_min(LEAST_LOG_VARIANCE)
        errors = 0.5 * (errors * (-log_variance).exp() + log_variance) * (SEITZER_BETA * log_variance.detach()).exp()
    loss: torch.Tensor = errors.mean(dim=1).sum()
    return loss
