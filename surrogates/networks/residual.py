"""Several residual networks trained at once: each block adds to what it was given, seen normalised over the features.

Beside perceptrons they err in other places, so that the two kinds together predict better than as many of one. The
blocks are those of Gorishniy et al., "Revisiting deep learning models for tabular data", NeurIPS 2021, with layer
normalisation, which does not depend on the batch.
"""

from __future__ import annotations

import torch
from torch import nn

from matloop.surrogates.networks.recipe import Recipe, linear, weights


class Residuals(nn.Module):
    """k residual networks of one architecture."""

    def __init__(self, k: int, inputs: int, outputs: int, recipe: Recipe) -> None:
        """Draw weights from torch's global generator, as nn.Linear does."""
        super().__init__()
        self.recipe, self.outputs = recipe, outputs
        width, last = recipe.width, 2 * outputs if recipe.heads else outputs
        shapes = [(inputs, width), *[(width, width)] * (2 * recipe.depth), (width, last)]
        self.weights, self.biases = weights(k, shapes)
        norms = range(recipe.depth + 1)
        self.gains = nn.ParameterList(nn.Parameter(torch.ones(k, 1, width)) for _ in norms)
        self.shifts = nn.ParameterList(nn.Parameter(torch.zeros(k, 1, width)) for _ in norms)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(k, b, d) -> (k, b, m) means or, with heads, (k, b, 2 m) means and log variances."""
        x = self._layer(0, x)
        for i in range(self.recipe.depth):
            x = x + self._layer(2 * i + 2, nn.functional.silu(self._layer(2 * i + 1, self._normalised(i, x))))
        return self._layer(-1, nn.functional.silu(self._normalised(-1, x)))

    def _layer(self, i: int, x: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(self.biases[i], x, self.weights[i])

    def _normalised(self, i: int, x: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self.shifts[i], nn.functional.layer_norm(x, x.shape[-1:]), self.gains[i])

    def member(self, i: int, *, heads: bool) -> nn.Sequential:
        """Network i by itself, in evaluation mode: (n, d) -> (n, m) or, if it has heads and they are kept, (n, 2 m)."""
        layers = [linear(weight[i], bias[i, 0]) for weight, bias in zip(self.weights, self.biases, strict=True)]
        layers[-1] = linear(self.weights[-1][i], self.biases[-1][i, 0], None if heads else self.outputs)
        norms = [self._norm(gain[i, 0], shift[i, 0]) for gain, shift in zip(self.gains, self.shifts, strict=True)]
        blocks = [Block(norms[j], layers[2 * j + 1], layers[2 * j + 2]) for j in range(self.recipe.depth)]
        return nn.Sequential(layers[0], *blocks, norms[-1], nn.SiLU(), layers[-1]).eval()

    def _norm(self, gain: torch.Tensor, shift: torch.Tensor) -> nn.LayerNorm:
        norm = nn.LayerNorm(len(gain))
        with torch.no_grad():
            norm.weight.copy_(gain)
            norm.bias.copy_(shift)
        return norm


class Block(nn.Module):
    """What it is given, and what two layers make of that once it is normalised."""

    def __init__(self, norm: nn.LayerNorm, first: nn.Linear, second: nn.Linear) -> None:
        super().__init__()
        self.norm, self.first, self.second = norm, first, second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, width) -> (n, width)."""
        made: torch.Tensor = self.second(nn.functional.silu(self.first(self.norm(x))))
        return x + made
