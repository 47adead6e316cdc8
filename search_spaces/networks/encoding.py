"""A genome as a vector of fixed length for a predictor: settings, one block for each layer, and what they add up to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from search_spaces.networks.genome import LAYERS, RANGES, SETTINGS, TRAINING, Choices
from search_spaces.networks.plan import Plan, plan

_GLOBAL: Mapping[str, Choices] = {**SETTINGS, **TRAINING}
_SUMMARY = (
    "log10 parameters / 6",
    "log10 multiply-adds / 8",
    "share of layers used",
    "share of them convolutions",
    "share of them with a skip",
    "log2 downsampling / 8",
    "receptive field / image",
    "log2 features read out / 16",
    "largest dropout",
)


def columns(max_layers: int) -> list[str]:
    """Meaning of each column of `encode`, most of them in [0, 1].

    Categorical genes are one-hot, ordered numbers are their place among the permitted values from 0 to 1, continuous
    ones the same in the logarithm. A layer's block is 0 where there is no such layer or it lacks the gene.
    """
    names = [f"{gene} = {choice}" for gene, choices in _categorical(_GLOBAL) for choice in choices]
    names += [gene for gene, _ in _ordered(_GLOBAL)] + [f"log {gene}" for gene in RANGES]
    for number in range(1, max_layers + 1):
        for kind, genes in LAYERS.items():
            names.append(f"layer {number} is {kind}")
            names += [f"layer {number} {kind} {gene} = {c}" for gene, choices in _categorical(genes) for c in choices]
            names += [f"layer {number} {kind} {gene}" for gene, _ in _ordered(genes)]
    return [*names, *_SUMMARY]


def encode(genome: Mapping[str, Any], max_layers: int) -> list[float]:
    """Values in the order of `columns`."""
    flat = {**genome, **genome["training"]}
    row = _genes(flat, _GLOBAL)
    row += [math.log(flat[gene] / low) / math.log(high / low) for gene, (low, high) in RANGES.items()]
    for position in range(max_layers):
        layer = genome["layers"][position] if position < len(genome["layers"]) else {"kind": None}
        for kind, genes in LAYERS.items():
            present = layer["kind"] == kind
            row += [1.0, *_genes(layer, genes)] if present else [0.0] * (1 + _width(genes))
    return [*row, *_summary(genome, plan(genome), max_layers)]


def _summary(genome: Mapping[str, Any], layout: Plan, max_layers: int) -> list[float]:
    layers = genome["layers"]
    n = max(len(layers), 1)
    first_vector = next(part for part in layout.parts if part.kind == "Linear")
    return [
        math.log10(layout.parameters) / 6,
        math.log10(layout.multiply_adds) / 8,
        len(layers) / max_layers,
        sum(layer["kind"] == "conv" for layer in layers) / n,
        sum(bool(layer.get("skip")) for layer in layers) / n,
        math.log2(layout.downsampling) / 8,
        layout.receptive_field / max(layout.input[1:]),
        math.log2(first_vector.arguments[0]) / 16,
        max([genome["dropout"], *(layer.get("dropout", 0.0) for layer in layers)]),
    ]


def _genes(genes: Mapping[str, Any], table: Mapping[str, Choices]) -> list[float]:
    row = [float(genes[gene] == choice) for gene, choices in _categorical(table) for choice in choices]
    return row + [choices.index(genes[gene]) / (len(choices) - 1) for gene, choices in _ordered(table)]


def _width(table: Mapping[str, Choices]) -> int:
    return sum(len(choices) for _, choices in _categorical(table)) + len(_ordered(table))


def _categorical(table: Mapping[str, Choices]) -> list[tuple[str, Choices]]:
    return [(gene, choices) for gene, choices in table.items() if isinstance(choices[0], str)]


def _ordered(table: Mapping[str, Choices]) -> list[tuple[str, Choices]]:
    return [(gene, choices) for gene, choices in table.items() if not isinstance(choices[0], str)]
