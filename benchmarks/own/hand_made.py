"""Networks made by hand, each with the recipe that a person would give it: trained by a plain loop, without matloop.

All use AdamW with a warm-up and a cosine over the seconds that they are given; the architectures are those of
`matloop.drivers.training.references.networks`. Products are in bfloat16 where the CPU has it, as in the search. None
sees test rows before the end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from matloop.drivers.training.references.networks import Convolutional, Residual, UNet
from matloop.surrogates.networks.precision import autocast, half_type

Values = npt.NDArray[Any]
Batch = Callable[[], tuple[torch.Tensor, torch.Tensor]]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_WARM_UP_STEPS = 100


def train(
    network: nn.Module,
    batch: Batch,
    loss: Loss,
    *,
    seconds: float,
    rate: float,
    decay: float,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Train in place for so many seconds by the clock; return the number of steps."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
    half = half_type("mixed", "cpu")
    began, steps = clock(), 0
    network.train()
    while (share := (clock() - began) / seconds) < 1:
        for group in optimiser.param_groups:
            rise = min(1.0, (steps + 1) / _WARM_UP_STEPS)
            group["lr"] = rate * rise * 0.5 * (1 + math.cos(math.pi * share))
        x, y = batch()
        with autocast(half, "cpu"):
            outputs = network(x)
        value = loss(outputs.float(), y)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        steps += 1
    network.eval()
    return steps


def huber(beta: float) -> Loss:
    """Squares of small errors, large ones themselves."""
    return lambda outputs, targets: nn.functional.smooth_l1_loss(outputs, targets, beta=beta)


def residual(
    x: Values,
    y: Values,
    x_test: Values,
    *,
    seed: int,
    seconds: float,
    dropout: float,
    rate: float,
    decay: float,
    batch: int,
) -> Values:
    """(k,) predictions of a residual network on vectors: 256 wide, two blocks, Huber loss, standardised and clipped.

    Args:
        x: (n, features) to train on.
        y: (n,) numbers.
        x_test: (k, features).
        seed: of weights, order and dropout.
        seconds: of training.
        dropout: inside each block.
        rate: highest learning rate.
        decay: of weights.
        batch: rows of a step.
    """
    torch.manual_seed(seed)
    mean, std = x.mean(axis=0), x.std(axis=0) + 1e-6
    ready = [torch.from_numpy(np.clip((part - mean) / std, -6, 6).astype(np.float32)) for part in (x, x_test)]
    middle, scale = float(y.mean()), float(y.std())
    targets = torch.from_numpy(((y - middle) / scale).astype(np.float32))[:, None]
    network = Residual([x.shape[1]], 1, width=256, blocks=2, dropout=dropout)
    train(network, shuffled(ready[0], targets, batch, seed), huber(0.1), seconds=seconds, rate=rate, decay=decay)
    return predicted(network, ready[1])[:, 0] * scale + middle


def volumes(x: Values, y: Values, x_test: Values, *, seed: int, seconds: float) -> Values:
    """(k,) predictions of a circular convolutional network on volumes, with random shifts, mirrors and transposition.

    Args:
        x: (n, 1, depth, height, width) of two phases, 0 and 1; the property is along the first axis of the volume, so
            that only the other two may be exchanged.
        y: (n,) numbers.
        x_test: (k, 1, depth, height, width).
        seed: of all that is random.
        seconds: of training.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    ready = [torch.from_numpy(part.astype(np.float32) * 2 - 1) for part in (x, x_test)]
    middle, scale = float(y.mean()), float(y.std())
    targets = torch.from_numpy(((y - middle) / scale).astype(np.float32))[:, None]
    network = Convolutional(list(x.shape[1:]), 1, width=16, padding="circular")
    plain = shuffled(ready[0], targets, 32, seed)

    def moved() -> tuple[torch.Tensor, torch.Tensor]:
        inputs, wanted = plain()
        inputs = inputs.roll(tuple(int(v) for v in rng.integers(0, x.shape[-1], 3)), (2, 3, 4))
        inputs = inputs.flip([axis for axis in (2, 3, 4) if rng.random() < 0.5])
        return (inputs.transpose(3, 4) if rng.random() < 0.5 else inputs), wanted

    train(network, moved, huber(0.2), seconds=seconds, rate=3e-3, decay=1e-3)
    return predicted(network, ready[1])[:, 0] * scale + middle


def micrographs(x: Values, y: Values, x_test: Values, *, seed: int, seconds: float, crop: int = 128) -> Values:
    """(k, height, width) classes by a U-Net on whole images, trained on random crops, turned and mirrored, with noise.

    Args:
        x: (n, 1, height, width) grey values.
        y: (n, height, width) classes from 0.
        x_test: (k, 1, height, width).
        seed: of all that is random.
        seconds: of training.
        crop: pixels along an edge.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    mean, std = float(x.mean()), float(x.std())
    ready = [torch.from_numpy(((part - mean) / std).astype(np.float32)) for part in (x, x_test)]
    classes = torch.from_numpy(y.astype(np.int64))
    network = UNet(list(x.shape[1:]), int(y.max()) + 1, width=16)

    def one() -> tuple[torch.Tensor, torch.Tensor]:
        i, row, column = (int(rng.integers(size)) for size in (len(x), x.shape[2] - crop + 1, x.shape[3] - crop + 1))
        turns, mirror = int(rng.integers(4)), rng.random() < 0.5
        image = torch.rot90(ready[0][i, :, row : row + crop, column : column + crop], turns, (1, 2))
        labels = torch.rot90(classes[i, row : row + crop, column : column + crop], turns, (0, 1))
        image = image * (1 + 0.1 * float(rng.normal())) + 0.1 * float(rng.normal())
        return (image.flip(2), labels.flip(1)) if mirror else (image, labels)

    def crops() -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = zip(*(one() for _ in range(8)), strict=True)
        return torch.stack(images), torch.stack(labels)

    train(network, crops, nn.functional.cross_entropy, seconds=seconds, rate=3e-3, decay=1e-4)
    return predicted(network, ready[1], chunk=1).argmax(axis=1)


def shuffled(x: torch.Tensor, y: torch.Tensor, batch: int, seed: int) -> Batch:
    """Batches of all rows in a new order in every epoch; what is left over of one is left out."""
    generator = torch.Generator().manual_seed(seed)
    queue: list[torch.Tensor] = []

    def following() -> tuple[torch.Tensor, torch.Tensor]:
        if not queue:
            order = torch.randperm(len(x), generator=generator)
            queue.extend(part for part in order.split(batch) if len(part) == batch or len(x) < batch)
        rows = queue.pop()
        return x[rows], y[rows]

    return following


def predicted(network: nn.Module, x: torch.Tensor, chunk: int = 64) -> Values:
    """(n, ...) outputs, in chunks."""
    with torch.no_grad():
        return torch.cat([network(part) for part in x.split(chunk)]).numpy()
