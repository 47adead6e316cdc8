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

`readout` says how feature maps become a vector (global average, global maximum, or all of them flattened);
`dropout` at the top is the one before the output layer. `skip: s` adds, before the activation, the output of the
layer s places earlier (s one more than the number of layers before it: the network's input), resized and projected
where shapes differ. A dense network has neither pooling, padding nor readout, and its layers have all their genes:

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
NORMALISATION = Gene(("none", "batch", "group"), (0.2, 0.6, 0.2))
WIDTH = Gene((4, 8, 16, 24, 32, 48, 64), least=2)
DENSE_WIDTH = Gene((8, 16, 32, 64, 128), least=2)
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
SHRINK = ("width", "kernel")
"""Genes lowered to save cost, beside what `LayeredRules` does."""

_ODDS = Odds(insert=0.2, delete=0.15, alter=0.3, toggle=0.1, setting=0.15, rate=0.1)


def convolutional(max_layers: int, training: Table) -> Grammar:
    """The words of networks with at most so many convolutions, poolings and dense layers, the dense ones last."""
    layers = Series(
        {"conv": CONV, "pool": POOL, "dense": HEAD},
        least=0,
        most=max_layers,
        usual=1,
        last="dense",
        odds=(0.6, 0.25, 0.15),
        arrange=_arrange,
    )
    readout = Gene(("avg", "max", "flatten"), (0.5, 0.2, 0.3))
    settings: Table = {"padding": Gene(("zeros", "circular")), "readout": readout, "dropout": DROPOUT}
    return Grammar(settings, blocks={}, series={"layers": layers}, training=training, odds=_ODDS, toggle="skip")


def dense(max_layers: int, training: Table) -> Grammar:
    """The words of networks with at most so many dense layers."""
    layers = Series({"dense": DENSE}, least=0, most=max_layers, usual=1)
    settings: Table = {"dropout": DROPOUT}
    return Grammar(settings, blocks={}, series={"layers": layers}, training=training, odds=_ODDS, toggle="skip")


def _arrange(most: int, rng: np.random.Generator) -> list[str]:
    """Convolutions with pooling between some, then at most two dense layers."""
    kinds: list[str] = []
    for position in range(int(rng.integers(1, most + 1))):
        kinds.append("pool" if position and kinds[-1] == "conv" and rng.random() < 0.4 else "conv")
    dense = min(pick((0, 1, 2), (0.5, 0.4, 0.1), rng), most - len(kinds))
    return [*kinds, *["dense"] * dense]
