"""What fits where in an encoder-decoder network."""

from __future__ import annotations

from matloop.search_spaces.networks.grammar.gene import Genome, Table, choice
from matloop.search_spaces.networks.grammar.grammar import Grammar
from matloop.search_spaces.networks.grammar.rules import Rules
from matloop.search_spaces.networks.segmentation.genome import SHRINK
from matloop.search_spaces.networks.segmentation.plan import plan


class SegmentationRules(Rules):
    """Of segmentation networks."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar, plan=plan, shrink=SHRINK)

    def confine(self, genome: Genome) -> None:
        """Shrink kernels to the maps; drop levels below a single pixel and hypercolumns of levels that are gone."""
        grammar = self.grammar
        extent, kept, levels = max(genome["input"][1:]), [], grammar.series["levels"]
        _fit(genome["stem"], grammar.blocks["stem"], "kernel", extent)
        for level in genome["levels"]:
            if extent == 1:
                break
            extent = -(-extent // 2)
            _fit(level, levels.table(level), "kernel", extent)
            kept.append(level)
        genome["levels"] = kept
        _fit(genome, grammar.settings, "hypercolumns", len(kept))


def _fit(block: Genome, table: Table, name: str, limit: int) -> None:
    if block[name] > limit:
        block[name] = choice(table, name).within(limit)
