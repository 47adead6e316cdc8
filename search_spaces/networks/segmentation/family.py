"""What segmentation networks are made into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.search_spaces.networks.families import Caption, Family, Ports
from matloop.search_spaces.networks.segmentation.plan import plan


def _caption(genome: Mapping[str, Any]) -> Caption:
    channels, height, width = genome["input"]
    return Caption(
        title="An encoder-decoder network for segmentation found by architecture search.",
        one=f"one image of {height} x {width}",
        signature=f"(n, {channels}, height, width) float32 to (n, {genome['outputs']}, height, width) logits.",
    )


def _ports(genome: Mapping[str, Any], scaled: bool) -> Ports:
    extents = ["height", "width"]
    return Ports([genome["input"][0], *extents], [genome["outputs"], *extents], "logits")


FAMILY = Family(plan, _caption, _ports, places=True)
