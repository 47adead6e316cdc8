"""From a segmentation genome to its modules and forward pass, without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from matloop.search_spaces.networks.program.part import ACTIVATIONS, Part, Shape, clip_odd, even, per_group
from matloop.search_spaces.networks.program.statements import Add, Call, Concatenate, Crop, Program, Statement

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""Torch's name of linear interpolation by the number of axes."""


def plan(genome: Mapping[str, Any]) -> Program:
    """Lay out the network of a valid genome (see `matloop.search_spaces.networks.segmentation.genome`).

    It takes (n, channels, *places) and gives (n, outputs, *places), for signals, images and volumes of other extents
    than the genome's too: halves are rounded up on the way down, and what is too large on the way up is cut.
    """
    return _Planner(tuple(genome["input"]), genome).lay_out()


class _Planner:
    """Follows a shape down and up again, and writes down what each place needs. Level 0 is the stem."""

    def __init__(self, shape: Shape, genome: Mapping[str, Any]) -> None:
        self.shape, self.genome, self.axes = shape, genome, len(shape) - 1
        self.blocks = [genome["stem"], *genome["levels"]]
        self.parts: list[Part] = []
        self.statements: list[Statement] = []
        self.block = 0  # what the parts are made for, as `Grammar.places` numbers it

    def lay_out(self) -> Program:
        shapes, last = [], len(self.blocks) - 1
        for level in range(last + 1):
            self.block = level + 1
            if level:
                self._down(level)
            self._convolve(level, "encoder")
            shapes.append(self.shape)
            if level < last:
                self.statements.append(Call(f"x{level}", (), ("x",)))
        for level in reversed(range(last)):
            if level + 1 <= self.genome["hypercolumns"]:
                self.statements.append(Call(f"h{level + 1}", (), ("x",)))
            self.block = level + 2
            self._up(level, shapes[level])
            self.block = level + 1
            self._convolve(level, "decoder")
        self.block = 0
        self._read_out()
        return Program("x", tuple(self.parts), tuple(self.statements))

    def _add(self, name: str, kind: str, *arguments: Any, parameters: int = 0, work: int = 0, **options: Any) -> str:
        self.parts.append(Part(name, kind, arguments, options, self.block, parameters, work))
        return name

    def _per_axis(self, kind: str) -> str:
        """Torch's name for a module over maps of as many axes."""
        return f"{kind}{self.axes}d"

    def _upsample(self, name: str, factor: int, mode: str) -> str:
        torch_mode = _LINEAR[self.axes] if mode == "bilinear" else mode
        options = {"scale_factor": factor, "mode": torch_mode}
        self.parts.append(Part(name, "Upsample", (), options, self.block, given=self.shape[1:]))
        return name

    def _call(self, *parts: str) -> None:
        self.statements.append(Call("x", parts, ("x",)))

    def _down(self, level: int) -> None:
        """Halve all extents, rounding up."""
        channels, *extents = self.shape
        mode, halved = self.blocks[level]["downsampling"], (channels, *(-(-extent // 2) for extent in extents))
        if mode == "stride":
            self._call(self._conv(f"down{level}", channels, 3, bias=True, stride=2))
        else:
            kind = self._per_axis("MaxPool" if mode == "max" else "AvgPool")
            self._call(self._add(f"down{level}", kind, 2, ceil_mode=True))
        self.shape = halved

    def _up(self, level: int, target: Shape) -> None:
        """Go back from the level below to `level`, whose encoder gave `target`, and join with what it gave."""
        below, chain = self.blocks[level + 1], []
        if below["upsampling"] == "transposed":
            chain.append(self._transpose(level + 1, target[0]))
        else:
            if below["skip"] == "add" and self.shape[0] != target[0]:
                chain.append(self._conv(f"project{level + 1}", target[0], 1, bias=False))
            chain.append(self._upsample(f"up{level + 1}", 2, below["upsampling"]))
        self._call(*chain)
        self.statements.append(Crop("x", f"x{level}", self.axes))
        channels = self.shape[0]
        if below["skip"] == "concatenate":
            self.statements.append(Concatenate("x", ("x", f"x{level}")))
            channels += target[0]
        elif below["skip"] == "add":
            self.statements.append(Add("x", "x", f"x{level}"))
        self.shape = (channels, *target[1:])

    def _convolve(self, level: int, side: str) -> None:
        """A block's convolutions, each with normalisation and activation, and its dropout."""
        block = self.blocks[level]
        width, plain = block["width"], block["normalisation"] == "none"
        for number in range(1, block["convolutions"] + 1):
            name = f"{side}{level}_{{}}{number}"
            chain = [self._conv(name.format("conv"), width, block["kernel"], bias=plain)]  # a norm would cancel it
            if block["normalisation"] == "batch":
                chain.append(self._add(name.format("norm"), self._per_axis("BatchNorm"), width, parameters=2 * width))
            elif block["normalisation"] == "group":
                groups = width // per_group(width)
                chain.append(self._add(name.format("norm"), "GroupNorm", groups, width, parameters=2 * width))
            elif block["normalisation"] == "layer":
                chain.append(self._add(name.format("norm"), "GroupNorm", 1, width, parameters=2 * width))
            chain.append(self._add(name.format("activation"), ACTIVATIONS[block["activation"]]))
            if number == block["convolutions"] and block["dropout"]:
                chain.append(self._add(f"{side}{level}_dropout", self._per_axis("Dropout"), block["dropout"]))
            self._call(*chain)

    def _conv(self, name: str, width: int, size: int, *, bias: bool, stride: int = 1) -> str:
        """A convolution whose maps have the extents of what it is given over the stride, rounded up."""
        channels, *extents = self.shape
        kernel = clip_odd(size, self.shape)
        options: dict[str, Any] = {"stride": stride} if stride > 1 else {}
        if max(kernel) > 1:
            options["padding"] = even([size // 2 for size in kernel])
            if self.genome["padding"] != "zeros":
                options["padding_mode"] = self.genome["padding"]
        self.shape = (width, *(-(-extent // stride) for extent in extents))
        weights = channels * math.prod(kernel) * width
        return self._add(
            name,
            self._per_axis("Conv"),
            channels,
            width,
            even(kernel),
            parameters=weights + width * bias,
            work=weights * math.prod(self.shape[1:]),
            **options,
            **({} if bias else {"bias": False}),
        )

    def _transpose(self, level: int, width: int) -> str:
        """Every place becomes two along each axis, before they are cut."""
        channels, *extents = self.shape
        self.shape = (width, *(2 * extent for extent in extents))
        weights = 2**self.axes * channels * width
        return self._add(
            f"up{level}",
            self._per_axis("ConvTranspose"),
            channels,
            width,
            2,
            parameters=weights + width,
            work=weights * math.prod(extents),
            stride=2,
        )

    def _read_out(self) -> None:
        channels, columns = self.shape[0], range(1, self.genome["hypercolumns"] + 1)
        for level in columns:
            name = self._upsample(f"column{level}", 2**level, "bilinear")
            self.statements += [Call(f"h{level}", (name,), (f"h{level}",)), Crop(f"h{level}", "x", self.axes)]
            channels += self.blocks[level]["width"]
        if columns:
            self.statements.append(Concatenate("x", ("x", *(f"h{level}" for level in columns))))
        self.shape = (channels, *self.shape[1:])
        chain = (
            [self._add("dropout", self._per_axis("Dropout"), self.genome["dropout"])] if self.genome["dropout"] else []
        )
        self._call(*chain, self._conv("output", self.genome["outputs"], 1, bias=True))
