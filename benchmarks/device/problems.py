"""What is trained on a device: random microstructures with the length of their interfaces, and two networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from matloop.orchestrator.randomness import derive
from matloop.orchestrator.trial import Trial
from matloop.surrogates.generator.fields import two_phase_fields

IMAGES, SIDE, EPOCHS = 2000, 64, 30
"""Of the full problem."""

LENGTHS = (2.0, 3.0, 4.0, 5.0, 6.0)
"""Correlation lengths of the microstructures, pixels."""


def interfaces(file: Path, images: int = IMAGES, side: int = SIDE) -> Path:
    """Write x (images, 1, side, side) of 0 and 1, and y (images,), the share of neighbouring pixels that differ."""
    each = images // len(LENGTHS)
    fields = [
        two_phase_fields(each, (side, side), length, derive("interfaces", length)) for length in map(int, LENGTHS)
    ]
    x = np.concatenate(fields)
    y = np.mean([(x != np.roll(x, 1, axis)).mean(axis=(1, 2)) for axis in (1, 2)], axis=0)
    np.savez(file, x=x[:, None].astype(np.float32), y=y)
    return file


def trial(genome: dict[str, Any], seed: int = 0) -> Trial:
    """A trial of that network."""
    return Trial(id=seed, study="gpu", number=seed, point=genome, seed=seed)


def small(side: int = SIDE) -> dict[str, Any]:
    """A network as a search of images of 64 x 64 pixels finds them within its usual limits."""
    layers = [_layer(16, 5, 2), _layer(24, 3), _pool(), _layer(24, 3), _pool(), _layer(32, 3, skip=1)]
    return _network(side, layers, batch=32)


def wide(side: int = SIDE) -> dict[str, Any]:
    """The widest layers that a search may choose, at full resolution: what a GPU can be filled with."""
    return _network(side, [_layer(64, 5), _layer(64, 5, skip=1), _layer(64, 5, skip=1), _pool()], batch=64)


def _network(side: int, layers: list[dict[str, Any]], batch: int) -> dict[str, Any]:
    return {
        "input": [1, side, side],
        "outputs": 1,
        "padding": "circular",
        "readout": "avg",
        "dropout": 0.05,
        "layers": layers,
        "training": {
            "optimiser": "adamw",
            "batch": batch,
            "learning_rate": 3e-3,
            "weight_decay": 1e-4,
            "warm_up": 0.1,
            "final_rate": 0.01,
            "gradient_norm": 5.0,
            "averaging": 0.0,
        },
    }


def _layer(width: int, kernel: int, stride: int = 1, skip: int = 0) -> dict[str, Any]:
    genes = {"width": width, "kernel": kernel, "stride": stride, "skip": skip}
    return {"kind": "conv", "normalisation": "batch", "activation": "silu", "dropout": 0.0} | genes


def _pool() -> dict[str, Any]:
    return {"kind": "pool", "mode": "max", "size": 2}
