"""Changes that can keep a network's function: a layer or block more, a wider layer, a larger kernel.

They are only proposed here: `correspondence.compare` says whether the function can really be kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from matloop.search_spaces.networks.grammar.gene import Gene, Genome, choice, duplicate, pick
from matloop.search_spaces.networks.grammar.grammar import Series
from matloop.search_spaces.networks.layered.costs import shapes_of, vector

_CHANGES = ("widen", "deepen", "lengthen", "enlarge")
_ODDS = (0.4, 0.3, 0.15, 0.15)


def morph(genome: Mapping[str, Any], series: Series, rng: np.random.Generator) -> Genome:
    """A changed copy; it may be invalid, and it is unchanged if the change that was drawn has no place."""
    child = duplicate(genome)
    match pick(_CHANGES, _ODDS, rng):
        case "widen":
            _grow(child, "width", series, rng)
        case "enlarge":
            _grow(child, "kernel", series, rng)
        case "lengthen":
            _grow(child, "blocks", series, rng)
        case _:
            return child if _deepen(child, series, rng) else duplicate(genome)
    return child


def _grow(genome: Genome, gene: str, series: Series, rng: np.random.Generator) -> None:
    """Give a layer a larger value of the gene."""
    layers = [layer for layer in genome["layers"] if gene in layer]
    if layers:
        layer = layers[int(rng.integers(len(layers)))]
        larger = [value for value in choice(series.table(layer), gene).choices if value > layer[gene]]
        if larger:
            layer[gene] = larger[int(rng.integers(len(larger)))]


def _deepen(genome: Genome, series: Series, rng: np.random.Generator) -> bool:
    """Insert a layer that can pass on what it is given, where that may have no negative values; False if none can."""
    layers = genome["layers"]
    places = [i + 1 for i, layer in enumerate(layers) if layer.get("activation", "relu") == "relu"]
    if not places:
        return False
    place = places[int(rng.integers(len(places)))]
    dense = layers[place - 1]["kind"] == "dense"
    last = place == len(layers) or layers[place]["kind"] == "dense"
    kind = "dense" if dense or "conv" not in series.kinds or (last and rng.random() < 0.5) else "conv"
    layer = series.block(kind, rng)
    layer |= {"width": _inputs(genome, place, kind), "activation": "elu" if layer["activation"] == "elu" else "relu"}
    if "stride" in layer:
        layer["stride"] = 1
    if "skip" in layer:
        layer["skip"] = 0 if layer["normalisation"] == "none" and rng.random() < 0.5 else 1
    for index in range(place, len(layers)):
        skip = layers[index].get("skip", 0)
        if skip and index + 1 - skip < place:
            layers[index]["skip"] = skip + 1
    layers.insert(place, layer)
    return all(_spoken(layer, series) for layer in layers[place:])


def _spoken(layer: Genome, series: Series) -> bool:
    """Whether every gene of a layer is one that the space's words have."""
    return all(gene.accepts(layer[name]) for name, gene in series.table(layer).items() if isinstance(gene, Gene))


def _inputs(genome: Genome, place: int, kind: str) -> int:
    """Channels, or features for a dense layer, before a place."""
    shape = shapes_of(genome)[place]
    return shape[0] if kind == "conv" else vector(shape, genome)[0]
