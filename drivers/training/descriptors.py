"""Inputs of any kind as short vectors, to tell which are alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from matloop.search_spaces.networks.graph.graphs import Graphs

_MOST = 512
"""Values of a vector; larger inputs are averaged over blocks of places."""

_ROWS = 1024


def described(x: npt.NDArray[Any] | Graphs, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(k, d) float32 of mean 0 and standard deviation 1: of graphs averaged nodes and edges, of images pooled ones."""
    if isinstance(x, Graphs):
        found = _of_graphs(x[rows])
    else:
        found = np.concatenate(
            [_pooled(np.asarray(x[part])) for part in np.split(rows, range(_ROWS, len(rows), _ROWS))]
        )
    spread = found.std(axis=0)
    return np.asarray((found - found.mean(axis=0)) / np.where(spread > 0, spread, 1.0), dtype=np.float32)


def clusters(x: npt.NDArray[Any] | Graphs, rows: npt.NDArray[np.int64], k: int, seed: int) -> npt.NDArray[np.int64]:
    """(len(rows),) numbers of k clusters of the rows, from the largest, 0, to the smallest.

    Raises:
        ValueError: fewer different rows than clusters.
    """
    from sklearn.cluster import MiniBatchKMeans

    vectors = described(x, rows)
    if len(np.unique(vectors, axis=0)) < k:
        raise ValueError(f"expected at least {k} different inputs for {k} clusters, got fewer; lower `clusters`")
    labels = MiniBatchKMeans(k, n_init=3, batch_size=4096, random_state=seed).fit_predict(vectors)
    order = np.argsort(-np.bincount(labels, minlength=k), kind="stable")
    return np.asarray(np.argsort(order)[labels], dtype=np.int64)


def _of_graphs(graphs: Graphs) -> npt.NDArray[np.float32]:
    def mean(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        sums = torch.cat([values.new_zeros(1, values.shape[1]), values.cumsum(0)])[offsets].diff(dim=0)
        return sums / offsets.diff().clamp(min=1)[:, None]

    nodes = mean(graphs.nodes.double(), graphs.node_offsets)
    edges = mean(graphs.edge_features.double(), graphs.edge_offsets)
    return torch.cat([nodes, edges], dim=1).float().numpy()


def _pooled(x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """(k, d) of (k, channels, *places): as they are if they are short."""
    flat = x.reshape(len(x), -1)
    if flat.shape[1] <= _MOST or x.ndim < 3:
        return flat.astype(np.float32)
    axes = x.ndim - 2
    size = [min(max(int((_MOST / x.shape[1]) ** (1 / axes)), 1), length) for length in x.shape[2:]]
    pool: Any = (torch.nn.functional.adaptive_avg_pool1d, torch.nn.functional.adaptive_avg_pool2d,
            torch.nn.functional.adaptive_avg_pool3d)[axes - 1]  # fmt: skip
    pooled = pool(torch.from_numpy(x.astype(np.float32)), size)
    return np.asarray(pooled.flatten(1).numpy())
