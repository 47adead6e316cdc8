"""The words a graph genome is written in.

A network that passes messages along the edges of a graph and predicts properties of the whole::

    {"family": "graph", "input": [10, 16], "outputs": 1,   # fixed by the space: features of a node and of an edge
     "nodes": 8, "edges": 96,                              # likewise: a typical graph
     "embedding": 32, "pooling": "mean", "dropout": 0.1,
     "layers": [{"message": "gated", "aggregation": "sum", "width": 32, "normalisation": "batch",
                 "activation": "silu", "dropout": 0.0, "skip": True}],
     "head": [{"width": 64, "activation": "silu", "dropout": 0.0}],
     "training": {"optimiser": "adam", "batch": 32, "learning_rate": 0.003, "weight_decay": 1e-05}}

With `"per": "node"`, which the space fixes too, there is an output for each node and no pooling.

`embedding` is the width that node features are brought to first. A layer's `message` is a class of
`matloop.search_spaces.networks.graph.layers`; `aggregation` says how a node gathers its messages; `skip` adds what the
layer was given, projected where widths differ, before the activation. `pooling` makes one vector of a graph's nodes,
which the dense layers of `head` read; `dropout` at the top is the one before the output layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.search_spaces.networks.grammar.gene import Gene, Table
from matloop.search_spaces.networks.grammar.grammar import Grammar, Series
from matloop.search_spaces.networks.grammar.training import RECIPE
from matloop.search_spaces.networks.layered.genome import ACTIVATION, DROPOUT

NAME = "graph"

WIDTH = Gene((8, 16, 32, 64, 128), (0.05, 0.15, 0.3, 0.3, 0.2), least=2)
LAYER: Table = {
    "message": Gene(("gated", "filter", "sum")),
    "aggregation": Gene(("sum", "mean")),
    "width": WIDTH,
    "normalisation": Gene(("none", "batch", "layer"), (0.25, 0.5, 0.25)),
    "activation": ACTIVATION,
    "dropout": DROPOUT,
    "skip": Gene((False, True), (0.3, 0.7)),
}
HEAD: Table = {"width": WIDTH, "activation": ACTIVATION, "dropout": DROPOUT}
SETTINGS: Table = {"embedding": WIDTH, "pooling": Gene(("mean", "sum", "max"), (0.5, 0.3, 0.2)), "dropout": DROPOUT}
SHRINK = ("width", "embedding")
"""Genes lowered to save cost, in that order."""

_RECIPE_LAYER = {"message": "gated", "aggregation": "sum", "width": 64, "normalisation": "batch", "activation": "silu"}
RECIPE_NETWORK: Mapping[str, Any] = {
    "embedding": 64,
    "pooling": "mean",
    "dropout": 0.05,
    "layers": [{**_RECIPE_LAYER, "dropout": 0.0, "skip": True}] * 3,
    "head": [{"width": 128, "activation": "silu", "dropout": 0.0}],
    "training": {**RECIPE, "batch": 32},
}
"""A crystal graph network (Xie & Grossman, PRL 2018) with today's training."""


def grammar(max_layers: int, max_head: int, training: Table) -> Grammar:
    """The words of networks with at most so many layers of message passing, and dense layers after them."""
    series = {"layers": Series({"": LAYER}, 1, max_layers), "head": Series({"": HEAD}, 0, max_head)}
    return Grammar(SETTINGS, blocks={}, series=series, training=training)
