"""Genomes of a grammar as vectors of fixed length for a predictor: every gene, a block for each place, and a summary.

Texts are one-hot, ordered numbers are their place among the choices from 0 to 1, continuous ones the same in the
logarithm. A place of a series that the genome does not fill is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from matloop.search_spaces.networks.genome import RANGES, TRAINING
from matloop.search_spaces.networks.grammar import Gene, Grammar, Table
from matloop.search_spaces.networks.statements import Program

_TRAINING: Table = {name: Gene(choices) for name, choices in TRAINING.items()}


def columns(grammar: Grammar) -> list[str]:
    """Meaning of each column of `encode`."""
    names = _names("", grammar.settings)
    for key, table in grammar.blocks.items():
        names += _names(f"{key} ", table)
    for key, series in grammar.series.items():
        for number in range(series.most):
            names += [f"{key}[{number}] is there", *_names(f"{key}[{number}] ", series.table)]
    names += [*_names("", _TRAINING), *(f"log {gene}" for gene in RANGES)]
    names += [f"share of {key} used" for key in grammar.series]
    return [*names, "log10 parameters / 6", "log10 multiply-adds / 8", "largest dropout"]


def encode(grammar: Grammar, genome: Mapping[str, Any], layout: Program) -> list[float]:
    """Values in the order of `columns`."""
    row = _genes(genome, grammar.settings)
    for key, table in grammar.blocks.items():
        row += _genes(genome[key], table)
    for key, series in grammar.series.items():
        for position in range(series.most):
            if position < len(genome[key]):
                row += [1.0, *_genes(genome[key][position], series.table)]
            else:
                row += [0.0] * (1 + len(_names("", series.table)))
    training = genome["training"]
    row += _genes(training, _TRAINING)
    row += [math.log(training[gene] / low) / math.log(high / low) for gene, (low, high) in RANGES.items()]
    row += [len(genome[key]) / max(series.most, 1) for key, series in grammar.series.items()]
    dropouts = [place.block.get("dropout", 0.0) for place in grammar.places(dict(genome))]
    return [*row, math.log10(layout.parameters) / 6, math.log10(layout.multiply_adds) / 8, max(dropouts)]


def _genes(block: Mapping[str, Any], table: Table) -> list[float]:
    return [value for name, gene in table.items() for value in _values(block[name], gene)]


def _values(value: Any, gene: Gene) -> Iterator[float]:
    if isinstance(gene.choices[0], str):
        yield from (float(value == choice) for choice in gene.choices)
    else:
        yield gene.choices.index(value) / (len(gene.choices) - 1)


def _names(prefix: str, table: Table) -> list[str]:
    names = []
    for name, gene in table.items():
        text = isinstance(gene.choices[0], str)
        names += [f"{prefix}{name} = {choice}" for choice in gene.choices] if text else [f"{prefix}{name}"]
    return names
