"""What encoder-decoder networks are made into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.search_spaces.networks.families import Caption, Family, Ports
from matloop.search_spaces.networks.segmentation.plan import plan

_EXTENTS = ("depth", "height", "width")


def _caption(genome: Mapping[str, Any]) -> Caption:
    channels, *extents = genome["input"]
    places = ", ".join(_names(genome))
    one = " x ".join(map(str, extents))
    return Caption(
        title="An encoder-decoder network with an output at every place, found by architecture search.",
        one=f"one input of {one}",
        signature=f"(n, {channels}, {places}) float32 to (n, {genome['outputs']}, {places}).",
    )


def _ports(genome: Mapping[str, Any], scaled: bool) -> Ports:
    return Ports([genome["input"][0], *_names(genome)], [genome["outputs"], *_names(genome)], "logits or numbers")


def _names(genome: Mapping[str, Any]) -> list[str]:
    """Of the extents, which are free."""
    axes = len(genome["input"]) - 1
    return ["length"] if axes == 1 else [*_EXTENTS[-axes:]]


FAMILY = Family(plan, _caption, _ports, places=True)
