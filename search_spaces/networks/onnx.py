"""A trained network as an ONNX model, written from its program: any runtime can load it, and nothing needs torch.

Dropouts are left out. Batch size is free. Layers keep their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import MatloopError, MissingExtra
from matloop.search_spaces.networks.families import FAMILIES, Ports, family
from matloop.search_spaces.networks.program.part import Part
from matloop.search_spaces.networks.program.scaling import Scaled, scaled
from matloop.search_spaces.networks.program.statements import (
    Add,
    Call,
    Concatenate,
    Crop,
    Program,
    Restore,
    Standardise,
)

try:
    import onnx
    from onnx import helper, numpy_helper
except ImportError as error:
    raise MissingExtra("onnx") from error

OPSET = 21  # the first with group normalisation as torch has it
IR_VERSION = 10  # of the same release
_EPSILON = 1e-5  # torch's, in every normalisation
_ACTIVATIONS = {"ReLU": "Relu", "GELU": "Gelu", "ELU": "Elu"}


def to_onnx(genome: Mapping[str, Any], weights: Mapping[str, Any], scales: Mapping[str, Any] | None = None) -> bytes:
    """The network of a genome as a serialised ONNX model with input `x` and output `y`.

    Args:
        genome: of a network of any family but graphs.
        weights: state dict of the network, as arrays or CPU tensors.
        scales: `x_mean`, `x_std` of each channel and `y_mean`, `y_std` of each output, as far as the network was
            trained on scaled data; the model then takes and gives values in their own units.

    Raises:
        MatloopError: a network of a family that cannot be one.
    """
    makes = family(genome)
    if makes.ports is None:
        able = sorted(name for name in FAMILIES if name and family({"family": name}).ports)
        raise MatloopError(
            f"expected a network whose family is one of {able} or none for an ONNX model, got {genome['family']!r}; "
            "use its torch source"
        )
    scales = scales or {}
    found = scaled(genome, scales)
    ports, writer = makes.ports(genome, bool(scales)), Writer(found.program, {**weights, **_shaped(found)})
    model = helper.make_model(
        writer.write(ports),
        producer_name="matloop",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        doc_string=f"x: ({_shape(ports.x)}) to y: ({_shape(ports.y)}), float32, {ports.units}.",
    )
    helper.set_model_props(model, {"genome": json.dumps(genome)})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _shaped(found: Scaled) -> dict[str, npt.NDArray[np.float32]]:
    """Values of the buffers."""
    return {b.name: np.asarray(found.values[b.name], np.float32).reshape(b.shape) for b in found.program.buffers}


def _shape(extents: Iterable[int | str]) -> str:
    return ", ".join(map(str, ("n", *extents)))


class Writer:
    """Writes nodes and constants while it follows a program; `self.x` is ONNX's name of the value at hand."""

    def __init__(self, program: Program, weights: Mapping[str, Any]) -> None:
        self.program = program
        self.weights = {name: np.asarray(value) for name, value in weights.items()}
        self.parts = {part.name: part for part in program.parts}
        self.nodes: list[Any] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}
        self.x = "x"

    def write(self, ports: Ports) -> Any:
        """The whole graph."""
        self._follow()
        self.nodes[-1].output[0] = "y"
        return helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", *ports.x])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", *ports.y])],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )

    def _follow(self) -> None:
        """Write every statement; `values` are the names that ONNX knows the program's values by."""
        values = {self.program.argument: self.x}
        for number, statement in enumerate(self.program.statements):
            match statement:
                case Call(result, parts, (argument,)):
                    self._chain(parts, values[argument])
                case Add(result, first, second, parts):
                    self._chain(parts, values[second])
                    self.x = self._node("Add", f"{result}_{number}_sum", values[first])
                case Concatenate(result, terms):
                    self.x = values[terms[0]]
                    rest = [values[term] for term in terms[1:]]
                    self.x = self._node("Concat", f"{result}_{number}_joined", *rest, axis=1)
                case Crop(result, like, axes):
                    self._crop(f"{result}_{number}_cut", values[result], values[like], axes)
                case Standardise(result, argument, mean, std, limit):
                    self.x = values[argument]
                    self.x = self._node("Sub", f"{result}_centred", self._constant(mean, self.weights[mean]))
                    self.x = self._node("Div", f"{result}_scaled", self._constant(std, self.weights[std]))
                    if limit is not None:
                        bounds = [self._constant(f"{mean}_{side}", side * limit) for side in (-1, 1)]
                        self.x = self._node("Clip", f"{result}_limited", *bounds)
                case Restore(result, argument, mean, std):
                    self.x = values[argument]
                    self.x = self._node("Mul", f"{result}_unscaled", self._constant(std, self.weights[std]))
                    self.x = self._node("Add", f"{result}_shifted", self._constant(mean, self.weights[mean]))
                case _:
                    raise MatloopError(f"expected statements that ONNX has, got {statement}")
            values[result] = self.x

    def _chain(self, parts: Iterable[str], x: str) -> None:
        self.x = x
        for part in parts:
            self._part(self.parts[part])

    def _crop(self, name: str, value: str, like: str, axes: int) -> None:
        """The first places along each axis, as many as `like` has."""
        self.x = like
        extents = self._node("Shape", f"{name}_extents", start=2, end=2 + axes)
        self.x = value
        zeros = self._constant("zeros", [0] * axes, dtype=np.int64)
        along = self._constant("axes", [*range(2, 2 + axes)], dtype=np.int64)
        self.x = self._node("Slice", name, zeros, extents, along)

    def _node(self, kind: str, name: str, *more: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, [self.x, *more], [name], name, **attributes))
        return name

    def _constant(self, name: str, value: Any, shape: tuple[int, ...] | None = None, dtype: Any = np.float32) -> str:
        array = np.asarray(value, dtype)
        self.constants[name] = array if shape is None else array.reshape(shape)
        return name

    def _weights(self, part: str, *suffixes: str) -> list[str]:
        names = [f"{part}.{suffix}" for suffix in suffixes]
        return [self._constant(name, self.weights[name]) for name in names if name in self.weights]

    def _part(self, part: Part) -> None:
        """Write one module."""
        name, kind = part.name, part.kind
        axes = int(kind[-2]) if kind.endswith("d") and kind[-2].isdigit() else 0
        match kind.removesuffix(f"{axes}d"):
            case "Dropout":
                return
            case "Conv":
                self._convolution(part, axes)
            case "ConvTranspose":
                size, strides = _each(part.arguments[2], axes), _each(part.options["stride"], axes)
                weights = self._weights(name, "weight", "bias")
                self.x = self._node("ConvTranspose", name, *weights, kernel_shape=size, strides=strides)
            case "Linear":
                self.x = self._node("Gemm", name, *self._weights(name, "weight", "bias"), transB=1)
            case "BatchNorm":
                weights = self._weights(name, "weight", "bias", "running_mean", "running_var")
                self.x = self._node("BatchNormalization", name, *weights, epsilon=_EPSILON)
            case "GroupNorm":
                weights = self._weights(name, "weight", "bias")
                groups = part.arguments[0]
                self.x = self._node("GroupNormalization", name, *weights, num_groups=groups, epsilon=_EPSILON)
            case "LayerNorm":
                weights = self._weights(name, "weight", "bias")
                self.x = self._node("LayerNormalization", name, *weights, axis=-1, epsilon=_EPSILON)
            case "MaxPool" | "AvgPool" | "AdaptiveMaxPool" | "AdaptiveAvgPool":
                self._pool(part, axes)
            case "Upsample":
                self._upsample(part)
            case "Flatten":
                self.x = self._node("Flatten", name)
            case "SiLU":
                x, self.x = self.x, self._node("Sigmoid", f"{name}_sigmoid")
                self.x = self._node("Mul", name, x)
            case _:
                self.x = self._node(_ACTIVATIONS[kind], name)

    def _pool(self, part: Part, axes: int) -> None:
        """Windows of a size, or as many windows as asked for."""
        size, most = _each(part.arguments[0], axes), "Max" in part.kind
        if not part.kind.startswith("Adaptive"):
            ceil = int(part.options.get("ceil_mode", False))
            operator = "MaxPool" if most else "AveragePool"
            self.x = self._node(operator, part.name, kernel_shape=size, strides=size, ceil_mode=ceil)
        elif most or set(size) == {1}:
            self.x = self._node("GlobalMaxPool" if most else "GlobalAveragePool", part.name)
        else:
            self._resize(part.name, part.given, size)

    def _upsample(self, part: Part) -> None:
        factor = part.options["scale_factor"]
        scales = self._constant(f"{part.name}_scales", [1, 1, *[factor] * len(part.given)])
        nearest = part.options["mode"] == "nearest"
        how = {"mode": "nearest", "nearest_mode": "floor"} if nearest else {"mode": "linear"}
        transform = "asymmetric" if nearest else "half_pixel"
        self.x = self._node("Resize", part.name, "", scales, coordinate_transformation_mode=transform, **how)

    def _convolution(self, part: Part, axes: int) -> None:
        kernel = _each(part.arguments[2], axes)
        padding = _each(part.options.get("padding", 0), axes)
        if "padding_mode" in part.options:
            pads = self._constant(f"{part.name}_pads", [0, 0, *padding, 0, 0, *padding], dtype=np.int64)
            self.x = self._node("Pad", f"{part.name}_wrapped", pads, mode="wrap")
            padding = [0] * axes
        self.x = self._node(
            "Conv",
            part.name,
            *self._weights(part.name, "weight", "bias"),
            kernel_shape=kernel,
            strides=_each(part.options.get("stride", 1), axes),
            pads=[*padding, *padding],
        )

    def _resize(self, name: str, old: tuple[int, ...], new: list[int]) -> None:
        """Average over windows that may overlap, which is a matrix for each axis."""
        matrices = [
            self._constant(f"{name}_axis{axis}", _averages(*sizes))
            for axis, sizes in enumerate(zip(old, new, strict=True))
        ]
        before, after = "dhw"[-len(old) :], "zyx"[-len(old) :]
        terms = ",".join([f"nc{before}", *(f"{a}{b}" for a, b in zip(after, before, strict=True))])
        self.x = self._node("Einsum", name, *matrices, equation=f"{terms}->nc{after}")


def _each(value: int | tuple[int, ...], axes: int) -> list[int]:
    """A number for every axis."""
    return [value] * axes if isinstance(value, int) else list(value)


def _averages(old: int, new: int) -> npt.NDArray[np.float32]:
    """(new, old) float32: row i averages the old positions from floor(i old / new) to ceil((i + 1) old / new)."""
    matrix = np.zeros((new, old), np.float32)
    for i in range(new):
        first, end = i * old // new, -(-(i + 1) * old // new)
        matrix[i, first:end] = 1 / (end - first)
    return matrix
