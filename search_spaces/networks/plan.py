"""From genome to layers and wiring, without torch: the one description that module, source and costs are made from.

A plan lists torch modules (`parts`) and what `forward` does with them (`steps`). `module.build` runs it,
`source.to_source` prints it, so the two cannot differ. Parameters and multiply-adds are counted as it is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Part:
    """One module of the network.

    Attributes:
        name: attribute that holds it.
        kind: class in `torch.nn`.
        options: the class's arguments; those with empty keys are positional, in order.
        layer: index of the layer it belongs to; -1 for the output layer and what leads to it.
        parameters: number of trainable values.
        multiply_adds: for one image.
    """

    name: str
    kind: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    layer: int = -1
    parameters: int = 0
    multiply_adds: int = 0


@dataclass(frozen=True, slots=True)
class Apply:
    """x = last(... first(x))."""

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Keep:
    """Remember x under a name."""

    name: str


@dataclass(frozen=True, slots=True)
class Add:
    """x = x + last(... first(kept)); parts may be empty."""

    name: str
    parts: tuple[str, ...]


Step = Apply | Keep | Add


@dataclass(frozen=True, slots=True)
class Plan:
    """A network, ready to build, print or cost.

    Attributes:
        input: (channels, height, width).
        outputs: length of the output vector.
        parts: in the order they are first used.
        steps: the forward pass, from x of shape (n, *input) to x of shape (n, outputs).
        shapes: shape after each convolution and pooling layer; a dense layer has (width, 1, 1).
        receptive_field: of one last feature, in input pixels along the longer axis, at most the image.
        downsampling: input pixels per last feature along the longer axis.
    """

    input: Shape
    outputs: int
    parts: tuple[Part, ...]
    steps: tuple[Step, ...]
    shapes: tuple[Shape, ...]
    receptive_field: int
    downsampling: float

    @property
    def parameters(self) -> int:
        """Number of trainable values."""
        return sum(part.parameters for part in self.parts)

    @property
    def multiply_adds(self) -> int:
        """Multiplications of the convolutions and linear layers, for one image."""
        return sum(part.multiply_adds for part in self.parts)


def plan(genome: Mapping[str, Any]) -> Plan:
    """Lay out the network of a valid genome (see `search_spaces.networks.genome`)."""
    channels, height, width = genome["input"]
    return _Planner((channels, height, width), genome["padding"]).lay_out(genome)


def clip(size: int, shape: Shape) -> tuple[int, int]:
    """Extent (vertical, horizontal) of a pooling window, no larger than the image along either axis."""
    return min(size, shape[1]), min(size, shape[2])


def clip_odd(size: int, shape: Shape) -> tuple[int, int]:
    """Extent (vertical, horizontal) of an odd kernel, no larger than the image and still odd along either axis."""
    vertical, horizontal = clip(size, shape)
    return vertical - (vertical + 1) % 2, horizontal - (horizontal + 1) % 2


_ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "elu": "ELU"}
_CHANNELS_PER_GROUP = 4  # divides every width; a group of one value (1x1 maps) would be normalised to nothing


class _Planner:
    """Follows a shape through the layers and writes down what each needs."""

    def __init__(self, shape: Shape, padding: str) -> None:
        self.shape, self.padding = shape, padding
        self.parts: list[Part] = []
        self.steps: list[Step] = []
        self.shapes: list[Shape] = []
        self.layer = 0
        self.field, self.jump = 1.0, 1.0

    def lay_out(self, genome: Mapping[str, Any]) -> Plan:
        layers, inputs = genome["layers"], self.shape
        sources = {i - layer["skip"] + 1 for i, layer in enumerate(layers) if layer.get("skip")}
        features = [layer for layer in layers if layer["kind"] != "dense"]
        before = [inputs]
        if 0 in sources:
            self.steps.append(Keep("x0"))
        for self.layer, layer in enumerate(features):
            if layer["kind"] == "conv":
                self._convolve(layer, before)
            else:
                self._pool(layer)
            before.append(self.shape)
            if self.layer + 1 in sources:
                self.steps.append(Keep(f"x{self.layer + 1}"))
        self._read_out(genome["readout"])
        for self.layer, layer in enumerate(layers[len(features) :], start=len(features)):
            number = self.layer + 1
            chain = [
                self._linear(f"dense{number}", layer["width"]),
                self._activate(layer),
                *self._drop(layer, "Dropout"),
            ]
            self.steps.append(Apply(tuple(chain)))
            before.append(self.shape)
        self.layer = -1
        chain = [self._add("dropout", "Dropout", genome["dropout"])] if genome["dropout"] else []
        self.steps.append(Apply((*chain, self._linear("output", genome["outputs"]))))
        extent = max(inputs[1:])
        return Plan(
            input=inputs,
            outputs=genome["outputs"],
            parts=tuple(self.parts),
            steps=tuple(self.steps),
            shapes=tuple(before[1:]),
            receptive_field=min(int(self.field), extent),
            downsampling=min(self.jump, float(extent)),
        )

    def _add(self, name: str, kind: str, *arguments: Any, parameters: int = 0, work: int = 0, **options: Any) -> str:
        self.parts.append(Part(name, kind, arguments, options, self.layer, parameters, work))
        return name

    def _convolve(self, layer: Mapping[str, Any], before: list[Shape]) -> None:
        number, width, stride = self.layer + 1, layer["width"], layer["stride"]
        kernel = clip_odd(layer["kernel"], self.shape)
        bias = layer["normalisation"] == "none"  # a normalisation would cancel it
        options: dict[str, Any] = {"stride": stride} if stride > 1 else {}
        if max(kernel) > 1:
            options["padding"] = _square(kernel[0] // 2, kernel[1] // 2)
            if self.padding != "zeros":
                options["padding_mode"] = self.padding
        chain = [self._conv(f"conv{number}", width, kernel, stride, bias, options)]
        if layer["normalisation"] == "batch":
            chain.append(self._add(f"norm{number}", "BatchNorm2d", width, parameters=2 * width))
        elif layer["normalisation"] == "group":
            groups = width // _CHANNELS_PER_GROUP
            chain.append(self._add(f"norm{number}", "GroupNorm", groups, width, parameters=2 * width))
        if layer["skip"]:
            self.steps.append(Apply(tuple(chain)))
            chain = []
            self._skip(number, number - layer["skip"], before)
        chain += [self._activate(layer), *self._drop(layer, "Dropout2d")]
        self.steps.append(Apply(tuple(chain)))
        self._widen_field(layer["kernel"], stride)

    def _conv(
        self, name: str, width: int, kernel: tuple[int, int], stride: int, bias: bool, options: dict[str, Any]
    ) -> str:
        channels, area = self.shape[0], kernel[0] * kernel[1]
        # An odd kernel k with padding k // 2 gives ceil(extent / stride).
        self.shape = (width, -(-self.shape[1] // stride), -(-self.shape[2] // stride))
        return self._add(
            name,
            "Conv2d",
            channels,
            width,
            _square(*kernel),
            parameters=width * channels * area + width * bias,
            work=channels * area * math.prod(self.shape),
            **options,
            **({} if bias else {"bias": False}),
        )

    def _skip(self, number: int, source: int, before: list[Shape]) -> None:
        channels, *extent = before[source]
        chain = []
        if tuple(extent) != self.shape[1:]:
            chain.append(self._add(f"resize{number}", "AdaptiveAvgPool2d", self.shape[1:]))
        if channels != self.shape[0]:
            weights = channels * self.shape[0]
            work = weights * math.prod(self.shape[1:])
            arguments = (channels, self.shape[0], 1)
            chain.append(self._add(f"project{number}", "Conv2d", *arguments, parameters=weights, work=work, bias=False))
        self.steps.append(Add(f"x{source}", tuple(chain)))

    def _pool(self, layer: Mapping[str, Any]) -> None:
        size = clip(layer["size"], self.shape)
        kind = "MaxPool2d" if layer["mode"] == "max" else "AvgPool2d"
        self.steps.append(Apply((self._add(f"pool{self.layer + 1}", kind, _square(*size)),)))
        self.shape = (self.shape[0], self.shape[1] // size[0], self.shape[2] // size[1])
        self._widen_field(layer["size"], layer["size"])

    def _read_out(self, readout: str) -> None:
        self.layer = -1
        chain = []
        if readout != "flatten":
            kind = "AdaptiveAvgPool2d" if readout == "avg" else "AdaptiveMaxPool2d"
            chain.append(self._add("readout", kind, 1))
            self.shape = (self.shape[0], 1, 1)
        chain.append(self._add("flatten", "Flatten"))
        self.steps.append(Apply(tuple(chain)))

    def _linear(self, name: str, width: int) -> str:
        inputs = math.prod(self.shape)
        self.shape = (width, 1, 1)
        return self._add(name, "Linear", inputs, width, parameters=(inputs + 1) * width, work=inputs * width)

    def _activate(self, layer: Mapping[str, Any]) -> str:
        return self._add(f"activation{self.layer + 1}", _ACTIVATIONS[layer["activation"]])

    def _drop(self, layer: Mapping[str, Any], kind: str) -> list[str]:
        return [self._add(f"dropout{self.layer + 1}", kind, layer["dropout"])] if layer["dropout"] else []

    def _widen_field(self, size: int, stride: int) -> None:
        self.field += (size - 1) * self.jump
        self.jump *= stride


def _square(vertical: int, horizontal: int) -> int | tuple[int, int]:
    return vertical if vertical == horizontal else (vertical, horizontal)
