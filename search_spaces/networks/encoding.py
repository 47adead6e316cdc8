"""A genome as a vector of fixed length for a predictor: settings, one block for each layer, and what they add up to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from matloop.search_spaces.networks.genome import RANGES, TRAINING, Choices, Words
from matloop.search_spaces.networks.plan import Plan, plan

_SUMMARY = (
    "log10 parameters / 6",
    "log10 multiply-adds / 8",
    "share of layers used",
    "share of them with a skip",
    "largest dropout",
)
_SUMMARY_OF_MAPS = (
    "share of them convolutions",
    "log2 downsampling / 8",
    "receptive field / image",
    "log2 features read out / 16",
)


class Encoding:
    """Writes genomes of a space as rows of numbers.

    Categorical genes are one-hot, ordered numbers are their place among the permitted values from 0 to 1, continuous
    ones the same in the logarithm. A layer's block is 0 where there is no such layer or it lacks the gene.

    Attributes:
        columns: meaning of each value, most of them in [0, 1].
    """

    def __init__(self, words: Words, max_layers: int) -> None:
        self.max_layers = max_layers
        self._settings = _table({**words.settings, **TRAINING})
        self._kinds = {kind: _table(genes) for kind, genes in words.layers.items()}
        self._empty = {kind: [0.0] * (1 + len(_names(genes))) for kind, genes in words.layers.items()}
        self._of_maps = "conv" in words.layers
        self.columns = _names({**words.settings, **TRAINING}) + [f"log {gene}" for gene in RANGES]
        for number in range(1, max_layers + 1):
            for kind, genes in words.layers.items():
                names = [f"layer {number} {kind} {name}" for name in _names(genes)]
                self.columns += [f"layer {number} is {kind}", *names]
        self.columns += [*_SUMMARY, *_SUMMARY_OF_MAPS] if self._of_maps else _SUMMARY

    def encode(self, genome: Mapping[str, Any]) -> list[float]:
        """Values in the order of `columns`."""
        training, layers = genome["training"], genome["layers"]
        row = _values({**genome, **training}, self._settings)
        row += [math.log(training[gene] / low) / math.log(high / low) for gene, (low, high) in RANGES.items()]
        for layer in layers:
            for kind, empty in self._empty.items():
                row += [1.0, *_values(layer, self._kinds[kind])] if layer["kind"] == kind else empty
        row += [0.0] * ((self.max_layers - len(layers)) * sum(map(len, self._empty.values())))
        return row + self._summary(genome, plan(genome))

    def _summary(self, genome: Mapping[str, Any], layout: Plan) -> list[float]:
        layers = genome["layers"]
        n = max(len(layers), 1)
        summary = [
            math.log10(layout.parameters) / 6,
            math.log10(layout.multiply_adds) / 8,
            len(layers) / self.max_layers,
            sum(bool(layer.get("skip")) for layer in layers) / n,
            max([genome["dropout"], *(layer.get("dropout", 0.0) for layer in layers)]),
        ]
        if self._of_maps:
            first_vector = next(part for part in layout.parts if part.kind == "Linear")
            summary += [
                sum(layer["kind"] == "conv" for layer in layers) / n,
                math.log2(layout.downsampling) / 8,
                layout.receptive_field / max(layout.input[1:]),
                math.log2(first_vector.arguments[0]) / 16,
            ]
        return summary


def _names(genes: Mapping[str, Choices]) -> list[str]:
    """Columns of these genes, categorical ones first."""
    names = [f"{gene} = {choice}" for gene, choices in _categorical(genes) for choice in choices]
    return names + [gene for gene, _ in _ordered(genes)]


def _table(genes: Mapping[str, Choices]) -> list[tuple[str, dict[Any, list[float]]]]:
    """For each gene, in the order of `_names`, what each of its values is written as."""
    table = [
        (gene, {value: [float(value == choice) for choice in choices] for value in choices})
        for gene, choices in _categorical(genes)
    ]
    ordered = [
        (gene, {value: [place / (len(choices) - 1)] for place, value in enumerate(choices)})
        for gene, choices in _ordered(genes)
    ]
    return table + ordered


def _values(genes: Mapping[str, Any], table: Iterable[tuple[str, Mapping[Any, list[float]]]]) -> list[float]:
    row: list[float] = []
    for gene, written in table:
        row += written[genes[gene]]
    return row


def _categorical(genes: Mapping[str, Choices]) -> list[tuple[str, Choices]]:
    return [(gene, choices) for gene, choices in genes.items() if isinstance(choices[0], str)]


def _ordered(genes: Mapping[str, Choices]) -> list[tuple[str, Choices]]:
    return [(gene, choices) for gene, choices in genes.items() if not isinstance(choices[0], str)]
