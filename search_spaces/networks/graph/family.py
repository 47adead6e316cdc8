"""What graph networks are made into; not into ONNX models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.search_spaces.networks.families import Caption, Family, Fed
from matloop.search_spaces.networks.graph.plan import plan


def _caption(genome: Mapping[str, Any]) -> Caption:
    node_features, edge_features = genome["input"]
    of = "nodes" if genome.get("per") == "node" else "graphs"
    return Caption(
        title="A graph network found by architecture search.",
        one=f"one graph of {genome['nodes']} nodes and {genome['edges']} edges",
        signature=(
            f"Graphs to predictions ({of}, outputs), given as one tuple of four tensors.\n\n"
            f"    Nodes (N, {node_features}) float32, edges (2, E) int64 from sender to receiver,\n"
            f"    edge features (E, {edge_features}) float32, and the graph of each node (N,) int64,\n"
            "    ascending from 0.\n    "
        ),
        argument="tuple[torch.Tensor, ...]",
    )


def _fed(genome: Mapping[str, Any]) -> tuple[Fed, ...]:
    node_features, edge_features = genome["input"]
    return Fed("x", node_features, prefix="node"), Fed("edge_features", edge_features, prefix="edge")


FAMILY = Family(plan, _caption, fed=_fed)
