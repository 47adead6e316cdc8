"""From a graph genome to its modules and forward pass, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.search_spaces.networks.program.part import ACTIVATIONS, Part
from matloop.search_spaces.networks.program.statements import Add, Call, Program, Statement, Unpack

_LAYERS = "matloop.search_spaces.networks.graph.layers"
_MESSAGES = {"gated": "GatedConvolution", "filter": "FilterConvolution", "sum": "SumConvolution"}


def plan(genome: Mapping[str, Any]) -> Program:
    """Lay out the network of a valid genome (see `matloop.search_spaces.networks.graph.genome`).

    It takes `Graphs.tensors` and gives (graphs, outputs), or (nodes, outputs) where the genome says so. Multiply-adds
    are for a graph of the genome's `nodes` and `edges`.
    """
    return _Planner(genome).lay_out()


class _Planner:
    """Follows the width of a node's features through the layers and writes down what each needs."""

    def __init__(self, genome: Mapping[str, Any]) -> None:
        self.genome = genome
        self.width, self.edge_features = genome["input"]
        self.rows = genome["nodes"]
        self.parts: list[Part] = []
        self.statements: list[Statement] = []
        self.block = 0  # what the parts are made for, as `Grammar.places` numbers it

    def lay_out(self) -> Program:
        genome = self.genome
        names = ("x", "edges", "edge_features", "graph")
        self.statements += [
            Unpack(names, "batch"),
            Call("x", (self._linear("embedding", genome["embedding"]),), ("x",)),
        ]
        for number, layer in enumerate(genome["layers"], start=1):
            self.block += 1
            self._pass_messages(number, layer)
        if genome.get("per") != "node":
            self.statements.append(Call("x", (self._add("pool", "Pool", genome["pooling"]),), ("x", "graph")))
            self.rows = 1
        for number, dense in enumerate(genome["head"], start=1):
            self.block += 1
            chain = [self._linear(f"dense{number}", dense["width"]), *self._finish(f"dense{number}_", dense)]
            self.statements.append(Call("x", tuple(chain), ("x",)))
        self.block = 0
        chain = [self._add("dropout", "Dropout", genome["dropout"])] if genome["dropout"] else []
        self.statements.append(Call("x", (*chain, self._linear("output", genome["outputs"])), ("x",)))
        return Program("batch", tuple(self.parts), tuple(self.statements), _LAYERS, self._used())

    def _add(self, name: str, kind: str, *arguments: Any, parameters: int = 0, work: int = 0, **options: Any) -> str:
        self.parts.append(Part(name, kind, arguments, options, self.block, parameters, work))
        return name

    def _linear(self, name: str, width: int, *, bias: bool = True) -> str:
        inputs, self.width = self.width, width
        parameters, work = (inputs + bias) * width, self.rows * inputs * width
        return self._add(
            name, "Linear", inputs, width, parameters=parameters, work=work, **({} if bias else {"bias": False})
        )

    def _pass_messages(self, number: int, layer: Mapping[str, Any]) -> None:
        inputs, width = self.width, layer["width"]
        if layer["skip"]:
            project = () if inputs == width else (self._linear(f"project{number}", width, bias=False),)
            self.statements.append(Call("skip", project, ("x",)))
        parameters, work = self._costs(layer["message"], inputs, width)
        message = self._add(
            f"message{number}",
            _MESSAGES[layer["message"]],
            inputs,
            self.edge_features,
            width,
            layer["aggregation"],
            parameters=parameters,
            work=work,
        )
        self.width = width
        chain: tuple[str, ...] = (message, *self._normalise(f"norm{number}", layer["normalisation"]))
        arguments: tuple[str, ...] = ("x", "edges", "edge_features")
        if layer["skip"]:
            self.statements += [Call("x", chain, arguments), Add("x", "x", "skip")]
            chain, arguments = (), ("x",)
        self.statements.append(Call("x", (*chain, *self._finish(f"layer{number}_", layer)), arguments))

    def _costs(self, message: str, inputs: int, width: int) -> tuple[int, int]:
        """Parameters and multiply-adds of the linear maps in `layers`, by the rows that they see."""
        edge_features, nodes, edges = self.edge_features, self.genome["nodes"], self.genome["edges"]
        match message:
            case "gated":
                node, edge, biases = 4 * inputs * width, 2 * edge_features * width, 2 * width
            case "filter":
                node, edge, biases = (2 * inputs + width) * width, (edge_features + width) * width, 3 * width
            case _:
                node, edge, biases = (inputs + width) * width, edge_features * inputs, 2 * width + inputs
        return node + edge + biases, nodes * node + edges * edge

    def _normalise(self, name: str, kind: str) -> tuple[str, ...]:
        if kind == "none":
            return ()
        normalisation = "BatchNorm1d" if kind == "batch" else "LayerNorm"
        return (self._add(name, normalisation, self.width, parameters=2 * self.width),)

    def _finish(self, prefix: str, block: Mapping[str, Any]) -> list[str]:
        chain = [self._add(f"{prefix}activation", ACTIVATIONS[block["activation"]])]
        return chain + ([self._add(f"{prefix}dropout", "Dropout", block["dropout"])] if block["dropout"] else [])

    def _used(self) -> tuple[str, ...]:
        """What the parts use of the layers, in the order it stands there."""
        kinds = {part.kind for part in self.parts}
        return ("aggregate", *(kind for kind in (*_MESSAGES.values(), "Pool") if kind in kinds))
