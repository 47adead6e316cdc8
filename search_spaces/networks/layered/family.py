"""What convolutional and dense networks are made into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.search_spaces.networks.families import Caption, Family, Ports
from matloop.search_spaces.networks.layered.plan import plan


def _caption(genome: Mapping[str, Any]) -> Caption:
    kind = "convolutional" if len(genome["input"]) > 1 else "dense"
    shape = ", ".join(map(str, genome["input"]))
    return Caption(
        title=f"A {kind} network found by architecture search.",
        one="one input",
        signature=f"(n, {shape}) float32 to (n, {genome['outputs']}) float32.",
    )


def _ports(genome: Mapping[str, Any], scaled: bool) -> Ports:
    return Ports(genome["input"], [genome["outputs"]], "own units" if scaled else "standardised")


FAMILY = Family(plan, _caption, _ports, "matloop.search_spaces.networks.layered.inheritance:Heir")
