"""What a family says of its genomes beside their words: what they become, what fits where, what makes them cheaper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from matloop.search_spaces.networks.grammar.gene import Gene, Genome
from matloop.search_spaces.networks.grammar.grammar import Grammar, Place
from matloop.search_spaces.networks.program.costs import Costs, costs_of
from matloop.search_spaces.networks.program.statements import Program


class Rules:
    """Rules of a family in which every gene fits everywhere; a family that knows more overrides what differs.

    Args:
        grammar: the words.
        plan: the network of a genome; `Part.block` is the number of the block, as `grammar.places` lists them.
        shrink: genes that make a network cheaper when lowered, the first to be lowered first.
    """

    def __init__(
        self, grammar: Grammar, *, plan: Callable[[Mapping[str, Any]], Program], shrink: Sequence[str]
    ) -> None:
        self.grammar, self.plan, self.shrink = grammar, plan, tuple(shrink)

    def confine(self, genome: Genome) -> None:
        """Bring genes within what the input's shape allows, in place; leaves alone what fits."""

    def costs(self, genome: Genome) -> Costs:
        """What the network of a genome costs."""
        return costs_of(self.plan(genome), sum(1 for _ in self.grammar.places(genome)))

    def decisive(self, genome: Genome, number: int) -> int:
        """The block that decides what a block costs; they are numbered as `grammar.places` lists them."""
        return number

    def cheapen(self, genome: Genome, place: Place, cost: str, found: Costs) -> bool:
        """Make a block cheaper by one step, in place; False if it is as cheap as it can be."""
        return any(lower(place, name) for name in self.shrink)

    def smallest(self, genome: Genome) -> None:
        """Make everything as cheap as repair can, in place, but for the number of blocks."""
        for place in self.grammar.places(genome):
            place.block.update(
                {name: gene.choices[0] for name in self.shrink if isinstance(gene := place.table.get(name), Gene)}
            )

    @property
    def summary_columns(self) -> list[str]:
        """Meaning of what `summary` gives."""
        return []

    def summary(self, genome: Mapping[str, Any], found: Costs) -> list[float]:
        """Numbers about the whole network for predictors, about 0 to 1, beside those that all families have."""
        return []

    def morph(self, genome: Genome, rng: np.random.Generator) -> Genome | None:
        """A changed copy that can be the same function, perhaps invalid; None if the family has no such changes."""
        return None

    def same(self, parent: Genome, child: Genome) -> bool:
        """Whether the child can be the same function as its parent, given the right weights."""
        return False


def lower(place: Place, name: str) -> bool:
    """Take a gene of a block one choice down, in place; False where that is not possible."""
    gene = place.table.get(name)
    less = gene.lower(place.block[name]) if isinstance(gene, Gene) else None
    if less is None:
        return False
    place.block[name] = less
    return True
