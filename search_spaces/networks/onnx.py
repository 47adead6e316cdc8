"""A trained network as an ONNX model, written from its plan: any runtime can load it, and nothing needs torch.

Dropouts are left out. Batch size is free. Layers keep their names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.orchestrator.errors import MissingExtra
from matloop.search_spaces.networks.families import serve
from matloop.search_spaces.networks.plan import Add, Keep, Part, Plan, Shape, plan

try:
    import onnx
    from onnx import helper, numpy_helper
except ImportError as error:
    raise MissingExtra("onnx") from error

FAMILIES: Mapping[str, str] = {"segmentation": "matloop.search_spaces.networks.segmentation.onnx:to_onnx"}
"""What writes the networks of other families, by the genome's key `family`: genome, weights and scales to a model."""

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
        MatloopError: a network of another family.
    """
    model: bytes = serve(genome, _convert, FAMILIES)(genome, weights, scales or {})
    return model


def _convert(genome: Mapping[str, Any], weights: Mapping[str, Any], scales: Mapping[str, Any]) -> bytes:
    layout = plan(genome)
    writer = Writer(layout, {name: np.asarray(value) for name, value in weights.items()})
    graph = writer.write(scales)
    units = "own units" if scales else "standardised"
    model = helper.make_model(
        graph,
        producer_name="matloop",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        doc_string=f"x: (n, {', '.join(map(str, layout.input))}) to y: (n, {layout.outputs}), float32, {units}.",
    )
    helper.set_model_props(model, {"genome": json.dumps(genome)})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class Writer:
    """Writes nodes and constants while it follows a plan; `self.x` is the name of the value so far."""

    def __init__(self, layout: Plan, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        self.layout, self.weights = layout, weights
        self.parts = {part.name: part for part in layout.parts}
        self.nodes: list[Any] = []
        self.constants: dict[str, npt.NDArray[Any]] = {}
        self.x = "x"

    def write(self, scales: Mapping[str, Any]) -> Any:
        """The whole graph, with the scales of inputs and outputs around the network."""
        layout, kept = self.layout, {}
        states = {f"x{i}": shape for i, shape in enumerate((layout.input, *layout.shapes))}
        if "x_mean" in scales:
            channels = (layout.input[0], *[1] * (len(layout.input) - 1))
            self.x = self._node("Sub", "centred", self._constant("x_mean", scales["x_mean"], channels))
            self.x = self._node("Div", "scaled", self._constant("x_std", scales["x_std"], channels))
        for step in layout.steps:
            match step:
                case Keep(name):
                    kept[name] = self.x
                case Add(name, parts):
                    main, self.x = self.x, kept[name]
                    for part in parts:
                        self._part(self.parts[part], states[name])
                    self.x = self._node("Add", f"{main}_and_{name}", main)
                case _:
                    for part in step.parts:
                        self._part(self.parts[part], ())
        if "y_mean" in scales:
            self.x = self._node("Mul", "unscaled", self._constant("y_std", scales["y_std"], (layout.outputs,)))
            self.x = self._node("Add", "shifted", self._constant("y_mean", scales["y_mean"], (layout.outputs,)))
        self.nodes[-1].output[0] = "y"
        return helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", *layout.input])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", layout.outputs])],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )

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

    def _part(self, part: Part, shape: Shape) -> None:
        """Write one module; `shape` is that of a kept value that is being resized."""
        name, kind = part.name, part.kind
        axes = int(kind[-2]) if kind.endswith("d") and kind[-2].isdigit() else 0
        match kind.removesuffix(f"{axes}d"):
            case "Dropout":
                return
            case "Conv":
                self._convolution(part, axes)
            case "Linear":
                self.x = self._node("Gemm", name, *self._weights(name, "weight", "bias"), transB=1)
            case "BatchNorm":
                weights = self._weights(name, "weight", "bias", "running_mean", "running_var")
                self.x = self._node("BatchNormalization", name, *weights, epsilon=_EPSILON)
            case "GroupNorm":
                weights = self._weights(name, "weight", "bias")
                groups = part.arguments[0]
                self.x = self._node("GroupNormalization", name, *weights, num_groups=groups, epsilon=_EPSILON)
            case "MaxPool" | "AvgPool":
                size = _each(part.arguments[0], axes)
                operator = "MaxPool" if kind.startswith("Max") else "AveragePool"
                self.x = self._node(operator, name, kernel_shape=size, strides=size)
            case "AdaptiveMaxPool":
                self.x = self._node("GlobalMaxPool", name)
            case "AdaptiveAvgPool" if name == "readout":
                self.x = self._node("GlobalAveragePool", name)
            case "AdaptiveAvgPool":
                self._resize(name, shape[1:], _each(part.arguments[0], axes))
            case "Flatten":
                self.x = self._node("Flatten", name)
            case "SiLU":
                x, self.x = self.x, self._node("Sigmoid", f"{name}_sigmoid")
                self.x = self._node("Mul", name, x)
            case _:
                self.x = self._node(_ACTIVATIONS[kind], name)

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
