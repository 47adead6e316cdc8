"""Makes any genome written in the right words fit its input shape and its budget, changing as little as it can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matloop.search_spaces.networks.costs import Costs, costs
from matloop.search_spaces.networks.genome import (
    DENSE_WIDTHS,
    KERNELS,
    POOL_SIZES,
    SKIPS,
    WIDTHS,
    Choices,
    Genome,
    duplicate,
)
from matloop.search_spaces.networks.plan import Layout

DEFAULT_DROPOUT = 0.1
PLACED = ("kernel", "size", "stride", "skip")
"""Genes whose values must suit the place of their layer."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a network may cost.

    Attributes:
        layers: number of entries in `layers`.
        parameters: trainable values.
        multiply_adds: for one input.
    """

    layers: int
    parameters: int
    multiply_adds: int

    def excess(self, layout: Layout) -> str | None:
        """The cost that exceeds the budget, if any: "parameters" or "multiply_adds"."""
        for cost in ("parameters", "multiply_adds"):
            if getattr(layout, cost) > getattr(self, cost):
                return cost
        return None


def repair(genome: Mapping[str, Any], budget: Budget) -> Genome:
    """Return a valid copy.

    Dense layers go last and surplus ones go; kernels, windows and skips shrink to what the maps allow; a dropout is
    added if there is none; then the costliest layer is made smaller until the network is within budget.
    """
    repaired = duplicate(genome)
    layers = sorted(repaired["layers"], key=lambda layer: layer["kind"] == "dense")
    repaired["layers"] = layers[: budget.layers]
    _fit_shapes(repaired)
    while cost := budget.excess(found := costs(repaired)):
        _shrink(repaired, found, cost)
        _fit_shapes(repaired)
    if not has_dropout(repaired):
        repaired["dropout"] = DEFAULT_DROPOUT
    return repaired


def has_dropout(genome: Mapping[str, Any]) -> bool:
    """Whether any dropout is on, so that the network can say how sure it is."""
    return bool(genome["dropout"]) or any(layer.get("dropout") for layer in genome["layers"])


def largest(choices: Choices, limit: float) -> Any:
    """The largest choice within the limit, None if there is none; choices ascend."""
    return max((c for c in choices if c <= limit), default=None)


def allowed(gene: str, value: Any, position: int, extent: int) -> bool:
    """Whether a gene's value suits the place of its layer.

    Args:
        gene: name of the gene.
        value: one of its choices.
        position: number of layers before this one.
        extent: longest axis of the maps that the layer is given.
    """
    match gene:
        case "kernel" | "size":
            return int(value) <= extent
        case "stride":
            return extent > 1 or int(value) == 1
        case "skip":
            return int(value) <= position + 1
        case _:
            return True


def _fit_shapes(genome: Genome) -> None:
    """Bring every layer's genes within what `allowed` asks; drop pooling of a single pixel."""
    extent = max(genome["input"][1:], default=1)
    kept: list[Genome] = []
    for layer in genome["layers"]:
        if layer["kind"] == "conv":
            if layer["kernel"] > extent:
                layer["kernel"] = largest(KERNELS, extent)
            layer["stride"] = layer["stride"] if extent > 1 else 1
            extent = -(-extent // layer["stride"])
        elif layer["kind"] == "pool":
            if extent < POOL_SIZES[0]:
                continue
            if layer["size"] > extent:
                layer["size"] = largest(POOL_SIZES, extent)
            extent //= layer["size"]
        if layer.get("skip", 0) > (limit := min(len(kept) + 1, SKIPS[-1])):
            layer["skip"] = limit
        kept.append(layer)
    genome["layers"] = kept


def _shrink(genome: Genome, found: Costs, cost: str) -> None:
    """Take one step down at the layer that costs most.

    Every step lowers a gene, removes a layer or leaves "flatten", so a repair ends.
    """
    layers = genome["layers"]
    shares = [getattr(part, cost) for part in (found.output, *found.layers)]
    worst = shares.index(max(shares)) - 1
    first_vector = next((i for i, layer in enumerate(layers) if layer["kind"] == "dense"), -1)
    if worst == first_vector and genome.get("readout") == "flatten":
        genome["readout"] = "avg"
        return
    if worst == -1:  # the output layer costs what the last width makes it cost
        worst = next(i for i in reversed(range(len(layers))) if layers[i]["kind"] != "pool")
    layer = layers[worst]
    if layer["width"] > min(widths := WIDTHS if layer["kind"] == "conv" else DENSE_WIDTHS):
        layer["width"] = largest(widths, layer["width"] - 1)
    elif cost == "multiply_adds" and layer.get("stride") == 1 and max(found.layers[worst].shape[1:]) > 1:
        layer["stride"] = 2
    elif layer.get("kernel", 1) > 1:
        layer["kernel"] = largest(KERNELS, layer["kernel"] - 1)
    elif layer.get("skip"):
        layer["skip"] = 0
    else:
        del layers[worst]
