"""A trained segmentation network as an ONNX model, for images of any extents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from matloop.search_spaces.networks.onnx import IR_VERSION, OPSET, Writer
from matloop.search_spaces.networks.plan import Part, Shape
from matloop.search_spaces.networks.segmentation.plan import plan
from matloop.search_spaces.networks.statements import Add, Call, Concatenate, Crop, Program


def to_onnx(genome: Mapping[str, Any], weights: Mapping[str, Any], scales: Mapping[str, Any]) -> bytes:
    """The network of a genome as a serialised ONNX model with input `x` and output `y`, logits.

    Args:
        genome: of a segmentation network.
        weights: state dict of the network, as arrays or CPU tensors.
        scales: `x_mean`, `x_std` of each channel, if the network was trained on scaled images, else empty.
    """
    channels, outputs = genome["input"][0], genome["outputs"]
    writer = _ProgramWriter(plan(genome), {name: np.asarray(value) for name, value in weights.items()})
    writer.follow(scales, channels)
    extents = ["height", "width"]
    graph = helper.make_graph(
        writer.nodes,
        "network",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", channels, *extents])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", outputs, *extents])],
        [numpy_helper.from_array(value, name) for name, value in writer.constants.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="matloop",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        doc_string=f"x: (n, {channels}, height, width) to y: (n, {outputs}, height, width) logits, float32.",
    )
    helper.set_model_props(model, {"genome": json.dumps(genome)})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class _ProgramWriter(Writer):
    """Writes what a program does; `values` are the names that ONNX knows the program's values by."""

    def __init__(self, program: Program, weights: Mapping[str, Any]) -> None:
        super().__init__(program, weights)  # type: ignore[arg-type]
        self.program = program

    def follow(self, scales: Mapping[str, Any], channels: int) -> None:
        """Write every statement; the last value is called y."""
        if "x_mean" in scales:
            self.x = self._node("Sub", "centred", self._constant("x_mean", scales["x_mean"], (channels, 1, 1)))
            self.x = self._node("Div", "scaled", self._constant("x_std", scales["x_std"], (channels, 1, 1)))
        values = {self.program.argument: self.x}
        for number, statement in enumerate(self.program.statements):
            name = f"{statement.result}_{number}"  # type: ignore[union-attr]
            match statement:
                case Call(_, parts, (argument,)):
                    self.x = values[argument]
                    for part in parts:
                        self._part(self.parts[part], ())
                case Add(_, first, second):
                    self.x = values[first]
                    self._node_on("Add", name, values[second])
                case Concatenate(_, terms):
                    self.x = values[terms[0]]
                    self._node_on("Concat", name, *(values[term] for term in terms[1:]), axis=1)
                case Crop(cut, like):
                    self._crop(name, values[cut], values[like])
                case _:
                    raise AssertionError(f"a segmentation network has no {statement}")
            values[statement.result] = self.x
        self.nodes[-1].output[0] = "y"

    def _node_on(self, kind: str, name: str, *more: str, **attributes: Any) -> None:
        self.x = self._node(kind, name, *more, **attributes)

    def _crop(self, name: str, value: str, like: str) -> None:
        """The first rows and columns, as many as `like` has."""
        self.x = like
        extents = self._node("Shape", f"{name}_extents", start=2, end=4)
        self.x = value
        zeros = self._constant("zeros", [0, 0], dtype=np.int64)
        axes = self._constant("axes", [2, 3], dtype=np.int64)
        self._node_on("Slice", name, zeros, extents, axes)

    def _part(self, part: Part, shape: Shape) -> None:
        match part.kind:
            case "MaxPool2d" | "AvgPool2d":
                kind = "MaxPool" if part.kind.startswith("Max") else "AveragePool"
                self._node_on(kind, part.name, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
            case "ConvTranspose2d":
                weights = self._weights(part.name, "weight", "bias")
                self._node_on("ConvTranspose", part.name, *weights, kernel_shape=[2, 2], strides=[2, 2])
            case "Upsample":
                factor = part.options["scale_factor"]
                scales = self._constant(f"{part.name}_scales", [1, 1, factor, factor])
                nearest = part.options["mode"] == "nearest"
                how = {"mode": "nearest", "nearest_mode": "floor"} if nearest else {"mode": "linear"}
                transform = "asymmetric" if nearest else "half_pixel"
                self._node_on("Resize", part.name, "", scales, coordinate_transformation_mode=transform, **how)
            case _:
                super()._part(part, shape)
