"""Genomes made of settings, blocks and lists of blocks: drawn, mutated and crossed from one table of their genes.

A family of networks says in a `Grammar` which words its genomes are written in; what they mean is in its plan.
A genome is a plain dict: what the space fixes, the settings, each block as a dict, each series as a list of dicts,
and `training` as every family has it (`matloop.search_spaces.networks.genome`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from matloop.search_spaces.networks.genome import RANGES, TRAINING, Choices, Genome, draw_log, draw_training

_LEARNING_STEP = 0.5  # standard deviation of a mutated rate or decay, in natural logarithms


@dataclass(frozen=True, slots=True)
class Gene:
    """What a gene may be.

    Attributes:
        choices: texts, truth values, or numbers in ascending order.
        odds: of drawing each; None for equal ones.
    """

    choices: Choices
    odds: tuple[float, ...] | None = None

    def draw(self, rng: np.random.Generator) -> Any:
        """One of the choices, as the plain Python value that it is."""
        return self.choices[int(rng.choice(len(self.choices), p=self.odds))]

    def another(self, value: object, rng: np.random.Generator) -> Any:
        """Any of the other choices."""
        others = [choice for choice in self.choices if choice != value]
        return others[int(rng.integers(len(others)))]


Table = Mapping[str, Gene]


@dataclass(frozen=True, slots=True)
class Series:
    """A list of `least` to `most` blocks, all of the same genes."""

    table: Table
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Place:
    """A block within a genome: its name as messages give it, the dict itself, and its genes."""

    name: str
    block: Genome
    table: Table


@dataclass(frozen=True, slots=True)
class Grammar:
    """The words of a family.

    Attributes:
        settings: genes at the top of the genome.
        blocks: by key, the genes of a single block.
        series: by key, lists of blocks.
    """

    settings: Table
    blocks: Mapping[str, Table]
    series: Mapping[str, Series]

    def draw(self, rng: np.random.Generator) -> Genome:
        """A random genome; the length of each series is uniform."""
        genome = _draw(self.settings, rng)
        genome |= {key: _draw(table, rng) for key, table in self.blocks.items()}
        for key, series in self.series.items():
            length = int(rng.integers(series.least, series.most + 1))
            genome[key] = [_draw(series.table, rng) for _ in range(length)]
        return genome | {"training": draw_training(rng)}

    def places(self, genome: Genome) -> Iterator[Place]:
        """The top of a genome, its blocks, then each block of its series."""
        yield Place("", genome, self.settings)
        yield from (Place(key, genome[key], table) for key, table in self.blocks.items())
        for key, series in self.series.items():
            yield from (Place(f"{key}[{i}]", block, series.table) for i, block in enumerate(genome[key]))

    def mutate(self, genome: Genome, rng: np.random.Generator) -> None:
        """Make one change in place: a gene, a block more or less, or how it is trained."""
        match rng.choice(4, p=(0.6, 0.15, 0.1, 0.15)):
            case 1 if self.series:
                self._insert(genome, rng)
            case 2 if self.series:
                self._delete(genome, rng)
            case 3:
                _retrain(genome["training"], rng)
            case _:
                places = list(self.places(genome))
                place = places[int(rng.integers(len(places)))]
                gene = list(place.table)[int(rng.integers(len(place.table)))]
                place.block[gene] = place.table[gene].another(place.block[gene], rng)

    def cross(self, a: Mapping[str, Any], b: Mapping[str, Any], rng: np.random.Generator) -> Genome:
        """A child: settings, blocks and training from either, of each series the head of one and the tail of the other.

        It shares no part with its parents.
        """

        def either(key: str) -> Any:
            return (a, b)[int(rng.integers(2))][key]

        child = {key: either(key) for key in (*self.settings, *self.blocks)}
        for key, series in self.series.items():
            head, tail = (int(rng.integers(0, len(parent[key]) + 1)) for parent in (a, b))
            child[key] = [*a[key][:head], *b[key][tail:]][: series.most]
            child[key] = child[key] if len(child[key]) >= series.least else either(key)
        child["training"] = {gene: (a, b)[int(rng.integers(2))]["training"][gene] for gene in (*TRAINING, *RANGES)}
        return duplicate(child)

    def _insert(self, genome: Genome, rng: np.random.Generator) -> None:
        key, series = self._any_series(rng)
        if len(genome[key]) < series.most:
            genome[key].insert(int(rng.integers(len(genome[key]) + 1)), _draw(series.table, rng))

    def _delete(self, genome: Genome, rng: np.random.Generator) -> None:
        key, series = self._any_series(rng)
        if len(genome[key]) > series.least:
            del genome[key][int(rng.integers(len(genome[key])))]

    def _any_series(self, rng: np.random.Generator) -> tuple[str, Series]:
        return list(self.series.items())[int(rng.integers(len(self.series)))]


def duplicate(genome: Mapping[str, Any]) -> Genome:
    """A copy that shares nothing that can be changed; several times as fast as `copy.deepcopy`."""
    return {key: _duplicate(value) for key, value in genome.items()}


def _duplicate(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return [_duplicate(item) for item in value] if isinstance(value, list | tuple) else value


def _draw(table: Table, rng: np.random.Generator) -> Genome:
    return {name: gene.draw(rng) for name, gene in table.items()}


def _retrain(training: Genome, rng: np.random.Generator) -> None:
    """Change one training gene; a rate moves by a random factor and is drawn anew where it would leave its range."""
    gene = (*TRAINING, *RANGES, *RANGES)[int(rng.integers(len(TRAINING) + 2 * len(RANGES)))]
    if gene in TRAINING:
        training[gene] = Gene(TRAINING[gene]).another(training[gene], rng)
        return
    low, high = RANGES[gene]
    moved = training[gene] * math.exp(rng.normal(0.0, _LEARNING_STEP))
    training[gene] = moved if low <= moved <= high else draw_log(low, high, rng)
