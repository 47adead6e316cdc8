"""How the learning rate goes during any training here: a short rise, then a cosine down."""

from __future__ import annotations

import math

import torch

RISE = 0.1
"""Share of the steps in which the rate rises."""

FINAL = 0.01
"""The rate at the end over its highest."""

GRADIENT_NORM = 5.0
"""Longer gradients of one network are cut to it, so that plain descent survives its first steps."""


def set_rate(descent: torch.optim.Optimizer, highest: float, progress: float) -> None:
    """Linear rise, then a cosine down to `FINAL`; progress is the share of all steps, in (0, 1]."""
    if progress < RISE:
        share = progress / RISE
    else:
        share = FINAL + (1 - FINAL) * 0.5 * (1 + math.cos(math.pi * (progress - RISE) / (1 - RISE)))
    for group in descent.param_groups:
        group["lr"] = highest * share
