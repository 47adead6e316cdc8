"""What a space of networks needs to know of the data that its networks are trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.data import Data
from matloop.drivers.training.tasks.task import Aim
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.surrogates.networks.augmentation import Augmentation

STRENGTHS = (0.5, 1.0, 2.0)
"""Factors on noise, brightness, scale and elastic changes of training images, among which a search chooses."""


def fills(
    data: Data, train: npt.NDArray[np.int64], outputs: int, aim: Aim, augmented: Augmentation | None
) -> dict[str, Any]:
    """Options of a space by name.

    Args:
        data: what is trained on.
        train: rows.
        outputs: of a network, as the task has them.
        aim: the task.
        augmented: what is done to training images.

    Returns:
        `outputs`, which some spaces call `classes`, and `examples`, crops counted; `training`, further genes; `input`,
        the shape of a row, or of graphs `node_features`, `edge_features` and the numbers of `nodes` and `edges` that
        they have on average.
    """
    views = 1 if augmented is None else augmented.views(data.x.shape[2:])
    found: dict[str, Any] = {"outputs": outputs, "classes": outputs, "examples": views * len(train)}
    if genes := _genes(aim, augmented):
        found["training"] = genes
    if not isinstance(data.x, Graphs):
        return found | {"input": [int(size) for size in data.x.shape[1:]]}
    graphs = len(data.x)
    return found | {
        "per": "node" if aim.kind == "node" else "graph",
        "node_features": data.x.nodes.shape[1],
        "edge_features": data.x.edge_features.shape[1],
        "nodes": max(round(len(data.x.nodes) / graphs), 1),
        "edges": max(round(data.x.edges.shape[1] / graphs), 1),
    }


def _genes(aim: Aim, augmented: Augmentation | None) -> dict[str, list[Any]]:
    """What a search may choose of how networks are trained, beside what every space knows."""
    found: dict[str, list[Any]] = {"loss": list(aim.losses)} if len(aim.losses) > 1 else {}
    return found | ({"augmentation": list(STRENGTHS)} if augmented is not None and augmented.flexible else {})
