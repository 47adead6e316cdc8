"""What a network costs and which shapes it goes through, without its description: what breeding asks of every child.

The figures are those of the blocks that a plan is made of. They do not depend on most genes of a layer, nor on its
place, so almost every layer of a new child is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from matloop.search_spaces.networks.layered.blocks import output_block, read_out_block, write_layer
from matloop.search_spaces.networks.program.costs import Cost, Costs
from matloop.search_spaces.networks.program.part import Shape


def costs(genome: Mapping[str, Any]) -> Costs:
    """Add up a genome whose genes fit their places; the first block is the output layer, then come the layers."""
    shape: Shape = tuple(genome["input"])
    shapes, layers = [shape], []
    for layer in genome["layers"]:
        skip = layer.get("skip")
        source = shapes[-skip] if skip else ()
        match layer["kind"]:
            case "conv":
                plain = layer["normalisation"] == "none"
                cost = _conv(shape, source, layer["width"], layer["kernel"], layer["stride"], plain)
            case "pool":
                cost = _pool(shape, layer["size"])
            case "residual":
                sizes = layer["width"], layer.get("kernel", 0), layer.get("stride", 1), layer["blocks"]
                cost = _residual(shape, sizes, layer["normalisation"] == "none")
            case _:
                shape = vector(shape, genome)
                cost = _dense(shape, source, layer["width"], layer.get("normalisation", "none") == "none")
        shape = cost.shape
        shapes.append(shape)
        layers.append(cost)
    output = _output(vector(shape, genome), genome["outputs"])
    return Costs(
        parameters=output.parameters + sum([cost.parameters for cost in layers]),
        multiply_adds=output.multiply_adds + sum([cost.multiply_adds for cost in layers]),
        blocks=(output, *layers),
    )


def shapes_of(genome: Mapping[str, Any], found: Costs | None = None) -> list[Shape]:
    """Shapes of the input and of what comes out of each layer; `found` are the genome's costs, if they are known."""
    return [tuple(genome["input"]), *(cost.shape for cost in (found or costs(genome)).blocks[1:])]


def vector(shape: Shape, genome: Mapping[str, Any]) -> Shape:
    """What is read out of feature maps."""
    return shape if len(shape) == 1 else read_out_block(shape, genome["readout"]).shape


def field(genome: Mapping[str, Any]) -> tuple[int, float]:
    """What one last feature sees of the input along its longest axis: receptive field and downsampling, in pixels.

    Both are at most the input's extent, and 1 for a vector.
    """
    extent, seen, jump = max(genome["input"][1:], default=1), 1.0, 1.0
    for layer in genome["layers"]:
        further = layer.get("kernel", layer.get("size", 1)) - 1
        seen += further * jump
        jump *= layer.get("stride", layer.get("size", 1))
        seen += 2 * layer.get("blocks", 0) * further * jump
    return min(int(seen), extent), min(jump, float(extent))


@lru_cache(maxsize=8192)
def _conv(shape: Shape, source: Shape, width: int, kernel: int, stride: int, plain: bool) -> Cost:
    return _cost({"kind": "conv", "kernel": kernel, "stride": stride, **_finish(width, plain, source)}, shape, source)


@lru_cache(maxsize=2048)
def _residual(shape: Shape, sizes: tuple[int, int, int, int], plain: bool) -> Cost:
    width, kernel, stride, blocks = sizes
    layer = {"kind": "residual", "kernel": kernel, "stride": stride, "blocks": blocks}
    return _cost({**layer, **_finish(width, plain, ())}, shape, ())


@lru_cache(maxsize=512)
def _pool(shape: Shape, size: int) -> Cost:
    return _cost({"kind": "pool", "mode": "max", "size": size}, shape, ())


@lru_cache(maxsize=2048)
def _dense(shape: Shape, source: Shape, width: int, plain: bool) -> Cost:
    return _cost({"kind": "dense", **_finish(width, plain, source)}, shape, source)


@lru_cache(maxsize=512)
def _output(shape: Shape, outputs: int) -> Cost:
    block = output_block(shape, outputs, 0.0)
    return Cost(block.parameters, block.multiply_adds, (outputs,))


def _finish(width: int, plain: bool, source: Shape) -> dict[str, Any]:
    """Genes on which the cost depends, and any values for those on which it does not."""
    normalisation = "none" if plain else "batch"
    return {
        "width": width,
        "normalisation": normalisation,
        "activation": "relu",
        "dropout": 0.0,
        "skip": 1 if source else 0,
    }


def _cost(layer: Mapping[str, Any], shape: Shape, source: Shape) -> Cost:
    block = write_layer(layer, 0, shape, source, "zeros")
    return Cost(block.parameters, block.multiply_adds, block.shape)
