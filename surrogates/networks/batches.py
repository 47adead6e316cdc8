"""Which examples each step of a training sees, from the seed alone, and how they get to the device in time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from matloop.orchestrator.randomness import derive_seed

T = TypeVar("T")


class Order:
    """A random order for every epoch, divided evenly into steps, and never into single examples.

    Args:
        n: examples, >= 2.
        views: how many examples each one stands for, >= 1.
        batch: most in a step, >= 2.
        seed: decides all orders.

    Attributes:
        examples: of an epoch.
        steps: of an epoch.
    """

    def __init__(self, n: int, views: int, batch: int, seed: int) -> None:
        self.n, self.seed, self.examples = n, seed, n * views
        self.steps = min(math.ceil(self.examples / batch), self.examples // 2)

    def batches(self, step: int) -> Iterator[torch.Tensor]:
        """Without end: (k,) int64 numbers of examples of each step, from one on."""
        while True:
            epoch, first = divmod(step, self.steps)
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
            order = torch.randperm(self.examples, generator=generator) % self.n
            for rows in order.tensor_split(self.steps)[first:]:
                yield rows
                step += 1


def ahead(load: Callable[[torch.Tensor], T], batches: Iterable[torch.Tensor]) -> Iterator[tuple[torch.Tensor, T]]:
    """Each batch with what is loaded for it, the next one by a thread while this one is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        pending = None
        for rows in batches:
            following = rows, pool.submit(load, rows)
            if pending is not None:
                yield pending[0], pending[1].result()
            pending = following
        if pending is not None:
            yield pending[0], pending[1].result()
