"""What a child's network takes over from its parent's weights: all of the function where the family knows how.

A family that does not say how its genomes correspond takes over by name: every tensor that its parent's network has
too gives what fits of it, leading channels first, and the rest keeps its initial values.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from matloop.search_spaces.networks.families import family

Weights = Mapping[str, torch.Tensor]


class Heritage(Protocol):
    """Fills a child's weights from its parent's, by what a family knows of both genomes.

    Args:
        parent: genome of the parent.
        weights: state dict of the parent's network.
        child: genome of the child.
        state: of the child's network; changed in place.
        seed: of what is decided by chance.
    """

    def __init__(
        self,
        parent: Mapping[str, Any],
        weights: Weights,
        child: Mapping[str, Any],
        state: dict[str, torch.Tensor],
        seed: int,
    ) -> None: ...

    @property
    def exact(self) -> bool:
        """Whether both are the same function then."""
        ...

    def take_over(self) -> dict[str, int]:
        """Fill in everything; returns the number of values filled in each tensor."""
        ...


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What was taken over.

    Attributes:
        inherited: trainable values that follow from the parent's, or keep the function by being 0 or 1.
        parameters: trainable values of the child.
        exact: whether the child is the same function as its parent when it predicts.
    """

    inherited: int
    parameters: int
    exact: bool

    @property
    def share(self) -> float:
        """Part of the trainable values that do not start at random, in [0, 1]."""
        return self.inherited / self.parameters


def inherit(
    parent: Mapping[str, Any], weights: Weights, child: Mapping[str, Any], network: nn.Module, *, seed: int = 0
) -> Inheritance:
    """Load into a child's network what its parent's weights tell of it.

    Args:
        parent: genome of the parent.
        weights: state dict of the parent's network.
        child: genome of the child.
        network: built from the child; changed in place, values that are not inherited stay as they are.
        seed: decides how the copies of a channel share its weights.

    Raises:
        ValueError: the weights are not those of the parent's network.
    """
    state = {name: value.clone() for name, value in network.state_dict().items()}
    heir = _heritage(parent, child)(parent, weights, child, state, seed)
    found, exact = heir.take_over(), heir.exact
    network.load_state_dict(state)
    trainable = dict(network.named_parameters())
    return Inheritance(
        inherited=sum(count for name, count in found.items() if name in trainable),
        parameters=sum(value.numel() for value in trainable.values()),
        exact=exact,
    )


def _heritage(parent: Mapping[str, Any], child: Mapping[str, Any]) -> type[Heritage]:
    """Of the family of both."""
    named = family(child).heritage
    if named is None or parent.get("family") != child.get("family"):
        return ByName
    module, _, name = named.partition(":")
    found: type[Heritage] = getattr(importlib.import_module(module), name)
    return found


class ByName:
    """Copies the leading part of every tensor of the same name and number of axes."""

    def __init__(
        self,
        parent: Mapping[str, Any],
        weights: Weights,
        child: Mapping[str, Any],
        state: dict[str, torch.Tensor],
        seed: int,
    ) -> None:
        self.weights, self.state = weights, state
        self.exact = _architecture(parent) == _architecture(child)

    def take_over(self) -> dict[str, int]:
        """Copy; returns the number of values copied to each tensor."""
        counts = {}
        for name, value in self.state.items():
            if name in self.weights and self.weights[name].ndim == value.ndim:
                old = self.weights[name]
                common = tuple(slice(min(pair)) for pair in zip(value.shape, old.shape, strict=True))
                value[common] = old[common].to(value)
                counts[name] = value[common].numel()
        return counts


def _architecture(genome: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in genome.items() if key != "training"}
