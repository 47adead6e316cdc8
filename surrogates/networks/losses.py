"""What trainings minimise, by name: of numbers, of classes, of classes at places; or a function of one's own.

A loss takes outputs and targets of a batch and gives one number. Those of numbers take (n, m, *places) of both, with
targets of about mean 0 and standard deviation 1; those of classes take (n, classes, *places) and (n, *places) int64.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from matloop.orchestrator.errors import ConfigError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

HUBER = 0.1
"""Errors above it, in standard deviations of the target, count linearly."""

FOCUS = 2.0
"""Exponent of the focal loss."""


def squared(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean square of the errors."""
    return nn.functional.mse_loss(outputs, _alike(outputs, targets))


def huber(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Squares of small errors, large ones themselves."""
    return nn.functional.smooth_l1_loss(outputs, _alike(outputs, targets), beta=HUBER)


def absolute(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean of the errors."""
    return nn.functional.l1_loss(outputs, _alike(outputs, targets))


def gaussian(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Negative log likelihood of (n, m, ...) targets under (n, 2 m, ...) means and logarithms of variances."""
    mean, log_variance = outputs.chunk(2, dim=1)
    _alike(mean, targets)
    log_variance = log_variance.clamp(-10, 10)
    return 0.5 * (log_variance + (targets - mean) ** 2 * torch.exp(-log_variance)).mean()


def focal(outputs: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Cross-entropy, less of it where the network is sure (Lin et al., ICCV 2017)."""
    each = nn.functional.cross_entropy(outputs, targets, reduction="none")
    each = (1 - torch.exp(-each)) ** FOCUS * each
    if weight is None:
        return each.mean()
    return _weighted(each, targets, weight)


def dice(outputs: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Cross-entropy plus 1 minus the mean overlap of the classes, 2 |A ∩ B| / (|A| + |B|) over the whole batch."""
    found, classes = outputs.float().softmax(dim=1), outputs.shape[1]
    right = found.gather(1, targets[:, None]).flatten()
    both = right.new_zeros(classes).index_add(0, targets.flatten(), right)
    said, wanted = found.transpose(0, 1).flatten(1).sum(1), torch.bincount(targets.flatten(), minlength=classes)
    overlap = (2 * both + 1) / (said + wanted + 1)
    return _cross_entropy(outputs, targets, weight) + 1 - overlap.mean()


def _alike(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The targets, which must not be broadcast."""
    if outputs.shape != targets.shape:
        raise ValueError(
            f"expected targets of shape {tuple(outputs.shape)}, as the network's outputs, got {tuple(targets.shape)}; "
            "give a single target a second axis with y[:, None]"
        )
    return targets


def _cross_entropy(outputs: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    if weight is None:
        return nn.functional.cross_entropy(outputs, targets)
    return _weighted(nn.functional.cross_entropy(outputs, targets, reduction="none"), targets, weight)


def _weighted(each: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean by the weights of the classes; 0 if no class of these targets has one."""
    weights = weight.to(each)[targets]
    return (each * weights).sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)


NUMBERS: Mapping[str, Loss] = {
    "squared": squared,
    "huber": huber,
    "absolute": absolute,
    "gaussian": gaussian,
}
"""Losses of regressions."""

CLASSES: Mapping[str, Callable[..., torch.Tensor]] = {
    "cross_entropy": _cross_entropy,
    "focal": focal,
    "dice": dice,
}
"""Losses of classes; they take weights of the classes."""

LOSSES: Mapping[str, Callable[..., torch.Tensor]] = {**NUMBERS, **CLASSES}


def loss(name: str, weight: Sequence[float] | None = None) -> Loss:
    """The loss of that name.

    Args:
        name: of `LOSSES`, or "module:function" of a function of outputs and targets.
        weight: of each class, for losses of classes.

    Raises:
        ConfigError: no such loss, or weights for one that takes none.
    """
    if ":" in name:
        return _Own(name, own(name, "loss"))
    if name not in LOSSES:
        raise ConfigError(f'expected loss: one of {list(LOSSES)} or "module:function", got {name!r}', at="loss")
    if weight is None:
        return LOSSES[name]
    if name not in CLASSES:
        raise ConfigError(f"expected class weights only with {list(CLASSES)}, got loss: {name}", at="loss")
    return partial(CLASSES[name], weight=torch.tensor(weight, dtype=torch.float32))


@dataclass(frozen=True, slots=True)
class _Own:
    """A user's function, whose answers are checked."""

    name: str
    function: Callable[[torch.Tensor, torch.Tensor], Any]

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        found = self.function(outputs, targets)
        if not isinstance(found, torch.Tensor) or found.numel() != 1:
            got = f"of shape {tuple(found.shape)}" if isinstance(found, torch.Tensor) else f"{type(found).__name__}"
            raise ValueError(
                f"expected the loss {self.name} to return a tensor of one number, got one {got}; use .mean()"
            )
        if outputs.requires_grad and not found.requires_grad:
            raise ValueError(
                f"expected the loss {self.name} to follow from the outputs, got a tensor without a gradient; compute "
                "it with torch, without detach() or item()"
            )
        return found.reshape(())


def own(name: str, option: str) -> Any:
    """A function by "module:function".

    Raises:
        ConfigError: there is none.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f'expected {option}: "module:function" that can be imported, got {name!r}: {error}', at=option
        ) from error
    if not callable(found):
        raise ConfigError(f"expected {option}: a function, got {name!r}, which is {found!r}", at=option)
    return found
