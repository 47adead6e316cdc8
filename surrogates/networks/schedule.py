"""How the learning rate goes during any training here: a short rise, then a cosine down."""

from __future__ import annotations

import math

import torch

WARM_UP = 0.1
"""Share of the training in which the rate rises, where no other is asked for."""

FINAL = 0.01
"""The rate at the end over its highest, likewise."""

GRADIENT_NORM = 5.0
"""Longer gradients of one network are cut to it, so that plain descent survives its first steps; likewise."""


def set_rate(
    descent: torch.optim.Optimizer, highest: float, progress: float, *, warm_up: float = WARM_UP, final: float = FINAL
) -> None:
    """Linear rise, then a cosine down to `final` times the highest.

    Args:
        descent: whose rate is set.
        highest: learning rate.
        progress: share of the whole training, in (0, 1].
        warm_up: share in which the rate rises, in [0, 1).
        final: rate at the end over the highest, in [0, 1].
    """
    if progress < warm_up:
        share = progress / warm_up
    else:
        share = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min((progress - warm_up) / (1 - warm_up), 1.0)))
    for group in descent.param_groups:
        group["lr"] = highest * share
