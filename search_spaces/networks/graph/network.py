"""The torch module and the source of a graph genome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from matloop.search_spaces.networks.graph.graphs import Graphs, Tensors
from matloop.search_spaces.networks.graph.plan import plan
from matloop.search_spaces.networks.runner import Runner
from matloop.search_spaces.networks.statements import listing


class GraphNetwork(Runner):
    """Graphs to (graphs, outputs) float32."""

    def forward(self, x: Graphs | Tensors) -> torch.Tensor:
        """From graphs, or the tuple of their tensors, to one row for each."""
        return super().forward(x.tensors if isinstance(x, Graphs) else x)


def build(genome: Mapping[str, Any]) -> GraphNetwork:
    """The network of a valid genome."""
    return GraphNetwork(plan(genome))


def to_source(genome: Mapping[str, Any]) -> str:
    """Python source of class `Network`, whose state dict is that of `build(genome)`."""
    node_features, edge_features = genome["input"]
    return listing(
        plan(genome),
        genome["training"],
        title="A graph network found by architecture search.",
        one=f"one graph of {genome['nodes']} nodes and {genome['edges']} edges",
        signature=(
            "Graphs to predictions (graphs, outputs), given as one tuple of four tensors.\n\n"
            f"    Nodes (N, {node_features}) float32, edges (2, E) int64 from sender to receiver,\n"
            f"    edge features (E, {edge_features}) float32, and the graph of each node (N,) int64,\n"
            "    ascending from 0.\n    "
        ),
    )
