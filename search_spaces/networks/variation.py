"""How genomes change: random edits of a layer or a setting, each made in place and left for repair to make valid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from matloop.search_spaces.networks.genome import RANGES, SKIPS, TRAINING, Genome, Words, draw_layer, draw_log, pick

_LEARNING_STEP = 0.5  # standard deviation of a mutated rate or decay, in natural logarithms
_INSERTED = {"conv": 0.6, "pool": 0.25, "dense": 0.15}


def vary(genome: Genome, words: Words, rng: np.random.Generator) -> None:
    """Make one random change, in place."""
    pick(_OPERATORS, _ODDS, rng)(genome, words, rng)


def change_rate(genome: Genome, words: Words, rng: np.random.Generator) -> None:
    """Move learning rate or weight decay by a random factor; draw it anew where it would leave its range."""
    gene, (low, high) = list(RANGES.items())[int(rng.integers(len(RANGES)))]
    moved = genome["training"][gene] * math.exp(rng.normal(0.0, _LEARNING_STEP))
    genome["training"][gene] = moved if low <= moved <= high else draw_log(low, high, rng)


def _insert(genome: Genome, words: Words, rng: np.random.Generator) -> None:
    """Put a random layer at a place where its kind belongs."""
    layers, kinds = genome["layers"], list(words.layers)
    vectors = sum(layer["kind"] == "dense" for layer in layers)
    kind = pick(kinds, tuple([_INSERTED[kind] for kind in kinds]), rng) if len(kinds) > 1 else kinds[0]
    first, last = (len(layers) - vectors, len(layers)) if kind == "dense" else (0, len(layers) - vectors)
    layers.insert(int(rng.integers(first, last + 1)), draw_layer(kind, words.layers[kind], rng))


def _delete(genome: Genome, words: Words, rng: np.random.Generator) -> None:
    if len(genome["layers"]) > 1:
        del genome["layers"][int(rng.integers(len(genome["layers"])))]


def _alter(genome: Genome, words: Words, rng: np.random.Generator) -> None:
    """Change one gene of one layer to another of its values."""
    if genome["layers"]:
        layer = genome["layers"][int(rng.integers(len(genome["layers"])))]
        genes = words.layers[layer["kind"]]
        gene = list(genes)[int(rng.integers(len(genes)))]
        layer[gene] = _another(layer[gene], genes[gene], rng)


def _change_skip(genome: Genome, words: Words, rng: np.random.Generator) -> None:
    """Remove a skip connection, or add one."""
    layers = [layer for layer in genome["layers"] if "skip" in layer]
    if layers:
        layer = layers[int(rng.integers(len(layers)))]
        layer["skip"] = 0 if layer["skip"] else _another(0, SKIPS, rng)


def _change_setting(genome: Genome, words: Words, rng: np.random.Generator) -> None:
    gene = (*words.settings, *TRAINING)[int(rng.integers(len(words.settings) + len(TRAINING)))]
    in_settings = gene in words.settings
    owner, choices = (genome, words.settings[gene]) if in_settings else (genome["training"], TRAINING[gene])
    owner[gene] = _another(owner[gene], choices, rng)


def _another(value: object, choices: Sequence[Any], rng: np.random.Generator) -> Any:
    others = [choice for choice in choices if choice != value]
    return others[int(rng.integers(len(others)))]


_OPERATORS = (_insert, _delete, _alter, _change_skip, _change_setting, change_rate)
_ODDS = (0.2, 0.15, 0.3, 0.1, 0.15, 0.1)
