"""The generator's opponent in training: scores images by features that are pooled over the whole of each.

Pooled features say what a microstructure is like wherever it lies, so nothing is learned by place, and images of any
size will do. Their spread over the batch is seen, too, so that a generator of too little variety is found out.
Source: Karras et al. 2018 (arXiv:1710.10196; standard deviation of the batch).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import nn

HIDDEN = 64


class Critic(nn.Module):
    """Scores images: higher means more like a real microstructure. Used in training only.

    Args:
        widths: channels at each resolution, from the image's down; each step halves the side.
        periodic: whether images are unit cells; else what lies beyond their borders is taken for zero.
    """

    def __init__(self, widths: tuple[int, ...], *, periodic: bool = True) -> None:
        super().__init__()
        last = widths[-1]
        mode: Literal["circular", "zeros"] = "circular" if periodic else "zeros"
        layers: list[nn.Module] = [nn.Conv2d(1, widths[0], 3, padding=1, padding_mode=mode), nn.LeakyReLU(0.2)]
        for a, b in pairwise(widths):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1, padding_mode=mode), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(last, last, 3, padding=1, padding_mode=mode), nn.LeakyReLU(0.2)]
        self.features = nn.Sequential(*layers)
        self.score = nn.Sequential(nn.Linear(2 * last, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score (n, 1, H, W) images in [0, 1], n >= 2; returns (n,)."""
        pooled = self.features(2 * image - 1).mean(dim=(2, 3))
        spread = (pooled.var(dim=0, keepdim=True) + 1e-6).sqrt()
        scores: torch.Tensor = self.score(torch.cat([pooled, 4 * spread.expand_as(pooled)], dim=1))
        return scores.squeeze(1)
