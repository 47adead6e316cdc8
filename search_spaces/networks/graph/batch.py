"""Several graphs as one: what a graph network takes."""

from __future__ import annotations

from typing import NamedTuple

import torch


class GraphBatch(NamedTuple):
    """Graphs side by side, without edges between them; any tuple of these four tensors will do.

    Attributes:
        nodes: (N, f) float32, features of all nodes, those of one graph together.
        edges: (2, E) int64, sender and receiver of each edge, as rows of `nodes`. Neighbours that see each other need
            an edge for each direction; an edge from a node to itself (its periodic image) is an edge like any other.
        edge_features: (E, g) float32.
        graph: (N,) int64 from 0, ascending, the graph of each node; none is left out.
    """

    nodes: torch.Tensor
    edges: torch.Tensor
    edge_features: torch.Tensor
    graph: torch.Tensor

    def to(self, device: str | torch.device) -> GraphBatch:
        """The same on another device."""
        return GraphBatch(*(tensor.to(device) for tensor in self))
