"""A genome as a vector of fixed length for a predictor: settings, a block for each place, and what they add up to.

Texts are one-hot, ordered numbers are their place among the choices from 0 to 1, numbers of a range the same in the
logarithm. A place of a series that the genome does not fill is 0, and so are the genes of the kinds that it is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from matloop.search_spaces.networks.grammar.gene import Gene, Genome, Range, Table
from matloop.search_spaces.networks.grammar.rules import Rules
from matloop.search_spaces.networks.program.costs import Costs


class Encoding:
    """Writes genomes of a family as rows of numbers.

    Attributes:
        columns: meaning of each value, most of them in [0, 1].
    """

    def __init__(self, rules: Rules) -> None:
        grammar = self.grammar = rules.grammar
        self.rules = rules
        self._settings = _Writer(grammar.settings)
        self._training = _Writer(grammar.training)
        self._blocks = {key: _Writer(table) for key, table in grammar.blocks.items()}
        self._kinds = {
            key: {kind: _Writer(table) for kind, table in series.kinds.items()}
            for key, series in grammar.series.items()
        }
        self._empty = {
            key: {kind: [0.0] * (1 + len(writer.columns)) for kind, writer in kinds.items()}
            for key, kinds in self._kinds.items()
        }
        self.columns = self._columns()

    def encode(self, genome: Genome) -> list[float]:
        """Values in the order of `columns`."""
        row = self._settings.write(genome) + self._training.write(genome["training"])
        for key, writer in self._blocks.items():
            row += writer.write(genome[key])
        for key, kinds in self._kinds.items():
            blocks, empty = genome[key], self._empty[key]
            for block in blocks:
                own = block.get("kind", "")
                for kind, nothing in empty.items():
                    if kind == own:
                        row.append(1.0)
                        row += kinds[kind].write(block)
                    else:
                        row += nothing
            row += [0.0] * ((self.grammar.series[key].most - len(blocks)) * sum(map(len, empty.values())))
        found = self.rules.costs(genome)
        return row + self._summary(genome, found) + self.rules.summary(genome, found)

    def _summary(self, genome: Genome, found: Costs) -> list[float]:
        series = self.grammar.series
        rates = [genome.get("dropout", 0.0)]
        for key in self.grammar.blocks:
            rates.append(genome[key].get("dropout", 0.0))
        for key in series:
            rates += [block.get("dropout", 0.0) for block in genome[key]]
        return [
            *[len(genome[key]) / max(one.most, 1) for key, one in series.items()],
            math.log10(max(found.parameters, 1)) / 6,
            math.log10(max(found.multiply_adds, 1)) / 8,
            float(max(rates)),
        ]

    def _columns(self) -> list[str]:
        names = [*self._settings.columns, *self._training.columns]
        for key, writer in self._blocks.items():
            names += [f"{key} {name}" for name in writer.columns]
        for key, kinds in self._kinds.items():
            for number in range(self.grammar.series[key].most):
                for kind, writer in kinds.items():
                    prefix = f"{key}[{number}]"
                    names.append(f"{prefix} is {kind or 'there'}")
                    names += [f"{prefix} {kind} {name}" if kind else f"{prefix} {name}" for name in writer.columns]
        names += [f"share of {key} used" for key in self.grammar.series]
        names += ["log10 parameters / 6", "log10 multiply-adds / 8", "largest dropout"]
        return names + self.rules.summary_columns


class _Writer:
    """Writes one table's genes."""

    def __init__(self, table: Table) -> None:
        self._choices: list[tuple[str, Mapping[Any, list[float]]]] = []
        self._ranges: list[tuple[str, Range]] = []
        self.columns: list[str] = []
        for name, gene in table.items():
            if isinstance(gene, Gene):
                self._choices.append((name, _written(gene)))
                text = isinstance(gene.choices[0], str)
                self.columns += [f"{name} = {choice}" for choice in gene.choices] if text else [name]
        for name, gene in table.items():
            if isinstance(gene, Range):
                self._ranges.append((name, gene))
                self.columns.append(f"log {name}")

    def write(self, block: Mapping[str, Any]) -> list[float]:
        """Values in the order of `columns`."""
        row: list[float] = []
        for name, written in self._choices:
            row += written[block[name]]
        for name, gene in self._ranges:
            row.append(gene.share(block[name]))
        return row


def _written(gene: Gene) -> dict[Any, list[float]]:
    """What each choice is written as."""
    if isinstance(gene.choices[0], str):
        return {value: [float(value == choice) for choice in gene.choices] for value in gene.choices}
    return {value: [place / max(len(gene.choices) - 1, 1)] for place, value in enumerate(gene.choices)}
