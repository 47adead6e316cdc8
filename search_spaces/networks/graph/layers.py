"""Message passing and pooling over batches of graphs, in plain torch; exported sources hold them as they stand here.

A node's neighbours are the senders of the edges that it receives: `edges[0]` are senders, `edges[1]` receivers.
"""

from __future__ import annotations

import torch
from torch import nn


def aggregate(values: torch.Tensor, index: torch.Tensor, size: int, mode: str) -> torch.Tensor:
    """(e, w) values and the (e,) rows that they belong to, to their (size, w) "sum", "mean" or "max"; 0 where none."""
    result = values.new_zeros((size, values.shape[1]))
    if mode == "max":
        return result.scatter_reduce(0, index[:, None].expand_as(values), values, "amax", include_self=False)
    result = result.index_add(0, index, values)
    if mode == "mean":
        result = result / torch.bincount(index, minlength=size).clamp(min=1)[:, None]
    return result


class GatedConvolution(nn.Module):
    """Messages sigmoid(g) * softplus(s), both affine in nodes and edge (CGCNN; Xie & Grossman, PRL 2018)."""

    def __init__(self, inputs: int, edge_features: int, width: int, aggregation: str) -> None:
        super().__init__()
        self.aggregation = aggregation
        # An affine function of (receiver, sender, edge), its node terms computed once per node rather than per edge.
        self.receiver = nn.Linear(inputs, 2 * width)
        self.sender = nn.Linear(inputs, 2 * width, bias=False)
        self.edge = nn.Linear(edge_features, 2 * width, bias=False)

    def forward(self, x: torch.Tensor, edges: torch.Tensor, edge_features: torch.Tensor) -> torch.Tensor:
        sender, receiver = edges
        z = self.receiver(x)[receiver] + self.sender(x)[sender] + self.edge(edge_features)
        gate, core = z.chunk(2, dim=1)
        return aggregate(torch.sigmoid(gate) * nn.functional.softplus(core), receiver, len(x), self.aggregation)


class FilterConvolution(nn.Module):
    """Neighbours times a learned function of the edge (continuous filters as in SchNet; Schütt et al., NIPS 2017)."""

    def __init__(self, inputs: int, edge_features: int, width: int, aggregation: str) -> None:
        super().__init__()
        self.aggregation = aggregation
        self.own = nn.Linear(inputs, width)
        self.sender = nn.Linear(inputs, width, bias=False)
        self.filter = nn.Sequential(nn.Linear(edge_features, width), nn.SiLU(), nn.Linear(width, width))
        self.mix = nn.Linear(width, width, bias=False)

    def forward(self, x: torch.Tensor, edges: torch.Tensor, edge_features: torch.Tensor) -> torch.Tensor:
        sender, receiver = edges
        messages = self.sender(x)[sender] * self.filter(edge_features)
        result: torch.Tensor = self.own(x) + self.mix(aggregate(messages, receiver, len(x), self.aggregation))
        return result


class SumConvolution(nn.Module):
    """A network of the node plus its neighbours' and edges' rectified sum (GIN with edges; Hu et al., ICLR 2020)."""

    def __init__(self, inputs: int, edge_features: int, width: int, aggregation: str) -> None:
        super().__init__()
        self.aggregation = aggregation
        self.edge = nn.Linear(edge_features, inputs)
        self.mix = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: torch.Tensor, edges: torch.Tensor, edge_features: torch.Tensor) -> torch.Tensor:
        sender, receiver = edges
        messages = torch.relu(x[sender] + self.edge(edge_features))
        result: torch.Tensor = self.mix(x + aggregate(messages, receiver, len(x), self.aggregation))
        return result


class Pool(nn.Module):
    """Nodes to graphs: (N, w) and the (N,) number of each node's graph to (graphs, w)."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        return aggregate(x, graph, int(graph.max()) + 1, self.mode)
