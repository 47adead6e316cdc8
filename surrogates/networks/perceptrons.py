"""Several multilayer perceptrons trained at once: what one weighs k times over is one tensor, one step trains all.

For the small data of a laboratory a step costs what starting its operations does, so k networks cost little more than
one. Each may leave out rows and have a dropout rate of its own (`matloop.surrogates.networks.stacked` trains them).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from matloop.surrogates.networks.recipe import Recipe, linear, weights


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
        self.weights, self.biases = weights(k, list(pairwise(sizes)))

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

    def member(self, i: int, *, heads: bool) -> nn.Sequential:
        """Network i by itself, in evaluation mode: (n, d) -> (n, m) or, if it has heads and they are kept, (n, 2 m)."""
        layers: list[nn.Module] = []
        rate = float(self.rates[i])
        for j, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            last = j == self.recipe.depth
            layers.append(linear(weight[i], bias[i, 0], self.outputs if last and not heads else None))
            if j < self.recipe.depth:
                layers.append(nn.SiLU())
                if rate > 0:
                    layers.append(nn.Dropout(rate))
        return nn.Sequential(*layers).eval()
