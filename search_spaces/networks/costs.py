"""What a network costs and which shapes it goes through, without its description: what breeding asks of every child.

The figures are those of the blocks that a plan is made of. They do not depend on most genes of a layer, nor on its
place, so almost every layer of a new child is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from matloop.search_spaces.networks.blocks import Shape, output_block, read_out_block, write_layer


class Cost(NamedTuple):
    """Of one layer: what is trained, multiplications for one input, and the shape that is left."""

    parameters: int
    multiply_adds: int
    shape: Shape


class Costs(NamedTuple):
    """Of a network; a `Layout`.

    Attributes:
        parameters: number of trainable values.
        multiply_adds: multiplications for one input.
        layers: of each layer.
        output: of the output layer.
    """

    parameters: int
    multiply_adds: int
    layers: tuple[Cost, ...]
    output: Cost


def costs(genome: Mapping[str, Any]) -> Costs:
    """Add up a valid genome (see `matloop.search_spaces.networks.genome`)."""
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
            case _:
                shape = _vector(shape, genome)
                cost = _dense(shape, source, layer["width"], layer.get("normalisation", "none") == "none")
        shape = cost.shape
        shapes.append(shape)
        layers.append(cost)
    output = _output(_vector(shape, genome), genome["outputs"])
    return Costs(
        parameters=output.parameters + sum([cost.parameters for cost in layers]),
        multiply_adds=output.multiply_adds + sum([cost.multiply_adds for cost in layers]),
        layers=tuple(layers),
        output=output,
    )


def _vector(shape: Shape, genome: Mapping[str, Any]) -> Shape:
    """What is read out of feature maps."""
    return shape if len(shape) == 1 else read_out_block(shape, genome["readout"]).shape


@lru_cache(maxsize=8192)
def _conv(shape: Shape, source: Shape, width: int, kernel: int, stride: int, plain: bool) -> Cost:
    return _cost({"kind": "conv", "kernel": kernel, "stride": stride, **_finish(width, plain, source)}, shape, source)


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
