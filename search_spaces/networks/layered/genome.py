"""The words of networks that are a list of layers: convolutions and pooling, then dense layers.

The length of `input` says what kind of network it is: convolutions over [channels, length],
[channels, height, width] or [channels, depth, height, width], or dense layers over [features]::

    {"input": [1, 32, 32], "outputs": 1,          # fixed by the space
     "padding": "circular", "readout": "avg", "dropout": 0.1,
     "layers": [{"kind": "conv", "width": 16, "kernel": 3, "stride": 1, "normalisation": "batch",
                 "activation": "relu", "dropout": 0.0, "skip": 0},
                {"kind": "pool", "mode": "max", "size": 2},
                {"kind": "dense", "width": 32, "activation": "silu", "dropout": 0.0}],
     "training": {"optimiser": "adam", "batch": 16, "learning_rate": 0.003, "weight_decay": 1e-05}}

A residual layer, in either kind of network, is a linear map or convolution to its width, `blocks` times
x + linear(dropout(activation(linear(norm(x))))), and at last normalisation and activation::

    {"kind": "residual", "width": 256, "blocks": 2, "normalisation": "layer", "activation": "silu", "dropout": 0.1}

with `kernel` and `stride` (of the first convolution) between feature maps. `readout` says how feature maps become a
vector (global average, global maximum, or all of them flattened); `dropout` at the top is the one before the output
layer. `skip: s` adds, before the activation, the output of the layer s places earlier (s one more than the number of
layers before it: the network's input), resized and projected where shapes differ. A dense network has neither pooling,
padding nor readout, and its layers have all their genes:

    {"kind": "dense", "width": 32, "normalisation": "none", "activation": "silu", "dropout": 0.0, "skip": 1}

What trains well is drawn more often.
"""

from __future__ import annotations

import numpy as np

from matloop.search_spaces.networks.grammar.gene import Gene, Table, pick
from matloop.search_spaces.networks.grammar.grammar import Grammar, Odds, Series
from matloop.search_spaces.networks.program.part import ACTIVATIONS

DROPOUT = Gene((0.0, 0.05, 0.1, 0.2, 0.3, 0.5), (0.7, 0.1, 0.08, 0.06, 0.04, 0.02), least=0, most=0.95)
ACTIVATION = Gene(tuple(ACTIVATIONS))
NORMALISATION = Gene(("none", "batch", "group", "layer"), (0.15, 0.5, 0.2, 0.15))
WIDTH = Gene((4, 8, 16, 24, 32, 48, 64), least=2)
DENSE_WIDTH = Gene((8, 16, 32, 64, 128), least=2)
WIDER = Gene((32, 64, 128, 192, 256, 384, 512), (0.05, 0.1, 0.2, 0.2, 0.25, 0.1, 0.1), least=2)
"""Of dense networks over a thousand examples or more."""
SKIP = Gene((0, 1, 2, 3), (0.65, 0.15, 0.15, 0.05), least=0, first=1)

CONV: Table = {
    "width": WIDTH,
    "kernel": Gene((1, 3, 5, 7), (0.1, 0.5, 0.25, 0.15), least=1, odd=True),
    "stride": Gene((1, 2), (0.7, 0.3), least=1),
    "normalisation": NORMALISATION,
    "activation": ACTIVATION,
    "dropout": DROPOUT,
    "skip": SKIP,
}
POOL: Table = {"mode": Gene(("max", "avg")), "size": Gene((2, 3), least=2)}
HEAD: Table = {"width": DENSE_WIDTH, "activation": ACTIVATION, "dropout": DROPOUT}
DENSE: Table = {
    "width": DENSE_WIDTH,
    "normalisation": NORMALISATION,
    "activation": ACTIVATION,
    "dropout": DROPOUT,
    "skip": SKIP,
}
RESIDUAL: Table = {
    "width": DENSE_WIDTH,
    "blocks": Gene((1, 2, 3, 4), (0.3, 0.4, 0.2, 0.1), least=1),
    "normalisation": Gene(("none", "batch", "group", "layer"), (0.05, 0.1, 0.1, 0.75)),
    "activation": Gene(tuple(ACTIVATIONS), (0.15, 0.25, 0.5, 0.1)),
    "dropout": Gene((0.0, 0.05, 0.1, 0.2, 0.3, 0.5), (0.2, 0.2, 0.3, 0.2, 0.08, 0.02), least=0, most=0.95),
}
RESIDUAL_MAPS: Table = {
    "width": WIDTH,
    "blocks": Gene((1, 2, 3), (0.6, 0.3, 0.1), least=1),
    "kernel": Gene((1, 3, 5), (0.05, 0.8, 0.15), least=1, odd=True),
    "stride": Gene((1, 2), (0.5, 0.5), least=1),
    "normalisation": Gene(("none", "batch", "group", "layer"), (0.05, 0.45, 0.4, 0.1)),
    "activation": Gene(tuple(ACTIVATIONS), (0.2, 0.2, 0.5, 0.1)),
    "dropout": DROPOUT,
}
SHRINK = ("width", "kernel", "blocks")
"""Genes lowered to save cost, beside what `LayeredRules` does."""

_ODDS = Odds(insert=0.2, delete=0.15, alter=0.3, toggle=0.1, setting=0.15, rate=0.1)


def convolutional(max_layers: int, training: Table) -> Grammar:
    """The words of networks with at most so many convolutions, poolings and dense layers, the dense ones last."""
    layers = Series(
        {"conv": CONV, "residual": RESIDUAL_MAPS, "pool": POOL, "dense": HEAD},
        least=0,
        most=max_layers,
        usual=1,
        last="dense",
        odds=(0.4, 0.25, 0.2, 0.15),
        arrange=_arrange,
    )
    readout = Gene(("avg", "max", "flatten"), (0.5, 0.2, 0.3))
    settings: Table = {"padding": Gene(("zeros", "circular")), "readout": readout, "dropout": DROPOUT}
    return Grammar(settings, blocks={}, series={"layers": layers}, training=training, odds=_ODDS, toggle="skip")


def dense(max_layers: int, training: Table, *, wide: bool = False) -> Grammar:
    """The words of networks with at most so many dense or residual layers, wide ones for many examples."""
    width = WIDER if wide else DENSE_WIDTH
    kinds: dict[str, Table] = {"dense": {**DENSE, "width": width}, "residual": {**RESIDUAL, "width": width}}
    layers = Series(kinds, least=0, most=max_layers, usual=1, odds=(0.65, 0.35), arrange=_stack)
    settings: Table = {"dropout": DROPOUT}
    return Grammar(settings, blocks={}, series={"layers": layers}, training=training, odds=_ODDS, toggle="skip")


def _arrange(most: int, rng: np.random.Generator) -> list[str]:
    """Convolutions with pooling between some, then at most two dense layers."""
    kinds: list[str] = []
    for position in range(int(rng.integers(1, most + 1))):
        pooled = position and kinds[-1] != "pool" and rng.random() < 0.4
        kinds.append("pool" if pooled else "residual" if rng.random() < 0.3 else "conv")
    dense = min(pick((0, 1, 2), (0.5, 0.4, 0.1), rng), most - len(kinds))
    return [*kinds, *["dense"] * dense]


def _stack(most: int, rng: np.random.Generator) -> list[str]:
    """Dense layers, or one or two residual ones, which have blocks of their own."""
    if rng.random() < 0.6:
        return ["residual"] * min(int(rng.integers(1, 3)), most)
    return ["dense"] * int(rng.integers(1, most + 1))
