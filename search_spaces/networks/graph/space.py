"""Networks that pass messages along graphs, such as crystals: random, mutated and crossed ones all build and run."""

from __future__ import annotations

from typing import Any, Literal

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least
from matloop.search_spaces.networks.grammar.rules import Rules
from matloop.search_spaces.networks.grammar.training import training as usual_training
from matloop.search_spaces.networks.grammar.vocabulary import widen
from matloop.search_spaces.networks.graph.genome import NAME, RECIPE_NETWORK, SHRINK, grammar
from matloop.search_spaces.networks.graph.plan import plan
from matloop.search_spaces.networks.program.costs import Budget
from matloop.search_spaces.networks.space import NetworkSpace

_MULTIPLY_ADDS_PER_EDGE = 20_000
_LEAST_MULTIPLY_ADDS = 2_000_000


class GraphNetworks(NetworkSpace):
    """Space of graph genomes; `matloop.search_spaces.networks.graph.genome` describes them.

    Args:
        node_features: length of a node's features.
        edge_features: length of an edge's features; give edges a constant 1 where they have none.
        outputs: number of properties that the network predicts of a graph, or of a node.
        per: what it predicts them of; for "node" there is no pooling.
        max_layers: most layers of message passing.
        max_head: most dense layers after them, the output layer not counted.
        max_parameters: most trainable values.
        max_multiply_adds: most multiplications for one graph of `nodes` and `edges`; None for 20,000 an edge, and at
            least 2,000,000.
        nodes: of a typical graph, to count multiplications for.
        edges: of a typical graph, each direction counted.
        genes: other choices than the usual ones, see `matloop.search_spaces.networks.grammar.vocabulary`.
        examples: number of training examples, which the choices of batch sizes follow; None for a few hundred.
        training: further genes of the training with their choices, as the driver offers them.

    Raises:
        ConfigError: a limit or gene that no network meets.
    """

    def __init__(
        self,
        *,
        node_features: int,
        edge_features: int,
        outputs: int = 1,
        per: Literal["graph", "node"] = "graph",
        max_layers: int = 5,
        max_head: int = 2,
        max_parameters: int = 500_000,
        max_multiply_adds: int | None = None,
        nodes: int = 8,
        edges: int = 96,
        genes: dict[str, list[Any]] | None = None,
        examples: int | None = None,
        training: dict[str, list[Any]] | None = None,
    ) -> None:
        at_least(
            1,
            node_features=node_features,
            edge_features=edge_features,
            outputs=outputs,
            nodes=nodes,
            edges=edges,
            max_layers=max_layers,
        )
        at_least(0, max_head=max_head)
        if max_multiply_adds is None:
            max_multiply_adds = max(_MULTIPLY_ADDS_PER_EDGE * edges, _LEAST_MULTIPLY_ADDS)
        values = (nodes * node_features + edges * edge_features,)
        if per not in ("graph", "node"):
            raise ConfigError(f"expected per: graph or node, got {per!r}", at="per")
        counts: dict[str, Any] = {"outputs": outputs, "nodes": nodes, "edges": edges}
        if per == "node":
            counts["per"] = per
        trained = usual_training(examples, values, training)
        super().__init__(
            Rules(widen(grammar(max_layers, max_head, trained), genes or {}), plan=plan, shrink=SHRINK),
            fixed={"family": NAME, "input": [node_features, edge_features], **counts},
            budget=Budget(parameters=max_parameters, multiply_adds=max_multiply_adds),
            given=genes,
            recipe=RECIPE_NETWORK,
        )
