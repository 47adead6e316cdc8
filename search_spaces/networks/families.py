"""The families of networks: what each makes of a genome, found by the genome's key `family` and imported when used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matloop.orchestrator.errors import InvalidPoint
from matloop.search_spaces.networks.program.statements import Program

FAMILIES: Mapping[str | None, str] = {
    None: "matloop.search_spaces.networks.layered.family",
    "graph": "matloop.search_spaces.networks.graph.family",
    "segmentation": "matloop.search_spaces.networks.segmentation.family",
}
"""Modules with a constant `FAMILY`; genomes without the key are of convolutional and dense networks."""


@dataclass(frozen=True, slots=True)
class Caption:
    """What an exported source says of its network.

    Attributes:
        title: first sentence.
        one: what the multiply-adds are counted for, e.g. "one image".
        signature: shapes of input and output.
        argument: type of the forward pass's argument.
    """

    title: str
    one: str
    signature: str
    argument: str = "torch.Tensor"


@dataclass(frozen=True, slots=True)
class Ports:
    """Input and output of an ONNX model.

    Attributes:
        x: extents of the input beside the number of examples; a name where they are free.
        y: likewise of the output.
        units: of both, for people.
    """

    x: Sequence[int | str]
    y: Sequence[int | str]
    units: str


@dataclass(frozen=True, slots=True)
class Fed:
    """A value of the forward pass that raw numbers are fed into, with a scale for each channel.

    Attributes:
        value: its name in the program.
        channels: length of its second axis.
        places: axes after that.
        prefix: of the names that the scales have as buffers.
    """

    value: str
    channels: int
    places: int = 0
    prefix: str = "x"


@dataclass(frozen=True, slots=True)
class Family:
    """What a family makes of its genomes.

    Attributes:
        plan: modules and forward pass.
        caption: for the source.
        ports: for the ONNX model, given the genome and whether it scales its input; None if a network cannot be one.
        heritage: "module:class" of what fills a child's weights from its parent's, as
            `matloop.search_spaces.networks.inheritance.Heritage`; None to go by the names of tensors.
        fed: what raw inputs are fed into, given the genome; None for the program's argument with the channels and
            places of the genome's `input`.
        places: whether a network gives its outputs for each place of the input.
    """

    plan: Callable[[Mapping[str, Any]], Program]
    caption: Callable[[Mapping[str, Any]], Caption]
    ports: Callable[[Mapping[str, Any], bool], Ports] | None = None
    heritage: str | None = None
    fed: Callable[[Mapping[str, Any]], tuple[Fed, ...]] | None = None
    places: bool = False


def family(genome: Mapping[str, Any]) -> Family:
    """The family of a genome.

    Raises:
        InvalidPoint: no such family.
    """
    name = genome.get("family")
    if name not in FAMILIES:
        known = sorted(known for known in FAMILIES if known)
        raise InvalidPoint(f"expected family to be one of {known} or none, got {name!r}")
    found: Family = importlib.import_module(FAMILIES[name]).FAMILY
    return found
