"""Small networks for when none was searched: a multilayer perceptron for vectors, a convolutional one for images."""

from __future__ import annotations

import torch
from torch import nn

DEFAULT_TRAINING = {"optimiser": "adamw", "learning_rate": 3e-3, "weight_decay": 1e-4, "batch": 16}
"""Keyword arguments of `matloop.surrogates.networks.fitting.fit` that suit both."""


class Standardise(nn.Module):
    """Shifts and scales each input by the mean and spread of the data; constant inputs are only shifted."""

    def __init__(self, x: torch.Tensor) -> None:
        """Take mean and spread of x: (n, d) float64."""
        super().__init__()
        spread = x.std(dim=0, correction=0)
        self.mean = x.mean(dim=0)
        self.spread = torch.where(spread > 1e-12, spread, torch.ones_like(spread))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, d) -> (n, d), same dtype."""
        return (x - self.mean.to(x)) / self.spread.to(x)


def default_network(shape: tuple[int, ...], outputs: int, dropout: float = 0.1) -> nn.Module:
    """Return an untrained network, its weights drawn from torch's global generator.

    Args:
        shape: of one input: (d,) or (channels, height, width), the image periodic and at least 8 pixels wide.
        outputs: m.
        dropout: share of features dropped, in (0, 1).
    """
    if len(shape) == 1:
        return nn.Sequential(
            nn.Linear(shape[0], 64), nn.SiLU(), nn.Dropout(dropout),
            nn.Linear(64, 64), nn.SiLU(), nn.Dropout(dropout),
            nn.Linear(64, outputs),
        )  # fmt: skip
    layers: list[nn.Module] = []
    channels = shape[0]
    for width, kernel in ((16, 5), (32, 3), (48, 3)):
        layers += [
            nn.Conv2d(channels, width, kernel, stride=2, padding=kernel // 2, padding_mode="circular"),
            nn.GroupNorm(1, width),
            nn.SiLU(),
        ]
        channels = width
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(dropout))
    return nn.Sequential(*layers, *pooled, nn.Linear(4 * channels, 64), nn.SiLU(), nn.Dropout(dropout),
                         nn.Linear(64, outputs))  # fmt: skip
