"""What each layer becomes: torch modules, statements of the forward pass, the shape that is left, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from matloop.search_spaces.networks.program.part import (
    ACTIVATIONS,
    NO_OPTIONS,
    Part,
    Shape,
    clip,
    clip_odd,
    even,
    per_group,
)
from matloop.search_spaces.networks.program.statements import Add, Call, Statement


class Block(NamedTuple):
    """What a layer adds to a plan, and the shape that it leaves."""

    parts: tuple[Part, ...]
    statements: tuple[Statement, ...]
    shape: Shape
    parameters: int = 0
    multiply_adds: int = 0


# A child shares most of its layers with its parents, so most blocks of a new plan are known.
@lru_cache(maxsize=2048)
def layer_block(genes: tuple[tuple[str, Any], ...], index: int, shape: Shape, source: Shape, padding: str) -> Block:
    """A layer that is given maps of a shape, and a skip connection from maps of shape `source`, if it has one."""
    return write_layer(dict(genes), index, shape, source, padding)


def write_layer(layer: Mapping[str, Any], index: int, shape: Shape, source: Shape, padding: str) -> Block:
    """As `layer_block`, worked out anew."""
    return _Writer(shape, index).layer(layer, source, padding)


@lru_cache(maxsize=256)
def read_out_block(shape: Shape, readout: str) -> Block:
    """Feature maps of a shape become a vector."""
    return _Writer(shape, -1).read_out(readout)


@lru_cache(maxsize=256)
def output_block(shape: Shape, outputs: int, dropout: float) -> Block:
    """The last layer, from a vector of a shape."""
    return _Writer(shape, -1).output(outputs, dropout)


class _Writer:
    """Writes down what one layer needs, and follows the shape through it."""

    def __init__(self, shape: Shape, index: int) -> None:
        self.shape, self.index = shape, index
        self.parts: list[Part] = []
        self.statements: list[Statement] = []

    def layer(self, layer: Mapping[str, Any], source: Shape, padding: str) -> Block:
        match layer["kind"]:
            case "conv":
                bias = layer["normalisation"] == "none"
                name = f"conv{self.index + 1}"
                self._finish(self._convolve(name, layer, padding, layer["stride"], bias), layer, source)
            case "pool":
                self._pool(layer)
            case "residual":
                self._residual(layer, padding)
            case _:
                bias = layer.get("normalisation", "none") == "none"
                self._finish(self._linear(f"dense{self.index + 1}", layer["width"], bias), layer, source)
        return self._block()

    def read_out(self, readout: str) -> Block:
        chain, features = [], math.prod(self.shape)
        if readout != "flatten":
            kind = self._per_axis("AdaptiveAvgPool" if readout == "avg" else "AdaptiveMaxPool")
            chain.append(self._add("readout", kind, (1,)))
            features = self.shape[0]
        chain.append(self._add("flatten", "Flatten"))
        self.shape = (features,)
        self.statements.append(_call(chain))
        return self._block()

    def output(self, outputs: int, dropout: float) -> Block:
        chain = [self._add("dropout", "Dropout", (dropout,))] if dropout else []
        self.statements.append(_call([*chain, self._linear("output", outputs)]))
        return self._block()

    def _block(self) -> Block:
        parameters = sum([part.parameters for part in self.parts])
        multiply_adds = sum([part.multiply_adds for part in self.parts])
        return Block(tuple(self.parts), tuple(self.statements), self.shape, parameters, multiply_adds)

    def _add(
        self,
        name: str,
        kind: str,
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] = NO_OPTIONS,
        parameters: int = 0,
        work: int = 0,
        given: Shape = (),
    ) -> str:
        self.parts.append(Part(name, kind, arguments, options, self.index + 1, parameters, work, given))
        return name

    def _per_axis(self, kind: str) -> str:
        """Torch's name for a module over maps of as many axes as there are now."""
        return f"{kind}{len(self.shape) - 1}d"

    def _convolve(self, name: str, layer: Mapping[str, Any], padding: str, stride: int, bias: bool) -> str:
        channels, width = self.shape[0], layer["width"]
        kernel = clip_odd(layer["kernel"], self.shape)
        options: dict[str, Any] = {"stride": stride} if stride > 1 else {}
        if max(kernel) > 1:
            options["padding"] = even([k // 2 for k in kernel])
            if padding != "zeros":
                options["padding_mode"] = padding
        if not bias:
            options["bias"] = False
        # An odd kernel k with padding k // 2 gives ceil(extent / stride).
        self.shape = (width, *[-(-extent // stride) for extent in self.shape[1:]])
        weights = channels * math.prod(kernel)
        return self._add(
            name,
            self._per_axis("Conv"),
            (channels, width, even(kernel)),
            options,
            parameters=width * (weights + bias),
            work=weights * math.prod(self.shape),
        )

    def _finish(self, first: str, layer: Mapping[str, Any], source: Shape) -> None:
        """Normalise, add the skip connection, activate and drop, as far as the layer asks for it."""
        number = self.index + 1
        chain = [first, *self._normalise(f"norm{number}", layer.get("normalisation", "none"))]
        if layer.get("skip"):
            self.statements.append(_call(chain))
            chain = []
            self._skip(number - layer["skip"], source)
        chain.append(self._add(f"activation{number}", ACTIVATIONS[layer["activation"]]))
        self.statements.append(_call([*chain, *self._drop(f"dropout{number}", layer["dropout"])]))

    def _residual(self, layer: Mapping[str, Any], padding: str) -> None:
        """To a width, then blocks that each add to what they are given, then what the last one lacks."""
        number = self.index + 1
        self.statements.append(_call([self._within(f"residual{number}", layer, padding, layer.get("stride", 1))]))
        for block in range(1, layer["blocks"] + 1):
            place = f"{number}_{block}"
            chain = self._normalise(f"norm{place}", layer["normalisation"])
            chain.append(self._within(f"first{place}", layer, padding))
            chain.append(self._add(f"activation{place}", ACTIVATIONS[layer["activation"]]))
            chain += self._drop(f"dropout{place}", layer["dropout"])
            chain.append(self._within(f"second{place}", layer, padding))
            self.statements.append(Add("x", "x", "x", tuple(chain)))
        chain = self._normalise(f"norm{number}", layer["normalisation"])
        self.statements.append(_call([*chain, self._add(f"activation{number}", ACTIVATIONS[layer["activation"]])]))

    def _within(self, name: str, layer: Mapping[str, Any], padding: str, stride: int = 1) -> str:
        """A linear map of a residual layer."""
        if len(self.shape) == 1:
            return self._linear(name, layer["width"])
        return self._convolve(name, layer, padding, stride, True)

    def _normalise(self, name: str, kind: str) -> list[str]:
        """Of each channel over the batch, or of groups of channels or of all of them in each example."""
        width, maps = self.shape[0], len(self.shape) > 1
        arguments: tuple[int, ...]
        match kind:
            case "batch":
                made, arguments = self._per_axis("BatchNorm") if maps else "BatchNorm1d", (width,)
            case "group":
                made, arguments = "GroupNorm", (width // per_group(width), width)
            case "layer":
                made, arguments = ("GroupNorm", (1, width)) if maps else ("LayerNorm", (width,))
            case _:
                return []
        return [self._add(name, made, arguments, parameters=2 * width)]

    def _drop(self, name: str, rate: float) -> list[str]:
        kind = self._per_axis("Dropout") if len(self.shape) > 1 else "Dropout"
        return [self._add(name, kind, (rate,))] if rate else []

    def _skip(self, start: int, source: Shape) -> None:
        channels, *extent = source
        number, width, chain = self.index + 1, self.shape[0], []
        if tuple(extent) != self.shape[1:]:
            size = self.shape[1:] if len(extent) > 1 else self.shape[1]
            chain.append(self._add(f"resize{number}", self._per_axis("AdaptiveAvgPool"), (size,), given=tuple(extent)))
        if channels != width:
            kind, size = (self._per_axis("Conv"), (1,)) if extent else ("Linear", ())
            work = channels * math.prod(self.shape)
            arguments = (channels, width, *size)
            options = {"bias": False}
            chain.append(self._add(f"project{number}", kind, arguments, options, channels * width, work))
        self.statements.append(Add("x", "x", f"x{start}", tuple(chain)))

    def _pool(self, layer: Mapping[str, Any]) -> None:
        size = clip(layer["size"], self.shape)
        kind = self._per_axis("MaxPool" if layer["mode"] == "max" else "AvgPool")
        self.statements.append(_call([self._add(f"pool{self.index + 1}", kind, (even(size),))]))
        self.shape = (self.shape[0], *[extent // step for extent, step in zip(self.shape[1:], size, strict=True)])

    def _linear(self, name: str, width: int, bias: bool = True) -> str:
        inputs = self.shape[0]
        self.shape = (width,)
        options = NO_OPTIONS if bias else {"bias": False}
        return self._add(name, "Linear", (inputs, width), options, (inputs + bias) * width, inputs * width)


def _call(chain: list[str]) -> Call:
    return Call("x", tuple(chain), ("x",))
