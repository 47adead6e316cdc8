"""From genome to layers and wiring, without torch: the one description that module, source and costs are made from.

A plan lists torch modules (`parts`) and what `forward` does with them (`steps`). `module.build` runs it,
`source.to_source` prints it, so the two cannot differ. Parameters and multiply-adds are counted as it is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

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


@lru_cache(maxsize=256)
def _plan(shape: Shape, outputs: int, padding: str, readout: str, dropout: float, layers: tuple[Any, ...]) -> Plan:
    return _Planner(shape, padding, readout).lay_out([dict(layer) for layer in layers], outputs, dropout)


def clip(size: int, shape: Shape) -> tuple[int, ...]:
    """Extent of a pooling window, no larger than the maps along any axis."""
    return tuple([min(size, extent) for extent in shape[1:]])


def clip_odd(size: int, shape: Shape) -> tuple[int, ...]:
    """Extent of an odd kernel, no larger than the maps and still odd along any axis."""
    return tuple([min(size, extent - (extent + 1) % 2) for extent in shape[1:]])


_ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "elu": "ELU"}
_CHANNELS_PER_GROUP = 4  # divides every width; a group of one value (1x1 maps) would be normalised to nothing


class _Planner:
    """Follows a shape through the layers and writes down what each needs."""

    def __init__(self, shape: Shape, padding: str, readout: str) -> None:
        self.input, self.shape, self.padding, self.readout = shape, shape, padding, readout
        self.parts: list[Part] = []
        self.steps: list[Step] = []
        self.shapes = [shape]  # before each layer, and after the last
        self.layer = 0
        self.field, self.jump = 1.0, 1.0

    def lay_out(self, layers: Sequence[Mapping[str, Any]], outputs: int, dropout: float) -> Plan:
        sources = {i - layer["skip"] + 1 for i, layer in enumerate(layers) if layer.get("skip")}
        for index, layer in enumerate(layers):
            if index in sources:
                self.steps.append(Keep(f"x{index}"))
            if layer["kind"] == "dense" and len(self.shape) > 1:
                self._read_out()
            self.layer = index
            match layer["kind"]:
                case "conv":
                    self._convolve(layer)
                case "pool":
                    self._pool(layer)
                case _:
                    bias = layer.get("normalisation", "none") == "none"
                    self._finish([self._linear(f"dense{index + 1}", layer["width"], bias)], layer)
            self.shapes.append(self.shape)
        if len(self.shape) > 1:
            self._read_out()
        self.layer = -1
        chain = [self._add("dropout", "Dropout", (dropout,))] if dropout else []
        self.steps.append(Apply((*chain, self._linear("output", outputs))))
        extent = max(self.input[1:], default=1)
        return Plan(
            input=self.input,
            outputs=outputs,
            parts=tuple(self.parts),
            steps=tuple(self.steps),
            shapes=tuple(self.shapes[1:]),
            receptive_field=min(int(self.field), extent),
            downsampling=min(self.jump, float(extent)),
            parameters=sum([part.parameters for part in self.parts]),
            multiply_adds=sum([part.multiply_adds for part in self.parts]),
        )

    def _add(
        self,
        name: str,
        kind: str,
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] = _NO_OPTIONS,
        parameters: int = 0,
        work: int = 0,
    ) -> str:
        self.parts.append(Part(name, kind, arguments, options, self.layer, parameters, work))
        return name

    def _per_axis(self, kind: str) -> str:
        """Torch's name for a module over maps of as many axes as there are now."""
        return f"{kind}{len(self.shape) - 1}d"

    def _convolve(self, layer: Mapping[str, Any]) -> None:
        channels, width, stride = self.shape[0], layer["width"], layer["stride"]
        kernel = clip_odd(layer["kernel"], self.shape)
        bias = layer["normalisation"] == "none"
        options: dict[str, Any] = {"stride": stride} if stride > 1 else {}
        if max(kernel) > 1:
            options["padding"] = _even([k // 2 for k in kernel])
            if self.padding != "zeros":
                options["padding_mode"] = self.padding
        if not bias:
            options["bias"] = False
        # An odd kernel k with padding k // 2 gives ceil(extent / stride).
        self.shape = (width, *[-(-extent // stride) for extent in self.shape[1:]])
        weights = channels * math.prod(kernel)
        name = self._add(
            f"conv{self.layer + 1}",
            self._per_axis("Conv"),
            (channels, width, _even(kernel)),
            options,
            parameters=width * (weights + bias),
            work=weights * math.prod(self.shape),
        )
        self._finish([name], layer)
        self.field += (layer["kernel"] - 1) * self.jump
        self.jump *= stride

    def _finish(self, chain: list[str], layer: Mapping[str, Any]) -> None:
        """Normalise, add the skip connection, activate and drop, as far as the layer asks for it."""
        number, width = self.layer + 1, layer["width"]
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
            self._skip(number - layer["skip"])
        chain.append(self._add(f"activation{number}", _ACTIVATIONS[layer["activation"]]))
        if layer["dropout"]:
            kind = self._per_axis("Dropout") if len(self.shape) > 1 else "Dropout"
            chain.append(self._add(f"dropout{number}", kind, (layer["dropout"],)))
        self.steps.append(Apply(tuple(chain)))

    def _skip(self, source: int) -> None:
        channels, *extent = self.shapes[source]
        number, width, chain = self.layer + 1, self.shape[0], []
        if tuple(extent) != self.shape[1:]:
            size = self.shape[1:] if len(extent) > 1 else self.shape[1]
            chain.append(self._add(f"resize{number}", self._per_axis("AdaptiveAvgPool"), (size,)))
        if channels != width:
            kind, size = (self._per_axis("Conv"), (1,)) if extent else ("Linear", ())
            work = channels * math.prod(self.shape)
            arguments = (channels, width, *size)
            options = {"bias": False}
            chain.append(self._add(f"project{number}", kind, arguments, options, channels * width, work))
        self.steps.append(Add(f"x{source}", tuple(chain)))

    def _pool(self, layer: Mapping[str, Any]) -> None:
        size = clip(layer["size"], self.shape)
        kind = self._per_axis("MaxPool" if layer["mode"] == "max" else "AvgPool")
        self.steps.append(Apply((self._add(f"pool{self.layer + 1}", kind, (_even(size),)),)))
        self.shape = (self.shape[0], *[extent // step for extent, step in zip(self.shape[1:], size, strict=True)])
        self.field += (layer["size"] - 1) * self.jump
        self.jump *= layer["size"]

    def _read_out(self) -> None:
        self.layer = -1
        chain = []
        features = math.prod(self.shape)
        if self.readout != "flatten":
            kind = self._per_axis("AdaptiveAvgPool" if self.readout == "avg" else "AdaptiveMaxPool")
            chain.append(self._add("readout", kind, (1,)))
            features = self.shape[0]
        chain.append(self._add("flatten", "Flatten"))
        self.shape = (features,)
        self.steps.append(Apply(tuple(chain)))

    def _linear(self, name: str, width: int, bias: bool = True) -> str:
        inputs = self.shape[0]
        self.shape = (width,)
        options = _NO_OPTIONS if bias else {"bias": False}
        return self._add(name, "Linear", (inputs, width), options, (inputs + bias) * width, inputs * width)


def _even(sizes: Sequence[int]) -> int | tuple[int, ...]:
    """One number if all are the same, as torch takes it."""
    return sizes[0] if min(sizes) == max(sizes) else tuple(sizes)
