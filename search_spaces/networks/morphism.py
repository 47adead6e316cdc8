"""Changes that can keep a network's function: a layer more, a wider one, a larger kernel.

They are only proposed here: `correspondence.compare` says whether the function can really be kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from matloop.search_spaces.networks.genome import Genome, Words, draw_layer, duplicate, pick
from matloop.search_spaces.networks.plan import plan

_CHANGES = ("widen", "deepen", "enlarge")
_ODDS = (0.45, 0.4, 0.15)


def morph(genome: Mapping[str, Any], words: Words, rng: np.random.Generator) -> Genome:
    """A changed copy; it may be invalid, and it is unchanged if the change that was drawn has no place."""
    child = duplicate(genome)
    match pick(_CHANGES, _ODDS, rng):
        case "widen":
            _grow(child, "width", words, rng)
        case "enlarge":
            _grow(child, "kernel", words, rng)
        case _:
            _deepen(child, words, rng)
    return child


def _grow(genome: Genome, gene: str, words: Words, rng: np.random.Generator) -> None:
    """Give a layer a larger value of the gene."""
    layers = [layer for layer in genome["layers"] if gene in layer]
    if layers:
        layer = layers[int(rng.integers(len(layers)))]
        larger = [value for value in words.layers[layer["kind"]][gene] if value > layer[gene]]
        if larger:
            layer[gene] = larger[int(rng.integers(len(larger)))]


def _deepen(genome: Genome, words: Words, rng: np.random.Generator) -> None:
    """Insert a layer that can pass on what it is given, where that may have no negative values."""
    layers = genome["layers"]
    places = [i + 1 for i, layer in enumerate(layers) if layer.get("activation", "relu") == "relu"]
    if not places:
        return
    place = places[int(rng.integers(len(places)))]
    dense = layers[place - 1]["kind"] == "dense"
    last = place == len(layers) or layers[place]["kind"] == "dense"
    kind = "dense" if dense or (last and rng.random() < 0.5) else "conv"
    layer, width = draw_layer(kind, words.layers[kind], rng), _inputs(genome, place, kind)
    if width not in words.layers[kind]["width"]:
        return
    layer["width"] = width
    layer["activation"] = "elu" if layer["activation"] == "elu" else "relu"
    if "stride" in layer:
        layer["stride"] = 1
    if "skip" in layer:
        layer["skip"] = 0 if layer["normalisation"] == "none" and rng.random() < 0.5 else 1
    for index in range(place, len(layers)):
        skip = layers[index].get("skip", 0)
        if skip and index + 1 - skip < place:
            layers[index]["skip"] = skip + 1
    layers.insert(place, layer)


def _inputs(genome: Genome, place: int, kind: str) -> int:
    """Channels, or features for a dense layer, before a place."""
    layout = plan(genome)
    shape = layout.shapes[place - 1]
    if kind == "conv" or len(shape) == 1:
        return shape[0]
    return int(next(part.arguments[0] for part in layout.parts if part.kind == "Linear"))
