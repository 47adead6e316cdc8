"""From genome to layers and wiring, without torch: the one description that module, source and costs are made from.

A plan lists torch modules (`parts`) and what `forward` does with them (`steps`). `module.build` runs it,
`source.to_source` prints it, so the two cannot differ. Parameters and multiply-adds are counted as it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from matloop.search_spaces.networks.blocks import (
    Add,
    Apply,
    Block,
    Keep,
    Part,
    Shape,
    Step,
    clip_odd,
    layer_block,
    output_block,
    read_out_block,
)

__all__ = ["Add", "Apply", "Keep", "Layout", "Part", "Plan", "Shape", "Step", "clip_odd", "plan"]


class Layout(Protocol):
    """What is known of a network of any family without building it."""

    @property
    def parameters(self) -> int:
        """Number of trainable values."""
        ...

    @property
    def multiply_adds(self) -> int:
        """Multiplications for one input."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """A network, ready to build, print or cost.

    Attributes:
        input: (channels, *extent), or (features,).
        outputs: length of the output vector.
        parts: in the order they are first used.
        steps: the forward pass, from x of shape (n, *input) to x of shape (n, outputs).
        shapes: shape after each layer.
        receptive_field: of one last feature, in input pixels along the longest axis, at most the input; 1 for a vector.
        downsampling: input pixels per last feature along the longest axis.
        parameters: number of trainable values.
        multiply_adds: multiplications of the convolutions and linear layers, for one input.
    """

    input: Shape
    outputs: int
    parts: tuple[Part, ...]
    steps: tuple[Step, ...]
    shapes: tuple[Shape, ...]
    receptive_field: int
    downsampling: float
    parameters: int
    multiply_adds: int


def plan(genome: Mapping[str, Any]) -> Plan:
    """Lay out the network of a valid genome (see `search_spaces.networks.genome`); recent plans are remembered."""
    layers = tuple([tuple(layer.items()) for layer in genome["layers"]])
    settings = genome.get("padding", ""), genome.get("readout", ""), genome["dropout"]
    return _plan(tuple(genome["input"]), genome["outputs"], *settings, layers)


@lru_cache(maxsize=1024)  # more than are proposed in one turn of the loop
def _plan(shape: Shape, outputs: int, padding: str, readout: str, dropout: float, layers: tuple[Any, ...]) -> Plan:
    genes: list[dict[str, Any]] = [dict(items) for items in layers]
    starts = [index + 1 - skip if (skip := layer.get("skip")) else -1 for index, layer in enumerate(genes)]
    blocks, shapes, field, jump = [Block((), (), shape)], [shape], 1.0, 1.0
    for index, layer in enumerate(genes):
        if index in starts:
            blocks.append(Block((), (Keep(f"x{index}"),), blocks[-1].shape))
        if layer["kind"] == "dense" and len(blocks[-1].shape) > 1:
            blocks.append(read_out_block(blocks[-1].shape, readout))
        source = shapes[starts[index]] if layer.get("skip") else ()
        blocks.append(layer_block(layers[index], index, blocks[-1].shape, source, padding))
        shapes.append(blocks[-1].shape)
        field += (layer.get("kernel", layer.get("size", 1)) - 1) * jump
        jump *= float(layer.get("stride", layer.get("size", 1)))
    if len(blocks[-1].shape) > 1:
        blocks.append(read_out_block(blocks[-1].shape, readout))
    blocks.append(output_block(blocks[-1].shape, outputs, dropout))
    extent = max(shape[1:], default=1)
    return Plan(
        input=shape,
        outputs=outputs,
        parts=tuple([part for block in blocks for part in block.parts]),
        steps=tuple([step for block in blocks for step in block.steps]),
        shapes=tuple(shapes[1:]),
        receptive_field=min(int(field), extent),
        downsampling=min(jump, float(extent)),
        parameters=sum([block.parameters for block in blocks]),
        multiply_adds=sum([block.multiply_adds for block in blocks]),
    )
