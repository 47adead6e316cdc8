"""What a space of networks needs to know of the data that its networks are trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.data import Data
from matloop.search_spaces.networks.graph.graphs import Graphs


def fills(data: Data, train: npt.NDArray[np.int64], outputs: int) -> dict[str, Any]:
    """Options of a space by name.

    Args:
        data: what is trained on.
        train: rows.
        outputs: of a network, as the task has them.

    Returns:
        `outputs`, which some spaces call `classes`, and `examples`; `input`, the shape of a row, or of graphs
        `node_features`, `edge_features` and the numbers of `nodes` and `edges` that they have on average.
    """
    found: dict[str, Any] = {"outputs": outputs, "classes": outputs, "examples": len(train)}
    if not isinstance(data.x, Graphs):
        return found | {"input": [int(size) for size in data.x.shape[1:]]}
    graphs = len(data.x)
    return found | {
        "node_features": data.x.nodes.shape[1],
        "edge_features": data.x.edge_features.shape[1],
        "nodes": max(round(len(data.x.nodes) / graphs), 1),
        "edges": max(round(data.x.edges.shape[1] / graphs), 1),
    }
