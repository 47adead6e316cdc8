"""Networks that pass messages along graphs, such as crystals: random, mutated and crossed ones all build and run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.orchestrator.errors import ConfigError
from matloop.search_spaces.networks.grammar_space import GrammarSpace
from matloop.search_spaces.networks.graph.genome import FAMILY, SHRINK, grammar
from matloop.search_spaces.networks.graph.plan import plan
from matloop.search_spaces.networks.repair import Budget
from matloop.search_spaces.networks.statements import Program


class GraphNetworks(GrammarSpace):
    """Space of graph genomes; `matloop.search_spaces.networks.graph.genome` describes them.

    Args:
        node_features: length of a node's features.
        edge_features: length of an edge's features; give edges a constant 1 where they have none.
        outputs: number of properties that the network predicts of a graph.
        max_layers: most layers of message passing.
        max_parameters: most trainable values.
        max_multiply_adds: most multiplications for one graph of `nodes` and `edges`.
        nodes: of a typical graph, to count multiplications for.
        edges: of a typical graph, each direction counted.

    Raises:
        ConfigError: a limit that no network meets.
    """

    def __init__(
        self,
        *,
        node_features: int,
        edge_features: int,
        outputs: int = 1,
        max_layers: int = 5,
        max_parameters: int = 500_000,
        max_multiply_adds: int = 2_000_000,
        nodes: int = 8,
        edges: int = 96,
    ) -> None:
        features = {"node_features": node_features, "edge_features": edge_features}
        counts = {"outputs": outputs, "nodes": nodes, "edges": edges}
        for name, value in (features | counts | {"max_layers": max_layers}).items():
            if value < 1:
                raise ConfigError(f"expected {name} to be at least 1, got {value}")
        super().__init__(
            grammar(max_layers),
            fixed={"family": FAMILY, "input": [node_features, edge_features], **counts},
            shrink=SHRINK,
            budget=Budget(layers=max_layers, parameters=max_parameters, multiply_adds=max_multiply_adds),
        )
        self.require_room(f"{node_features} node and {edge_features} edge features and {outputs} outputs")

    def plan(self, genome: Mapping[str, Any]) -> Program:
        """See `matloop.search_spaces.networks.graph.plan`."""
        return plan(genome)
