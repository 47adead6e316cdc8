"""The words a graph genome is written in.

A network that passes messages along the edges of a graph and predicts properties of the whole::

    {"family": "graph", "input": [10, 16], "outputs": 1,   # fixed by the space: features of a node and of an edge
     "nodes": 8, "edges": 96,                              # likewise: a typical graph
     "embedding": 32, "pooling": "mean", "dropout": 0.1,
     "layers": [{"message": "gated", "aggregation": "sum", "width": 32, "normalisation": "batch",
                 "activation": "silu", "dropout": 0.0, "skip": True}],
     "head": [{"width": 64, "activation": "silu", "dropout": 0.0}],
     "training": {"optimiser": "adam", "learning_rate": 0.003, "weight_decay": 1e-05, "batch": 32}}

`embedding` is the width that node features are brought to first. A layer's `message` is a class of
`matloop.search_spaces.networks.graph.layers`; `aggregation` says how a node gathers its messages; `skip` adds what the
layer was given, projected where widths differ, before the activation. `pooling` makes one vector of a graph's nodes,
which the dense layers of `head` read; `dropout` at the top is the one before the output layer.
"""

from __future__ import annotations

from matloop.search_spaces.networks.genome import ACTIVATIONS, DENSE_WIDTHS, DROPOUTS
from matloop.search_spaces.networks.grammar import Gene, Grammar, Series, Table

FAMILY = "graph"

_DROPOUT = Gene(DROPOUTS, (0.7, 0.1, 0.08, 0.06, 0.04, 0.02))
_WIDTH = Gene(DENSE_WIDTHS, (0.05, 0.15, 0.3, 0.3, 0.2))

LAYER: Table = {
    "message": Gene(("gated", "filter", "sum")),
    "aggregation": Gene(("sum", "mean")),
    "width": _WIDTH,
    "normalisation": Gene(("none", "batch", "layer"), (0.25, 0.5, 0.25)),
    "activation": Gene(ACTIVATIONS),
    "dropout": _DROPOUT,
    "skip": Gene((False, True), (0.3, 0.7)),
}
DENSE: Table = {"width": _WIDTH, "activation": Gene(ACTIVATIONS), "dropout": _DROPOUT}
SETTINGS: Table = {"embedding": _WIDTH, "pooling": Gene(("mean", "sum", "max"), (0.5, 0.3, 0.2)), "dropout": _DROPOUT}
SHRINK = ("width", "embedding")
"""Genes lowered to save cost, in that order."""

_HEAD = 2  # most dense layers


def grammar(max_layers: int) -> Grammar:
    """The words of networks with at most so many layers of message passing."""
    return Grammar(
        settings=SETTINGS, blocks={}, series={"layers": Series(LAYER, 1, max_layers), "head": Series(DENSE, 0, _HEAD)}
    )
