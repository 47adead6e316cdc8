"""What fits where in a list of layers, and what makes a layer cheaper."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from matloop.search_spaces.networks.grammar.gene import Genome, choice
from matloop.search_spaces.networks.grammar.grammar import Grammar, Place
from matloop.search_spaces.networks.grammar.rules import Rules, lower
from matloop.search_spaces.networks.layered.correspondence import compare
from matloop.search_spaces.networks.layered.costs import costs, field, shapes_of, vector
from matloop.search_spaces.networks.layered.genome import SHRINK
from matloop.search_spaces.networks.layered.morphism import morph
from matloop.search_spaces.networks.layered.plan import plan
from matloop.search_spaces.networks.program.costs import Costs


class LayeredRules(Rules):
    """Of convolutional and of dense networks."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar, plan=plan, shrink=SHRINK)
        self.kinds = grammar.series["layers"].kinds
        self.has_maps = "conv" in self.kinds
        pool = self.kinds.get("pool")
        self._smallest_window = choice(pool, "size").choices[0] if pool else 0

    def costs(self, genome: Genome) -> Costs:
        """As the plan's, and much sooner."""
        return costs(genome)

    def confine(self, genome: Genome) -> None:
        """Shrink kernels and windows to the maps, and skips to the layers before; drop pooling of too small maps."""
        extent = max(genome["input"][1:], default=1)
        kept: list[Genome] = []
        for layer in genome["layers"]:
            kind = layer["kind"]
            if "kernel" in layer:
                if layer["kernel"] > extent:
                    layer["kernel"] = choice(self.kinds[kind], "kernel").within(extent)
                if extent == 1:
                    layer["stride"] = choice(self.kinds[kind], "stride").choices[0]
                extent = -(-extent // layer["stride"])
            elif kind == "pool":
                if extent < self._smallest_window:
                    continue
                if layer["size"] > extent:
                    layer["size"] = choice(self.kinds[kind], "size").within(extent)
                extent //= layer["size"]
            if layer.get("skip", 0) > len(kept) + 1:
                layer["skip"] = choice(self.kinds[kind], "skip").within(len(kept) + 1)
            kept.append(layer)
        genome["layers"] = kept

    def decisive(self, genome: Genome, number: int) -> int:
        """The output layer costs what the readout or the last width makes it cost."""
        layers = genome["layers"]
        if number or (self._may_average(genome) and not any(layer["kind"] == "dense" for layer in layers)):
            return number
        return next((i + 1 for i in reversed(range(len(layers))) if layers[i]["kind"] != "pool"), 0)

    def cheapen(self, genome: Genome, place: Place, cost: str, found: Costs) -> bool:
        """Average maps that are flattened, else a narrower layer, a stride, a smaller kernel, fewer blocks, no skip."""
        layers, index = genome["layers"], place.position
        reads = index < 0 or (place.block["kind"] == "dense" and (not index or layers[index - 1]["kind"] != "dense"))
        if reads and self._may_average(genome):
            genome["readout"] = choice(self.grammar.settings, "readout").choices[0]
            return True
        if index < 0:
            return False
        if lower(place, "width"):
            return True
        if cost == "multiply_adds" and "stride" in place.table and max(found.blocks[index + 1].shape[1:]) > 1:
            stride = choice(place.table, "stride").higher(place.block["stride"])
            if stride is not None:
                place.block["stride"] = stride
                return True
        if lower(place, "kernel") or lower(place, "blocks"):
            return True
        nothing = choice(place.table, "skip").choices[0] if "skip" in place.table else None
        if nothing == 0 and place.block["skip"]:
            place.block["skip"] = 0
            return True
        return False

    def smallest(self, genome: Genome) -> None:
        """Also average maps that may be."""
        super().smallest(genome)
        if self._may_average(genome):
            genome["readout"] = choice(self.grammar.settings, "readout").choices[0]

    def _may_average(self, genome: Genome) -> bool:
        """Whether maps are flattened and another choice would make a shorter vector of them."""
        if genome.get("readout") != "flatten":
            return False
        return len(choice(self.grammar.settings, "readout").choices) > 1

    @property
    def summary_columns(self) -> list[str]:
        """Meaning of what `summary` gives."""
        columns = ["share of layers with a skip"]
        if self.has_maps:
            columns += ["share of layers convolutions", "log2 downsampling / 8", "receptive field / image"]
            columns.append("log2 features read out / 16")
        return columns

    def summary(self, genome: Mapping[str, Any], found: Costs) -> list[float]:
        """What the layers make of a signal."""
        layers = genome["layers"]
        n = max(len(layers), 1)
        summary = [len([layer for layer in layers if layer.get("skip")]) / n]
        if self.has_maps:
            seen, downsampling = field(genome)
            maps = next(shape for shape in reversed(shapes_of(genome, found)) if len(shape) > 1)
            summary += [
                len([layer for layer in layers if "kernel" in layer]) / n,
                math.log2(downsampling) / 8,
                seen / max(genome["input"][1:]),
                math.log2(vector(maps, genome)[0]) / 16,
            ]
        return summary

    def morph(self, genome: Genome, rng: np.random.Generator) -> Genome | None:
        """See `matloop.search_spaces.networks.layered.morphism`."""
        return morph(genome, self.grammar.series["layers"], rng)

    def same(self, parent: Genome, child: Genome) -> bool:
        """See `matloop.search_spaces.networks.layered.correspondence`."""
        return compare(parent, child).exact
