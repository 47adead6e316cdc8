"""What the spaces of all families with a grammar do alike: sample, check, mutate, cross, encode, and stay in budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError, InvalidPoint
from matloop.orchestrator.protocols import Array
from matloop.orchestrator.trial import Point
from matloop.search_spaces.networks import grammar_encoding
from matloop.search_spaces.networks.genome import Genome
from matloop.search_spaces.networks.grammar import Grammar, Place, duplicate
from matloop.search_spaces.networks.repair import DEFAULT_DROPOUT, Budget
from matloop.search_spaces.networks.statements import Program
from matloop.search_spaces.networks.validation import check_choice, check_keys, check_training

_ATTEMPTS = 20


class GrammarSpace:
    """Base of a family's space; a subclass says what a genome means and what fits its inputs.

    Children are valid by construction: what does not fit is taken back (`confine`), then the costliest block is made
    smaller until the network is within budget, and a dropout is added if there is none.

    Args:
        grammar: the words.
        fixed: what every genome of the space holds unchanged, `family` among it.
        shrink: genes that make a network cheaper when lowered, the first to be lowered first.
        budget: limits.
    """

    def __init__(self, grammar: Grammar, *, fixed: Mapping[str, Any], shrink: Sequence[str], budget: Budget) -> None:
        self.grammar, self.fixed, self.budget = grammar, dict(fixed), budget
        self._shrinkable = tuple(shrink)

    def plan(self, genome: Mapping[str, Any]) -> Program:
        """The network of a genome; `Part.layer` is the number of the block, as `grammar.places` lists them."""
        raise NotImplementedError

    def confine(self, genome: Genome) -> None:
        """Bring genes within what the input's shape allows, in place, lowering values and shortening series only."""

    def sample(self, rng: np.random.Generator) -> Genome:
        """A random network."""
        return self._repair(self.grammar.draw(rng))

    def check(self, point: Point) -> None:
        """Raise InvalidPoint, naming the gene, unless the genome builds, runs and is within the limits."""
        grammar = self.grammar
        check_keys("genome", point, (*self.fixed, *grammar.settings, *grammar.blocks, *grammar.series, "training"))
        for key, value in self.fixed.items():
            _same(key, point[key], value)
        for key, series in grammar.series.items():
            _list(key, point[key], series.least, series.most)
        for place in grammar.places(dict(point)):
            if place.name:
                check_keys(place.name, place.block, place.table)
            for name, gene in place.table.items():
                check_choice(_path(place, name), place.block[name], gene.choices)
        check_training(point["training"])
        self._check_confined(point)
        if not self._has_dropout(point):
            raise InvalidPoint("expected a dropout of at least 0.05 somewhere, got none; set dropout: 0.1")
        if cost := self.budget.excess(layout := self.plan(point)):
            raise InvalidPoint(
                f"expected at most {getattr(self.budget, cost):,} {cost}, got {getattr(layout, cost):,}; "
                "make blocks smaller or raise the limit of the space"
            )

    def mutate(self, point: Point, rng: np.random.Generator) -> Genome:
        """A copy with one change, two or three now and then."""
        changes = min(int(rng.geometric(0.7)), 3)
        for _ in range(_ATTEMPTS):
            child = duplicate(point)
            for _ in range(changes):
                self.grammar.mutate(child, rng)
            child = self._repair(child)
            if child != point:
                return child
        batches = child["training"]  # nothing else could change; this always can
        batches["batch"] = 8 if batches["batch"] != 8 else 16
        return child

    def cross(self, a: Point, b: Point, rng: np.random.Generator) -> Genome:
        """A child of both, see `Grammar.cross`."""
        return self._repair(self.grammar.cross(a, b, rng))

    @property
    def dimension(self) -> int:
        """Length of an encoded genome."""
        return len(self.columns)

    @property
    def columns(self) -> list[str]:
        """Meaning of each column of `encode`."""
        return grammar_encoding.columns(self.grammar)

    def encode(self, points: Sequence[Point]) -> Array:
        """(n, d) float64; see `columns`."""
        rows = [grammar_encoding.encode(self.grammar, point, self.plan(point)) for point in points]
        return np.array(rows, dtype=np.float64).reshape(len(rows), self.dimension)

    def require_room(self, name: str) -> None:
        """Raise ConfigError unless the smallest network of the family is within budget."""
        for cost, least in self._least().items():
            if (limit := getattr(self.budget, cost)) < least:
                raise ConfigError(f"expected max_{cost} of at least {least:,} for {name}, got {limit:,}; raise it")

    def _least(self) -> dict[str, int]:
        """Costs of the network that shrinking ends at, whatever its other genes are: the largest of many draws."""
        grammar, found = self.grammar, {"parameters": 0, "multiply_adds": 0}
        for seed in range(64):
            genome = {**self.fixed, **grammar.draw(np.random.default_rng(seed))}
            for key, series in grammar.series.items():
                genome[key] = genome[key][: series.least]
            for place in grammar.places(genome):
                place.block.update(
                    {name: place.table[name].choices[0] for name in self._shrinkable if name in place.table}
                )
            self.confine(genome)
            layout = self.plan(genome)
            found = {cost: max(value, getattr(layout, cost)) for cost, value in found.items()}
        return found

    def _repair(self, genome: Mapping[str, Any]) -> Genome:
        repaired = duplicate({**self.fixed, **genome})
        self.confine(repaired)
        while cost := self.budget.excess(self.plan(repaired)):
            if not self._shrink(repaired, cost):
                raise AssertionError("the smallest network exceeds the budget")
        if not self._has_dropout(repaired):
            repaired["dropout"] = DEFAULT_DROPOUT
        return repaired

    def _shrink(self, genome: Genome, cost: str) -> bool:
        """Take one step down at the costliest block that has one left: lower a gene, or remove the block."""
        places = list(self.grammar.places(genome))
        costs = [0] * len(places)
        for part in self.plan(genome).parts:
            costs[part.layer] += getattr(part, cost)
        for number in sorted(range(len(places)), key=lambda i: -costs[i]):
            place = places[number]
            for name in self._shrinkable:
                gene = place.table.get(name)
                if gene and (position := gene.choices.index(place.block[name])):
                    place.block[name] = gene.choices[position - 1]
                    self.confine(genome)
                    return True
            key = place.name.partition("[")[0]
            if key in self.grammar.series and len(genome[key]) > self.grammar.series[key].least:
                genome[key] = [block for block in genome[key] if block is not place.block]
                self.confine(genome)
                return True
        return False

    def _has_dropout(self, genome: Mapping[str, Any]) -> bool:
        return any(place.block.get("dropout") for place in self.grammar.places(dict(genome)))

    def _check_confined(self, point: Point) -> None:
        fitted = duplicate(point)
        self.confine(fitted)
        for key in self.grammar.series:
            if len(fitted[key]) < len(point[key]):
                raise InvalidPoint(
                    f"expected at most {len(fitted[key])} {key} for {self.fixed}, got {len(point[key])}; remove some"
                )
        for ours, theirs in zip(self.grammar.places(fitted), self.grammar.places(dict(point)), strict=True):
            for name in ours.table:
                if ours.block[name] != theirs.block[name]:
                    raise InvalidPoint(
                        f"{_path(theirs, name)}: {theirs.block[name]!r} does not fit its place; "
                        f"expected at most {ours.block[name]!r}"
                    )


def _path(place: Place, gene: str) -> str:
    return f"{place.name}.{gene}" if place.name else gene


def _same(key: str, got: Any, expected: Any) -> None:
    """The space's own value, of its own type: neither 1.0 nor true for 1."""
    if isinstance(expected, list):
        alike = isinstance(got, list | tuple) and list(got) == expected and all(type(n) is int for n in got)
    else:
        alike = type(got) is type(expected) and got == expected
    if not alike:
        raise InvalidPoint(f"expected {key}: {expected!r}, the space's own, got {got!r}")


def _list(key: str, got: Any, least: int, most: int) -> None:
    if not isinstance(got, list | tuple) or not least <= len(got) <= most:
        shown = f"{len(got)} of them" if isinstance(got, list | tuple) else repr(got)
        raise InvalidPoint(f"expected {key} to be a list of {least} to {most}, got {shown}")
