"""The words a genome is written in: every gene with its permitted values, and how to draw one.

A genome is a plain dict that JSON can hold. The length of `input` says what kind of network it is: convolutions over
[channels, length], [channels, height, width] or [channels, depth, height, width], or dense layers over [features]::

    {"input": [1, 32, 32], "outputs": 1,          # fixed by the space
     "padding": "circular", "readout": "avg", "dropout": 0.1,
     "layers": [{"kind": "conv", "width": 16, "kernel": 3, "stride": 1, "normalisation": "batch",
                 "activation": "relu", "dropout": 0.0, "skip": 0},
                {"kind": "pool", "mode": "max", "size": 2},
                {"kind": "dense", "width": 32, "activation": "silu", "dropout": 0.0}],
     "training": {"optimiser": "adam", "learning_rate": 0.003, "weight_decay": 1e-05, "batch": 16}}

`readout` says how feature maps become a vector (global average, global maximum, or all of them flattened);
`dropout` at the top is the one before the output layer. `skip: s` adds, before the activation, the output of the
layer s places earlier (s one more than the number of layers before it: the network's input), resized and projected
where shapes differ. A dense network has neither pooling, padding nor readout, and its layers have all their genes:

    {"kind": "dense", "width": 32, "normalisation": "none", "activation": "silu", "dropout": 0.0, "skip": 1}

The keys of `training` are the keyword arguments of `matloop.surrogates.networks.fitting.fit`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np

Genome = dict[str, Any]
Choices = tuple[Any, ...]
T = TypeVar("T")

WIDTHS = (4, 8, 16, 24, 32, 48, 64)
DENSE_WIDTHS = (8, 16, 32, 64, 128)
KERNELS = (1, 3, 5, 7)
STRIDES = (1, 2)
NORMALISATIONS = ("none", "batch", "group")
ACTIVATIONS = ("relu", "gelu", "silu", "elu")
DROPOUTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
SKIPS = (0, 1, 2, 3)
POOLINGS = ("max", "avg")
POOL_SIZES = (2, 3)

LAYERS: Mapping[str, Mapping[str, Choices]] = {
    "conv": {
        "width": WIDTHS,
        "kernel": KERNELS,
        "stride": STRIDES,
        "normalisation": NORMALISATIONS,
        "activation": ACTIVATIONS,
        "dropout": DROPOUTS,
        "skip": SKIPS,
    },
    "pool": {"mode": POOLINGS, "size": POOL_SIZES},
    "dense": {"width": DENSE_WIDTHS, "activation": ACTIVATIONS, "dropout": DROPOUTS},
}

SETTINGS: Mapping[str, Choices] = {
    "padding": ("zeros", "circular"),
    "readout": ("avg", "max", "flatten"),
    "dropout": DROPOUTS,
}
TRAINING: Mapping[str, Choices] = {"optimiser": ("adam", "adamw", "sgd"), "batch": (8, 16, 32, 64)}
RANGES: Mapping[str, tuple[float, float]] = {"learning_rate": (5e-4, 2e-2), "weight_decay": (1e-6, 1e-2)}
"""Bounds of the continuous training genes, both drawn uniformly in the logarithm."""


@dataclass(frozen=True, slots=True)
class Words:
    """What genomes of one kind may say beside `training`.

    Attributes:
        settings: genes of the whole network.
        layers: genes of each kind of layer beside `kind`; numbers in ascending order.
    """

    settings: Mapping[str, Choices]
    layers: Mapping[str, Mapping[str, Choices]]


CONVOLUTIONAL = Words(settings=SETTINGS, layers=LAYERS)
DENSE = Words(
    settings={"dropout": DROPOUTS},
    layers={
        "dense": {
            "width": DENSE_WIDTHS,
            "normalisation": NORMALISATIONS,
            "activation": ACTIVATIONS,
            "dropout": DROPOUTS,
            "skip": SKIPS,
        }
    },
)

# What trains well is drawn more often; genes that are not named here are drawn uniformly.
_WEIGHTS: Mapping[str, tuple[float, ...]] = {
    "kernel": (0.1, 0.5, 0.25, 0.15),
    "stride": (0.7, 0.3),
    "normalisation": (0.2, 0.6, 0.2),
    "dropout": (0.7, 0.1, 0.08, 0.06, 0.04, 0.02),
    "skip": (0.65, 0.15, 0.15, 0.05),
    "readout": (0.5, 0.2, 0.3),
    "optimiser": (0.45, 0.45, 0.1),
}


def duplicate(genome: Mapping[str, Any]) -> Genome:
    """A copy that shares nothing that can be changed; several times as fast as `copy.deepcopy`."""
    layers = [dict(layer) for layer in genome["layers"]]
    return {**genome, "input": list(genome["input"]), "layers": layers, "training": dict(genome["training"])}


def draw(gene: str, choices: Choices, rng: np.random.Generator) -> Any:
    """One of the choices, as the plain Python value that it is."""
    if gene in _WEIGHTS:
        return pick(choices, _WEIGHTS[gene], rng)
    return choices[int(rng.integers(len(choices)))]


def pick(choices: Sequence[T], odds: tuple[float, ...], rng: np.random.Generator) -> T:
    """One of the choices with these probabilities; the draw of `rng.choice` at a tenth of its time."""
    return choices[bisect_right(_cumulative(odds), rng.random())]


@cache
def _cumulative(odds: tuple[float, ...]) -> list[float]:
    sums = list(accumulate(odds))
    return [value / sums[-1] for value in sums]


def draw_log(low: float, high: float, rng: np.random.Generator) -> float:
    """Uniform in the logarithm."""
    return min(max(math.exp(rng.uniform(math.log(low), math.log(high))), low), high)


def draw_layer(kind: str, genes: Mapping[str, Choices], rng: np.random.Generator) -> Genome:
    """A random layer of that kind with these genes."""
    return {"kind": kind} | {gene: draw(gene, choices, rng) for gene, choices in genes.items()}


def draw_training(rng: np.random.Generator) -> Genome:
    """Random training settings."""
    return {gene: draw(gene, choices, rng) for gene, choices in TRAINING.items()} | {
        gene: draw_log(low, high, rng) for gene, (low, high) in RANGES.items()
    }
