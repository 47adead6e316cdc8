"""A running average of a network's weights over its last steps, which often predicts better than the weights do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

Weights = dict[str, torch.Tensor]


class Averaging:
    """Exponential average of the floating-point entries of a state dict; the others are those of the last step.

    Args:
        network: whose weights are averaged.
        decay: weight of the past in each step, in [0, 1); less in the first steps, and 0 averages nothing.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay, self.steps = network, decay, 0
        self._live: list[torch.Tensor] = []
        self._mean: list[torch.Tensor] = []
        if decay:
            self._live = [value for value in network.state_dict().values() if value.is_floating_point()]
            self._mean = [value.clone() for value in self._live]

    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        if self.decay:
            decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
            torch._foreach_lerp_(self._mean, self._live, 1 - decay)

    @contextmanager
    def used(self) -> Iterator[None]:
        """The network has the averaged weights inside, and its own again afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def settle(self) -> None:
        """Give the network the average for good."""
        for live, mean in zip(self._live, self._mean, strict=True):
            live.copy_(mean)

    def state(self) -> dict[str, object]:
        """To go on from; the tensors are copies."""
        return {"steps": self.steps, "mean": [value.cpu().clone() for value in self._mean]}

    def restore(self, state: dict[str, object]) -> None:
        """Put back what `state` gave."""
        steps, mean = state["steps"], state["mean"]
        assert isinstance(steps, int) and isinstance(mean, list)
        self.steps = steps
        for value, saved in zip(self._mean, mean, strict=True):
            value.copy_(saved)

    def _swap(self) -> None:
        for live, mean in zip(self._live, self._mean, strict=True):
            own = live.clone()
            live.copy_(mean)
            mean.copy_(own)
