"""How large a network may be so that a short training goes over its rows a few times."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from matloop.orchestrator.errors import ConfigError
from matloop.search_spaces.networks.conv import ConvNetworks
from matloop.search_spaces.networks.graph.space import GraphNetworks
from matloop.search_spaces.networks.segmentation.space import SegmentationNetworks

PASSES = 3
"""Over the rows to train on, that there should be time for."""

PER_SECOND = 2e9
"""Multiplications of forward passes in a second of training on one core, each with its backward pass and its update.

Measured on batches of 32 images of 64 x 64: 2e9 for networks of 2 million multiplications, 5e9 to 15e9 for larger ones.
Validation, and other work of the machine, need the rest.
"""

_SPACES = {
    "conv_network": ConvNetworks,
    "segmentation_network": SegmentationNetworks,
    "graph_network": GraphNetworks,
}


def most_multiply_adds(space: str, fills: Mapping[str, Any], rows: int, seconds: float) -> int | None:
    """Most multiplications of a network for one row; None where the space's own limit is as low, or it has none.

    Args:
        space: its kind.
        fills: what it needs to know of the data.
        rows: to train on.
        seconds: of a training.
    """
    if space not in _SPACES:
        return None
    kind = _SPACES[space]
    given = {name: value for name, value in fills.items() if name in inspect.signature(kind).parameters}
    usual = kind(**given).budget.multiply_adds
    limit = _rounded(seconds * PER_SECOND / (PASSES * rows))
    while limit < usual:
        try:
            kind(**given, max_multiply_adds=limit)
        except ConfigError:  # no network is so small
            limit *= 2
            continue
        return limit
    return None


def reason(rows: int, seconds: float) -> str:
    """Why, as a comment."""
    return (
        f"so that {seconds:g} s on one core are enough for about {PASSES} passes over {rows} rows; leave it out on a "
        "GPU or with more time"
    )


def _rounded(value: float) -> int:
    return max(int(float(f"{value:.1e}")), 1)
