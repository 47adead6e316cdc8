"""Several graphs as one set of tensors: what a graph network takes, and what its training picks batches from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Nodes (N, f), edges (2, E), edge features (E, g) and the graph (N,) of each node, as `Graphs.tensors` has them."""


@dataclass(frozen=True, slots=True)
class Graphs:
    """n graphs side by side, without edges between them. Indexed by rows like a tensor (n, ...), it gives graphs.

    Attributes:
        nodes: (N, f) float32, features of all nodes, graph by graph; a graph has at least one.
        edges: (2, E) int64, sender and receiver of each edge as rows of `nodes`, graph by graph. Neighbours that see
            each other need an edge for each direction; an edge from a node to itself, such as to its own periodic
            image, is an edge like any other.
        edge_features: (E, g) float32.
        node_offsets: (n + 1,) int64 from 0 to N; graph i has the nodes from offset i up to offset i + 1.
        edge_offsets: (n + 1,) int64 from 0 to E, likewise.
    """

    nodes: torch.Tensor
    edges: torch.Tensor
    edge_features: torch.Tensor
    node_offsets: torch.Tensor
    edge_offsets: torch.Tensor

    def __len__(self) -> int:
        return len(self.node_offsets) - 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n, f, g)."""
        return len(self), self.nodes.shape[1], self.edge_features.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.nodes.device

    @property
    def is_cuda(self) -> bool:
        """Whether that is a GPU."""
        return self.nodes.is_cuda

    @property
    def tensors(self) -> Tensors:
        """What a network computes with."""
        numbers = torch.arange(len(self), device=self.device)
        graph = torch.repeat_interleave(numbers, self.node_offsets.diff(), output_size=len(self.nodes))
        return self.nodes, self.edges, self.edge_features, graph

    def __getitem__(self, rows: Any) -> Graphs:
        """Graphs in the order of rows: a slice, or numbers as a tensor, array or list."""
        numbers = torch.arange(len(self), device=self.device)[rows]
        first_nodes, node_counts = self.node_offsets[numbers], self.node_offsets.diff()[numbers]
        first_edges, edge_counts = self.edge_offsets[numbers], self.edge_offsets.diff()[numbers]
        node_offsets, edge_offsets = _offsets(node_counts), _offsets(edge_counts)
        chosen = _ranges(first_edges, edge_counts)
        moved = torch.repeat_interleave(node_offsets[:-1] - first_nodes, edge_counts, output_size=len(chosen))
        return Graphs(
            nodes=self.nodes[_ranges(first_nodes, node_counts)],
            edges=self.edges[:, chosen] + moved,
            edge_features=self.edge_features[chosen],
            node_offsets=node_offsets,
            edge_offsets=edge_offsets,
        )

    def split(self, size: int) -> list[Graphs]:
        """Parts of so many graphs, the last one perhaps of fewer."""
        return [self[start : start + size] for start in range(0, len(self), size)]

    def to(self, device: str | torch.device) -> Graphs:
        """The same on another device."""
        return Graphs(*(getattr(self, name).to(device) for name in self.__slots__))


def joined(several: Sequence[Graphs]) -> Graphs:
    """Graphs of several sets, one set after the other."""
    nodes = [0, *accumulate(len(graphs.nodes) for graphs in several)]
    edges = [0, *accumulate(graphs.edges.shape[1] for graphs in several)]
    return Graphs(
        nodes=torch.cat([graphs.nodes for graphs in several]),
        edges=torch.cat([graphs.edges + first for graphs, first in zip(several, nodes, strict=False)], dim=1),
        edge_features=torch.cat([graphs.edge_features for graphs in several]),
        node_offsets=_appended([graphs.node_offsets for graphs in several], nodes),
        edge_offsets=_appended([graphs.edge_offsets for graphs in several], edges),
    )


def _appended(offsets: Sequence[torch.Tensor], firsts: Sequence[int]) -> torch.Tensor:
    later = [some[1:] + first for some, first in zip(offsets, firsts, strict=False)]
    return torch.cat([offsets[0][:1], *later])


def _offsets(counts: torch.Tensor) -> torch.Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _ranges(starts: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """start, start + 1, … of each range, one after the other."""
    total = int(counts.sum())
    shift = torch.repeat_interleave(starts - _offsets(counts)[:-1], counts, output_size=total)
    return torch.arange(total, device=starts.device) + shift
