"""What the last layer of a network sees: the features that its training arrived at."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


def last_features(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Inputs of the last linear layer, divided by the root of their number.

    They are the gradient of the output by that layer's weights, and so divided, networks of different widths have
    squared distances of like size.

    Args:
        network: with a linear layer, in evaluation mode.
        x: (n, *input).

    Returns:
        (n, p), dtype of x.
    """
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    seen: list[torch.Tensor] = []

    def keep(_: nn.Module, inputs: Any) -> None:
        seen.append(inputs[0])

    handle = last.register_forward_pre_hook(keep)
    try:
        network(x)
    finally:
        handle.remove()
    found = seen[-1].flatten(1)
    return found / math.sqrt(found.shape[1])
