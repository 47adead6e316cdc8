"""Several multilayer perceptrons trained at once: what one weighs k times over is one tensor, one step trains all.

For the small data of a laboratory a step costs what starting its operations does, so k networks cost little more than
one. Each may leave out rows and have a dropout rate of its own. With enough data they predict, besides the mean, the
logarithm of the variance (Nix & Weigend 1994), trained by the weighted likelihood of Seitzer et al. (ICLR 2022), which
does not give up on points that are hard at first; with few data such a variance collapses, and squared error is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from matloop.orchestrator.randomness import torch_seed
from matloop.surrogates.networks.schedule import GRADIENT_NORM, set_rate

SEITZER_BETA = 0.5
LEAST_LOG_VARIANCE = -9.0
"""Of standardised outputs: a variance head never claims to know more than four digits."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How perceptrons are made and trained.

    Attributes:
        width: features of each hidden layer.
        depth: hidden layers.
        steps: of gradient descent.
        batch: rows per step and member.
        heads: whether the variance is predicted, too.
        learning_rate: highest of its schedule.
        weight_decay: decoupled.
    """

    width: int
    depth: int
    steps: int
    batch: int
    heads: bool
    learning_rate: float = 1e-2
    weight_decay: float = 1e-3

    @classmethod
    def suited(cls, n: int, *, steps: int | None = None) -> Recipe:
        """One that suits n rows: larger, longer and with variance heads where there are more."""
        return cls(
            width=int(min(max(2 ** round(math.log2(3 * math.sqrt(n))), 64), 256)),
            depth=2 if n < 1000 else 3,
            steps=steps or max(300, round(40 * math.sqrt(n))),
            batch=int(min(max(1.3 * math.sqrt(n), 32), 128)),
            heads=n >= 200,
            learning_rate=1e-2 if n < 1000 else 2e-3,
        )


class Perceptrons(nn.Module):
    """k perceptrons of one architecture."""

    rates: torch.Tensor

    def __init__(self, rates: torch.Tensor, inputs: int, outputs: int, recipe: Recipe) -> None:
        """Draw weights from torch's global generator, as nn.Linear does; rates: (k,) of dropout, in [0, 1)."""
        super().__init__()
        k = len(rates)
        self.register_buffer("rates", rates)
        self.recipe, self.outputs = recipe, outputs
        sizes = [inputs, *[recipe.width] * recipe.depth, 2 * outputs if recipe.heads else outputs]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for a, b in pairwise(sizes):
            bound = 1 / math.sqrt(a)
            self.weights.append(nn.Parameter(torch.empty(k, a, b).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(k, 1, b).uniform_(-bound, bound)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(k, b, d) -> (k, b, m) means or, with heads, (k, b, 2 m) means and log variances; dropout on."""
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if i < self.recipe.depth:
                x = self._dropped(nn.functional.silu(x))
        return x

    def _dropped(self, x: torch.Tensor) -> torch.Tensor:
        if not self.rates.any():
            return x
        rates = self.rates[:, None, None]
        return x * (torch.rand_like(x) >= rates) / (1 - rates)

    def sample(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(n, d) -> (k, n, outputs): one draw of the masks, the same for all points."""
        h = x.expand(len(self.rates), *x.shape)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, h, weight)
            if i < self.recipe.depth:
                keep = torch.rand(len(h), 1, h.shape[2], generator=generator) >= self.rates[:, None, None]
                h = nn.functional.silu(h) * keep / (1 - self.rates[:, None, None])
        return h

    def member(self, i: int) -> nn.Sequential:
        """Network i by itself, in evaluation mode: (n, d) -> (n, m) or, with heads, (n, 2 m)."""
        layers: list[nn.Module] = []
        rate = float(self.rates[i])
        for j, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            linear = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[2])  # type: ignore[no-untyped-call]
            with torch.no_grad():
                linear.weight.copy_(weight[i].mT)
                linear.bias.copy_(bias[i, 0])
            layers.append(linear)
            if j < self.recipe.depth:
                layers.append(nn.SiLU())
                if rate > 0:
                    layers.append(nn.Dropout(rate))
        return nn.Sequential(*layers).eval()


def train(
    x: torch.Tensor,
    y: torch.Tensor,
    held: torch.Tensor,
    rates: torch.Tensor,
    recipe: Recipe,
    *,
    seed: int,
    device: str,
) -> Perceptrons:
    """Train k networks, each without the rows that it holds out.

    Args:
        x: (n, d) float32, standardised.
        y: (n, m) float32, standardised.
        held: (k, n) bool; every member keeps at least one row.
        rates: (k,) float32, of dropout after each hidden layer, in [0, 1).
        recipe: architecture and schedule.
        seed: of weights, order and masks.
        device: where to train; they come back on the CPU.

    Raises:
        FloatingPointError: the loss became infinite or not a number.
    """
    k, n = held.shape
    kept = int((~held).sum(dim=1).min())
    batch = min(recipe.batch, kept)
    per_epoch = max(1, kept // batch)
    x, y, held = x.to(device), y.to(device), held.to(device)
    with torch_seed(seed):
        networks = Perceptrons(rates, x.shape[1], y.shape[1], recipe).to(device)
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


def _loss(networks: Perceptrons, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Summed over members, mean over rows: the gradient of one network is that of its own training."""
    outputs, m = networks(x), networks.outputs
    errors = (y - outputs[..., :m]) ** 2
    if networks.recipe.heads:
        log_variance = outputs[..., m:].clamp_min(LEAST_LOG_VARIANCE)
        errors = 0.5 * (errors * (-log_variance).exp() + log_variance) * (SEITZER_BETA * log_variance.detach()).exp()
    loss: torch.Tensor = errors.mean(dim=1).sum()
    return loss
