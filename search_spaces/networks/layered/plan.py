"""From genome to modules and forward pass, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.search_spaces.networks.layered.blocks import Block, layer_block, output_block, read_out_block
from matloop.search_spaces.networks.program.part import Part, Shape
from matloop.search_spaces.networks.program.statements import Call, Program, Statement


def plan(genome: Mapping[str, Any]) -> Program:
    """Lay out the network of a valid genome (see `matloop.search_spaces.networks.layered.genome`).

    It takes x of shape (n, *input) and gives (n, outputs).
    """
    shape: Shape = tuple(genome["input"])
    layers, padding, readout = genome["layers"], genome.get("padding", ""), genome.get("readout", "")
    starts = {index + 1 - skip for index, layer in enumerate(layers) if (skip := layer.get("skip"))}
    parts: list[Part] = []
    statements: list[Statement] = []
    shapes = [shape]

    def append(block: Block) -> Shape:
        parts.extend(block.parts)
        statements.extend(block.statements)
        return block.shape

    for index, layer in enumerate(layers):
        if index in starts:
            statements.append(Call(f"x{index}", (), ("x",)))
        if layer["kind"] == "dense" and len(shape) > 1:
            shape = append(read_out_block(shape, readout))
        source = shapes[index + 1 - layer["skip"]] if layer.get("skip") else ()
        shape = append(layer_block(tuple(layer.items()), index, shape, source, padding))
        shapes.append(shape)
    if len(shape) > 1:
        shape = append(read_out_block(shape, readout))
    append(output_block(shape, genome["outputs"], genome["dropout"]))
    return Program("x", tuple(parts), tuple(statements))
