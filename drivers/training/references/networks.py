"""Networks that people use today, made by hand: they take (n, *input) and give (n, outputs) or (n, outputs, *places).

References:
    ElemNet: Jha et al., Scientific Reports 8, 17593 (2018).
    U-Net: Ronneberger, Fischer and Brox, MICCAI (2015).
    Residual blocks behind a normalisation: He et al., ECCV (2016); for tables: Gorishniy et al., NeurIPS (2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

Padding = Literal["zeros", "circular"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_POOLS = (nn.functional.max_pool1d, nn.functional.max_pool2d, nn.functional.max_pool3d)

_ELEMNET = ((1024, 4, 0.2), (512, 3, 0.1), (256, 3, 0.3), (128, 3, 0.2), (64, 2, 0.0), (32, 1, 0.0))
"""Width, number of layers of that width, and the dropout behind them."""


def elemnet(input: Sequence[int], outputs: int) -> nn.Module:
    """Seventeen dense layers over the fractions of the elements, narrowing from 1,024 to 32, with dropout between."""
    layers: list[nn.Module] = []
    width = input[0]
    for wide, number, dropout in _ELEMNET:
        for _ in range(number):
            layers += [nn.Linear(width, wide), nn.ReLU()]
            width = wide
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def perceptron(input: Sequence[int], outputs: int, widths: Sequence[int] = (512, 256, 128)) -> nn.Module:
    """Plain dense layers with ReLU."""
    layers: list[nn.Module] = []
    width = input[0]
    for wide in widths:
        layers += [nn.Linear(width, wide), nn.ReLU()]
        width = wide
    return nn.Sequential(*layers, nn.Linear(width, outputs))


class Residual(nn.Module):
    """Dense residual blocks: normalise, widen, activate, drop, project, add.

    Args:
        input: (features,).
        outputs: length of the output.
        width: of all layers.
        blocks: how many.
        dropout: share in [0, 1) inside each block.
    """

    def __init__(
        self,
        input: Sequence[int],
        outputs: int,
        *,
        width: int = 256,
        blocks: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.first = nn.Linear(input[0], width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, width),
                nn.SiLU(),
                nn.Dropout(dropout),
                nn.Linear(width, width),
            )
            for _ in range(blocks)
        )
        self.last = nn.Sequential(nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, features) to (n, outputs)."""
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        found: torch.Tensor = self.last(x)
        return found


class Convolutional(nn.Module):
    """Convolutions of rising width, each halving the size, then the mean over all places and two dense layers.

    Args:
        input: (channels, length), (channels, height, width) or (channels, depth, height, width).
        outputs: length of the output.
        width: of the first convolution; the others have two and four times as many channels.
        padding: "circular" for periodic inputs.
    """

    def __init__(self, input: Sequence[int], outputs: int, *, width: int = 16, padding: Padding = "zeros") -> None:
        super().__init__()
        rank, channels = len(input) - 1, input[0]
        parts: list[nn.Module] = []
        for wide, stride in ((width, 1), (2 * width, 2), (4 * width, 2), (4 * width, 1)):
            convolution = _CONVOLUTIONS[rank - 1](
                channels, wide, 3, stride=stride if min(input[1:]) > 4 else 1, padding=1, padding_mode=padding
            )
            parts += [convolution, _BATCH_NORMS[rank - 1](wide), nn.SiLU()]
            channels = wide
        self.features = nn.Sequential(*parts)
        self.last = nn.Sequential(nn.Linear(channels + input[0], 4 * width), nn.SiLU(), nn.Linear(4 * width, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, *places) to (n, outputs); the inputs' own means go past the convolutions."""
        means = [values.flatten(2).mean(dim=2) for values in (self.features(x), x)]
        found: torch.Tensor = self.last(torch.cat(means, dim=1))
        return found


class UNet(nn.Module):
    """Down and up again with the maps of each size handed across; group normalisation, SiLU.

    Args:
        input: (channels, height, width) or (channels, depth, height, width).
        outputs: channels of the output.
        width: channels at full size; two and four times as many at a half and less.
        depth: how often the size is halved at most; no size falls below 2.
        padding: "circular" for periodic inputs.
    """

    def __init__(
        self, input: Sequence[int], outputs: int, *, width: int = 16, depth: int = 3, padding: Padding = "zeros"
    ) -> None:
        super().__init__()
        self.rank = len(input) - 1
        halvings = max(min(depth, int(math.log2(max(min(input[1:]) // 2, 1)))), 0)
        widths = [width * min(2**level, 4) for level in range(halvings + 1)]
        self.down = nn.ModuleList(self._block(a, b, padding) for a, b in zip([input[0], *widths], widths, strict=False))
        self.up = nn.ModuleList(
            self._block(below + same, same, padding) for below, same in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.last = _CONVOLUTIONS[self.rank - 1](widths[0], outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, *places) to (n, outputs, *places)."""
        passed: list[torch.Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else _POOLS[self.rank - 1](x, 2))
            passed.append(x)
        for block, beside in zip(self.up, passed[-2::-1], strict=True):
            x = block(torch.cat([nn.functional.interpolate(x, size=beside.shape[2:]), beside], dim=1))
        found: torch.Tensor = self.last(x)
        return found

    def _block(self, before: int, after: int, padding: Padding) -> nn.Module:
        parts: list[nn.Module] = []
        for channels in (before, after):
            convolution = _CONVOLUTIONS[self.rank - 1](channels, after, 3, padding=1, padding_mode=padding)
            parts += [convolution, nn.GroupNorm(math.gcd(4, after), after), nn.SiLU()]
        return nn.Sequential(*parts)
