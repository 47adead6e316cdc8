"""The torch module and the source of a segmentation genome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.search_spaces.networks.runner import Runner
from matloop.search_spaces.networks.segmentation.plan import plan
from matloop.search_spaces.networks.statements import listing


def build(genome: Mapping[str, Any]) -> Runner:
    """The network of a valid genome: (n, channels, height, width) float32 to (n, outputs, height, width) logits."""
    return Runner(plan(genome))


def to_source(genome: Mapping[str, Any]) -> str:
    """Python source of class `Network`, whose state dict is that of `build(genome)`."""
    channels, height, width = genome["input"]
    return listing(
        plan(genome),
        genome["training"],
        title="An encoder-decoder network for segmentation found by architecture search.",
        one=f"one image of {height} x {width}",
        signature=f"(n, {channels}, height, width) float32 to (n, {genome['outputs']}, height, width) logits.",
    )
