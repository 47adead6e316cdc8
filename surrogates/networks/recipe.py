"""How the small networks of a surrogate are made and trained, by the number of rows; and their stacked weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Recipe:
    """How stacked networks are made and trained.

    Attributes:
        width: features of each hidden layer.
        depth: hidden layers of a perceptron, or residual blocks.
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
    def suited(cls, n: int, *, steps: int | None = None) -> Self:
        """One of perceptrons that suits n rows: larger, longer and with variance heads where there are more."""
        return cls(
            width=int(min(max(2 ** round(math.log2(3 * math.sqrt(n))), 64), 256)),
            depth=2 if n < 1000 else 3,
            steps=steps or max(300, round(40 * math.sqrt(n))),
            batch=int(min(max(1.3 * math.sqrt(n), 32), 128)),
            heads=n >= HEADS,
            learning_rate=1e-2 if n < 1000 else 2e-3,
        )

    def as_residual(self) -> Self:
        """The same for residual networks, which take smaller steps and are as good with fewer layers."""
        return replace(self, depth=max(1, self.depth - 1), learning_rate=min(self.learning_rate, 5e-3))


HEADS = 200
"""Rows from which on the variance is predicted, too: with few, it collapses."""


def weights(k: int, shapes: Sequence[tuple[int, int]]) -> tuple[nn.ParameterList, nn.ParameterList]:
    """Matrices (k, a, b) and biases (k, 1, b), drawn from torch's global generator as those of nn.Linear are."""
    matrices, biases = nn.ParameterList(), nn.ParameterList()
    for a, b in shapes:
        bound = 1 / math.sqrt(a)
        matrices.append(nn.Parameter(torch.empty(k, a, b).uniform_(-bound, bound)))
        biases.append(nn.Parameter(torch.empty(k, 1, b).uniform_(-bound, bound)))
    return matrices, biases


def linear(weight: torch.Tensor, bias: torch.Tensor, most: int | None = None) -> nn.Linear:
    """Layer with (a, b) weights and (b,) biases, or with the first so many of its b outputs."""
    weight, bias = weight[:, :most], bias[:most]
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, *weight.shape)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        layer.weight.copy_(weight.mT)
        layer.bias.copy_(bias)
    return layer
