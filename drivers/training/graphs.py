"""Graphs in a file: flat arrays of all their nodes and edges, with offsets that say where each graph begins.

An .npz for training on graphs holds `nodes` (N, f), `edges` (2, E), numbered from 0 within each graph, `edge_features`
(E, g), `node_offsets` and `edge_offsets` (n + 1,), `y` (n,) or (n, m) and, if it likes, `names` (m,).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from matloop.search_spaces.networks.graph.graphs import Graphs

ARRAYS = ("nodes", "edges", "edge_features", "node_offsets", "edge_offsets")
"""Arrays of a file that stand for x."""


class Graph(NamedTuple):
    """One graph.

    Attributes:
        nodes: (N, f) float32, N >= 1.
        edges: (2, E) int64, sender and receiver of each edge.
        edge_features: (E, g) float32.
    """

    nodes: npt.NDArray[np.float32]
    edges: npt.NDArray[np.int64]
    edge_features: npt.NDArray[np.float32]


def save(path: Path, graphs: Sequence[Graph], y: npt.NDArray[Any], names: Sequence[str] = ()) -> None:
    """Write graphs and their targets to a file that the training driver reads.

    Args:
        path: ending in .npz.
        graphs: n >= 1.
        y: (n,) or (n, m); whole numbers are classes.
        names: of the m targets.
    """
    found = {**arrays(graphs), "y": np.asarray(y)}
    if names:
        found["names"] = np.array(names)
    np.savez_compressed(path, allow_pickle=False, **found)


def arrays(graphs: Sequence[Graph]) -> dict[str, npt.NDArray[Any]]:
    """The flat arrays of n >= 1 graphs, by the names in `ARRAYS`."""
    counts = np.array([(len(graph.nodes), graph.edges.shape[1]) for graph in graphs], dtype=np.int64)
    offsets = np.concatenate([np.zeros((1, 2), dtype=np.int64), counts.cumsum(axis=0)])
    return {
        "nodes": np.concatenate([graph.nodes for graph in graphs]).astype(np.float32),
        "edges": np.concatenate([graph.edges for graph in graphs], axis=1),
        "edge_features": np.concatenate([graph.edge_features for graph in graphs]).astype(np.float32),
        "node_offsets": offsets[:, 0],
        "edge_offsets": offsets[:, 1],
    }


def together(graphs: Sequence[Graph]) -> Graphs:
    """n >= 1 graphs side by side, as networks take them.

    Raises:
        ValueError: there are none, or they have values that are not finite.
    """
    if not graphs:
        raise ValueError("expected graphs, got none that can be used")
    return read(arrays(graphs), Path("the graphs"))


def read(found: Mapping[str, npt.NDArray[Any]], path: Path) -> Graphs:
    """Graphs of a file's arrays.

    Raises:
        ValueError: an array is missing, or they do not fit each other.
    """
    missing = [name for name in ARRAYS if name not in found]
    if missing:
        raise ValueError(f"expected arrays {list(ARRAYS)} in {path}, got none for {missing}; write it with `save`")
    nodes, edges, edge_features, node_offsets, edge_offsets = (found[name] for name in ARRAYS)
    if nodes.ndim != 2 or edge_features.ndim != 2 or edges.shape != (2, len(edge_features)):
        raise ValueError(
            f"expected nodes (N, f), edges (2, E) and edge_features (E, g) in {path}, got {nodes.shape}, {edges.shape} "
            f"and {edge_features.shape}"
        )
    for name, offsets, total, least in (
        ("node_offsets", node_offsets, len(nodes), 1), ("edge_offsets", edge_offsets, len(edge_features), 0)
    ):  # fmt: skip
        ends = (offsets[0], offsets[-1]) if offsets.ndim == 1 and len(offsets) > 1 else None
        if ends != (0, total) or np.diff(offsets).min() < least or len(offsets) != len(node_offsets):
            raise ValueError(
                f"expected {name} of {path} to rise from 0 to {total}, by at least {least} for each graph, "
                f"got shape {offsets.shape}{'' if ends is None else f' from {ends[0]} to {ends[1]}'}"
            )
    for name, values in (("nodes", nodes), ("edge_features", edge_features)):
        if not np.isfinite(values).all():
            raise ValueError(f"expected finite {name} in {path}, got some that are not")
    sizes, counts = np.diff(node_offsets), np.diff(edge_offsets)
    if edges.size and (edges.min() < 0 or (edges >= np.repeat(sizes, counts)).any()):
        raise ValueError(f"expected edges in {path} to number the nodes of their own graph from 0, got others")
    first = np.repeat(node_offsets[:-1], counts)
    return Graphs(
        nodes=torch.from_numpy(nodes.astype(np.float32)),
        edges=torch.from_numpy((edges + first).astype(np.int64)),
        edge_features=torch.from_numpy(edge_features.astype(np.float32)),
        node_offsets=torch.from_numpy(node_offsets.astype(np.int64)),
        edge_offsets=torch.from_numpy(edge_offsets.astype(np.int64)),
    )


@dataclass(frozen=True, slots=True)
class GraphScales:
    """Mean and standard deviation of each node and edge feature; a constant one has 1, so that nothing is divided by 0.

    Attributes:
        mean: (f + g,) float32, nodes' features first.
        std: likewise.
    """

    mean: torch.Tensor
    std: torch.Tensor

    @classmethod
    def of(cls, graphs: Graphs) -> GraphScales:
        """Those over all nodes and over all edges."""
        mean = torch.cat([_mean(graphs.nodes), _mean(graphs.edge_features)])
        variance = torch.cat([_mean((x - _mean(x)) ** 2) for x in (graphs.nodes, graphs.edge_features)])
        return cls(mean, torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance)))

    def apply(self, graphs: Graphs) -> Graphs:
        """Graphs as a network takes them."""
        f = graphs.nodes.shape[1]
        return replace(
            graphs,
            nodes=(graphs.nodes - self.mean[:f]) / self.std[:f],
            edge_features=(graphs.edge_features - self.mean[f:]) / self.std[f:],
        )

    def rows(self, graphs: Graphs, numbers: npt.NDArray[np.int64]) -> Graphs:
        """Some of them as a network takes them."""
        return self.apply(graphs[numbers])

    def listed(self) -> dict[str, Any]:
        """One value for each feature, as JSON holds it."""
        return {"x_mean": self.mean.tolist(), "x_std": self.std.tolist()}


def _mean(x: torch.Tensor) -> torch.Tensor:
    """(k,) of (n, k), in double precision; 0 where n is 0."""
    return (x.double().sum(dim=0) / max(len(x), 1)).float()
