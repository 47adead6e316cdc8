"""Makes any genome written in the right words fit its input shape and its budget, changing as little as it can."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from matloop.orchestrator.errors import ConfigError
from matloop.search_spaces.networks.grammar.gene import Gene, Genome, choice, duplicate
from matloop.search_spaces.networks.grammar.grammar import Place
from matloop.search_spaces.networks.grammar.rules import Rules
from matloop.search_spaces.networks.program.costs import Budget, Costs

_DEFAULT_DROPOUT = 0.1
_DRAWS = 64


class Repair:
    """Makes genomes of one space valid.

    What does not fit is taken back, then the costliest block is made smaller until the network is within budget, and a
    dropout is added if there is none.

    Attributes:
        least_dropout: smallest rate of the setting `dropout` above 0, which some dropout of a network must reach; 0
            where the setting has none, and networks need none.
        default_dropout: what the setting becomes in a network without dropout.
    """

    def __init__(self, rules: Rules, budget: Budget) -> None:
        self.rules, self.budget = rules, budget
        gene = rules.grammar.settings.get("dropout")
        rates = [rate for rate in gene.choices if rate] if isinstance(gene, Gene) else []
        self.least_dropout = min(rates, default=0.0)
        self.default_dropout = min(rates, key=lambda rate: abs(rate - _DEFAULT_DROPOUT), default=0.0)

    def mend(self, genome: Genome) -> Genome:
        """Make a genome valid in place."""
        rules = self.rules
        for key, series in rules.grammar.series.items():
            if series.last or len(genome[key]) > series.most:
                genome[key] = series.tidy(genome[key])
        rules.confine(genome)
        while cost := self.budget.excess(found := rules.costs(genome)):
            if not self._shrink(genome, found, cost):
                raise AssertionError("the smallest network exceeds the budget")
        if self.default_dropout and not self.has_dropout(genome):
            genome["dropout"] = self.default_dropout
        return genome

    def has_dropout(self, genome: Genome) -> bool:
        """Whether any dropout is on, so that the network can say how sure it is."""
        return bool(genome.get("dropout")) or any(
            place.block.get("dropout") for place in self.rules.grammar.inner(genome)
        )

    def require_room(self, fixed: Genome, name: str) -> None:
        """Raise ConfigError unless the smallest networks of the family are within budget.

        What shrinking ends at depends on genes that it leaves alone, so the largest of many draws counts.
        """
        found = [self.rules.costs(self._least(fixed, seed)) for seed in range(_DRAWS)]
        for cost in ("parameters", "multiply_adds"):
            least = max(getattr(one, cost) for one in found)
            if (limit := getattr(self.budget, cost)) < least:
                text = f"expected max_{cost} of at least {least:,} for {name}, got {limit:,}; raise it"
                raise ConfigError(text, at=f"max_{cost}")

    def require_use(self, fixed: Genome, given: Container[str]) -> None:
        """Raise ConfigError if a gene has a choice that no network within the budget can have.

        Args:
            fixed: what every genome holds.
            given: names of the genes to look at, as a campaign file gives them.
        """
        tables = self.rules.grammar.tables()
        for gene in self.rules.shrink:
            places = [where for where, table in tables.items() if isinstance(table.get(gene), Gene)]
            own = [where for where in places if f"{where}.{gene}" in given]
            for where in own:
                self._require(fixed, [where], gene, f"{where}.{gene}")
            others = [where for where in places if where not in own]
            if others and gene in given:
                self._require(fixed, others, gene, gene)

    def _require(self, fixed: Genome, places: Sequence[str], gene: str, named: str) -> None:
        """Each choice can be had in one of the places."""
        tables = self.rules.grammar.tables()
        for value in choice(tables[places[0]], gene).choices:
            found = [self._smallest_with(fixed, where, gene, value) for where in places]
            if all(map(self.budget.excess, found)):
                least = min(found, key=lambda costs: costs.parameters)
                cost = self.budget.excess(least)
                raise ConfigError(
                    f"{named!r} in genes: {value} is more than any network of the space may have, the smallest with it "
                    f"has {getattr(least, str(cost)):,} {cost}; raise max_{cost} or leave it out",
                    at=("genes", named),
                )

    def _smallest_with(self, fixed: Genome, where: str, gene: str, value: Any) -> Costs:
        """Costs of a network that has the choice there, within budget if one of some random ones is."""
        for seed in range(8):
            genome = self._least(fixed, seed)
            self._place(genome, where, seed)[gene] = value
            self.rules.confine(genome)
            found = self.rules.costs(genome)
            if not self.budget.excess(found):
                break
        return found

    def _place(self, genome: Genome, where: str, seed: int) -> Genome:
        """A block of that table, the only one of its series, put there if there is none."""
        grammar = self.rules.grammar
        for key, series in grammar.series.items():
            kind = next((kind for kind in series.kinds if (kind or key) == where), None)
            if kind is not None:
                genome[key] = [series.block(kind, np.random.default_rng(seed))]
                self.rules.smallest(genome)
                block: Genome = genome[key][0]
                return block
        return genome if where == "network" else genome[where]

    def _least(self, fixed: Genome, seed: int) -> Genome:
        """A random network with nothing left to shrink."""
        grammar = self.rules.grammar
        genome = duplicate({**fixed, **grammar.draw(np.random.default_rng(seed))})
        for key, series in grammar.series.items():
            genome[key] = genome[key][: series.least]
        self.rules.smallest(genome)
        self.rules.confine(genome)
        return genome

    def _shrink(self, genome: Genome, found: Costs, cost: str) -> bool:
        """Take one step down at the costliest block that has one left: lower a gene, or remove the block.

        Every step makes a block cheaper or removes one, so a repair ends.
        """
        rules, places = self.rules, list(self.rules.grammar.places(genome))
        shares = [getattr(block, cost) for block in found.blocks]
        for number in sorted(range(len(places)), key=lambda i: -shares[i]):
            place = places[rules.decisive(genome, number)]
            if rules.cheapen(genome, place, cost, found) or self._remove(genome, place):
                rules.confine(genome)
                return True
        return False

    def _remove(self, genome: Genome, place: Place) -> bool:
        series = self.rules.grammar.series.get(place.key)
        if series is None or len(genome[place.key]) <= series.least:
            return False
        del genome[place.key][place.position]
        return True
