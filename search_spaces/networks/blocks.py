"""What each layer becomes: torch modules, steps of the forward pass, the shape that is left, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

Shape = tuple[int, ...]
"""(channels, *extent) of feature maps with one to three axes, (features,) of a vector."""

_NO_OPTIONS: Mapping[str, Any] = {}


class Part(NamedTuple):
    """One module of the network.

    Attributes:
        name: attribute that holds it.
        kind: class in `torch.nn`.
        arguments: its positional arguments.
        options: its keyword arguments.
        layer: index of the layer it belongs to; -1 for the output layer and what leads to it.
        parameters: number of trainable values.
        multiply_adds: for one input.
    """

    name: str
    kind: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = _NO_OPTIONS
    layer: int = -1
    parameters: int = 0
    multiply_adds: int = 0


class Apply(NamedTuple):
    """x = last(... first(x))."""

    parts: tuple[str, ...]


class Keep(NamedTuple):
    """Remember x under a name."""

    name: str


class Add(NamedTuple):
    """x = x + last(... first(kept)); parts may be empty."""

    name: str
    parts: tuple[str, ...]


Step = Apply | Keep | Add


def clip(size: int, shape: Shape) -> tuple[int, ...]:
    """Extent of a pooling window, no larger than the maps along any axis."""
    return tuple([min(size, extent) for extent in shape[1:]])


def clip_odd(size: int, shape: Shape) -> tuple[int, ...]:
    """Extent of an odd kernel, no larger than the maps and still odd along any axis."""
    return tuple([min(size, extent - (extent + 1) % 2) for extent in shape[1:]])


_ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "elu": "ELU"}
_CHANNELS_PER_GROUP = 4  # divides every width; a group of one value (1x1 maps) would be normalised to nothing


class Block(NamedTuple):
    """What a layer adds to a plan, and the shape that it leaves."""

    parts: tuple[Part, ...]
    steps: tuple[Step, ...]
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
        self.steps: list[Step] = []

    def layer(self, layer: Mapping[str, Any], source: Shape, padding: str) -> Block:
        match layer["kind"]:
            case "conv":
                self._finish(self._convolve(layer, padding), layer, source)
            case "pool":
                self._pool(layer)
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
        self.steps.append(Apply(tuple(chain)))
        return self._block()

    def output(self, outputs: int, dropout: float) -> Block:
        chain = [self._add("dropout", "Dropout", (dropout,))] if dropout else []
        self.steps.append(Apply((*chain, self._linear("output", outputs))))
        return self._block()

    def _block(self) -> Block:
        parameters = sum([part.parameters for part in self.parts])
        multiply_adds = sum([part.multiply_adds for part in self.parts])
        return Block(tuple(self.parts), tuple(self.steps), self.shape, parameters, multiply_adds)

    def _add(
        self,
        name: str,
        kind: str,
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] = _NO_OPTIONS,
        parameters: int = 0,
        work: int = 0,
    ) -> str:
        self.parts.append(Part(name, kind, arguments, options, self.index, parameters, work))
        return name

    def _per_axis(self, kind: str) -> str:
        """Torch's name for a module over maps of as many axes as there are now."""
        return f"{kind}{len(self.shape) - 1}d"

    def _convolve(self, layer: Mapping[str, Any], padding: str) -> str:
        channels, width, stride = self.shape[0], layer["width"], layer["stride"]
        kernel = clip_odd(layer["kernel"], self.shape)
        bias = layer["normalisation"] == "none"
        options: dict[str, Any] = {"stride": stride} if stride > 1 else {}
        if max(kernel) > 1:
            options["padding"] = _even([k // 2 for k in kernel])
            if padding != "zeros":
                options["padding_mode"] = padding
        if not bias:
            options["bias"] = False
        # An odd kernel k with padding k // 2 gives ceil(extent / stride).
        self.shape = (width, *[-(-extent // stride) for extent in self.shape[1:]])
        weights = channels * math.prod(kernel)
        return self._add(
            f"conv{self.index + 1}",
            self._per_axis("Conv"),
            (channels, width, _even(kernel)),
            options,
            parameters=width * (weights + bias),
            work=weights * math.prod(self.shape),
        )

    def _finish(self, first: str, layer: Mapping[str, Any], source: Shape) -> None:
        """Normalise, add the skip connection, activate and drop, as far as the layer asks for it."""
        number, width, chain = self.index + 1, layer["width"], [first]
        match layer.get("normalisation"):
            case "batch":
                kind = self._per_axis("BatchNorm") if len(self.shape) > 1 else "BatchNorm1d"
                chain.append(self._add(f"norm{number}", kind, (width,), parameters=2 * width))
            case "group":
                arguments = (width // _CHANNELS_PER_GROUP, width)
                chain.append(self._add(f"norm{number}", "GroupNorm", arguments, parameters=2 * width))
        if layer.get("skip"):
            self.steps.append(Apply(tuple(chain)))
            chain = []
            self._skip(number - layer["skip"], source)
        chain.append(self._add(f"activation{number}", _ACTIVATIONS[layer["activation"]]))
        if layer["dropout"]:
            kind = self._per_axis("Dropout") if len(self.shape) > 1 else "Dropout"
            chain.append(self._add(f"dropout{number}", kind, (layer["dropout"],)))
        self.steps.append(Apply(tuple(chain)))

    def _skip(self, start: int, source: Shape) -> None:
        channels, *extent = source
        number, width, chain = self.index + 1, self.shape[0], []
        if tuple(extent) != self.shape[1:]:
            size = self.shape[1:] if len(extent) > 1 else self.shape[1]
            chain.append(self._add(f"resize{number}", self._per_axis("AdaptiveAvgPool"), (size,)))
        if channels != width:
            kind, size = (self._per_axis("Conv"), (1,)) if extent else ("Linear", ())
            work = channels * math.prod(self.shape)
            arguments = (channels, width, *size)
            options = {"bias": False}
            chain.append(self._add(f"project{number}", kind, arguments, options, channels * width, work))
        self.steps.append(Add(f"x{start}", tuple(chain)))

    def _pool(self, layer: Mapping[str, Any]) -> None:
        size = clip(layer["size"], self.shape)
        kind = self._per_axis("MaxPool" if layer["mode"] == "max" else "AvgPool")
        self.steps.append(Apply((self._add(f"pool{self.index + 1}", kind, (_even(size),)),)))
        self.shape = (self.shape[0], *[extent // step for extent, step in zip(self.shape[1:], size, strict=True)])

    def _linear(self, name: str, width: int, bias: bool = True) -> str:
        inputs = self.shape[0]
        self.shape = (width,)
        options = _NO_OPTIONS if bias else {"bias": False}
        return self._add(name, "Linear", (inputs, width), options, (inputs + bias) * width, inputs * width)


def _even(sizes: Sequence[int]) -> int | tuple[int, ...]:
    """One number if all are the same, as torch takes it."""
    return sizes[0] if min(sizes) == max(sizes) else tuple(sizes)
