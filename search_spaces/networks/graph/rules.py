"""What graph networks become; every gene fits every place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matloop.search_spaces.networks.grammar import Grammar
from matloop.search_spaces.networks.graph.genome import SHRINK
from matloop.search_spaces.networks.graph.plan import plan
from matloop.search_spaces.networks.rules import Rules
from matloop.search_spaces.networks.statements import Program


class GraphRules(Rules):
    """Of graph networks."""

    def __init__(self, grammar: Grammar) -> None:
        super().__init__(grammar, SHRINK)

    def plan(self, genome: Mapping[str, Any]) -> Program:
        """See `matloop.search_spaces.networks.graph.plan`."""
        return plan(genome)
