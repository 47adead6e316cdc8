"""How genomes change: random edits, each made in place and left for repair to make valid; and how two become one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

import numpy as np

from matloop.search_spaces.networks.grammar.gene import Genome, Table, choice, duplicate, pick
from matloop.search_spaces.networks.grammar.grammar import Grammar, Series, choices, ranges


class Variation:
    """Mutates and crosses genomes of a grammar."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self._odds = astuple(grammar.odds)
        self._operators = (self._insert, self._delete, self._alter, self._toggle, self._set, self._rate)
        self._series = list(grammar.series.items())
        self._settings = [*choices(grammar.settings), *choices(grammar.training)]
        self._ranges = ranges(grammar.training)

    def vary(self, genome: Genome, rng: np.random.Generator) -> None:
        """Make one random change, in place."""
        pick(self._operators, self._odds, rng)(genome, rng)

    def anything(self, genome: Genome, rng: np.random.Generator) -> list[Genome]:
        """Copies with one gene changed, for every gene that can be, in random order."""
        sites = [(number, name) for number, (block, table) in enumerate(self._all(genome)) for name in table]
        copies = []
        for site in rng.permutation(len(sites)):
            number, name = sites[site]
            block, table = self._all(copy := duplicate(genome))[number]
            block[name] = table[name].another(block[name], rng)
            copies += [copy] if copy != genome else []
        return copies

    def cross(self, a: Mapping[str, Any], b: Mapping[str, Any], rng: np.random.Generator) -> Genome:
        """A child: settings, blocks and training genes from either, heads of one's series and tails of the other's.

        It may share parts with its parents.
        """
        grammar, parents = self.grammar, (a, b)
        keys, training = [*grammar.settings, *grammar.blocks], list(grammar.training)
        sides = rng.integers(2, size=len(keys) + len(training)).tolist()
        child = {key: parents[side][key] for key, side in zip(keys, sides, strict=False)}
        for key, series in self._series:
            head, tail = int(rng.integers(0, len(a[key]) + 1)), int(rng.integers(0, len(b[key]) + 1))
            child[key] = [*a[key][:head], *b[key][tail:]]
            if len(child[key]) < max(series.least, series.usual):
                child[key] = parents[int(rng.integers(2))][key]
        pairs = zip(training, sides[len(keys) :], strict=True)
        child["training"] = {gene: parents[side]["training"][gene] for gene, side in pairs}
        return child

    def _insert(self, genome: Genome, rng: np.random.Generator) -> None:
        """Put a random block at a place where its kind belongs; a full series loses its last."""
        if not self._series:
            return
        key, series = self._any_series(rng)
        blocks, kind = genome[key], series.kind(rng)
        border = series.first_of_last(blocks)
        first, last = (border, len(blocks)) if kind == series.last and kind else (0, border)
        blocks.insert(int(rng.integers(first, last + 1)), series.block(kind, rng))

    def _delete(self, genome: Genome, rng: np.random.Generator) -> None:
        if self._series:
            key, series = self._any_series(rng)
            if len(genome[key]) > max(series.least, series.usual):
                del genome[key][int(rng.integers(len(genome[key])))]

    def _alter(self, genome: Genome, rng: np.random.Generator) -> None:
        """Change one gene of one block."""
        if places := list(self.grammar.inner(genome)):
            place = places[int(rng.integers(len(places)))]
            names = list(place.table)
            name = names[int(rng.integers(len(names)))]
            place.block[name] = place.table[name].another(place.block[name], rng)

    def _toggle(self, genome: Genome, rng: np.random.Generator) -> None:
        """Turn a gene of one block off, or on."""
        name = self.grammar.toggle
        if places := [place for place in self.grammar.inner(genome) if name in place.table]:
            place = places[int(rng.integers(len(places)))]
            gene = choice(place.table, name)
            on = place.block[name] != gene.choices[0]
            place.block[name] = gene.choices[0] if on else gene.another(gene.choices[0], rng)

    def _set(self, genome: Genome, rng: np.random.Generator) -> None:
        name = self._settings[int(rng.integers(len(self._settings)))]
        top = name in self.grammar.settings
        owner, table = (genome, self.grammar.settings) if top else (genome["training"], self.grammar.training)
        owner[name] = table[name].another(owner[name], rng)

    def _rate(self, genome: Genome, rng: np.random.Generator) -> None:
        name = self._ranges[int(rng.integers(len(self._ranges)))]
        training = genome["training"]
        training[name] = self.grammar.training[name].another(training[name], rng)

    def _any_series(self, rng: np.random.Generator) -> tuple[str, Series]:
        return self._series[0] if len(self._series) == 1 else self._series[int(rng.integers(len(self._series)))]

    def _all(self, genome: Genome) -> list[tuple[Genome, Table]]:
        places = [(place.block, place.table) for place in self.grammar.places(genome)]
        return [*places, (genome["training"], self.grammar.training)]
