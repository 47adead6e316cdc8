"""Genes that a campaign file gives: other choices or another range than the family's own.

`width: [64, 128, 256]` is meant for every table that has a `width`, `dense.width: [2048]` for dense layers alone; the
qualified name wins. Tables are called as `Grammar.tables` calls them: `network` for the settings, `training`, and the
key of a block or the kind of a layer.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from matloop.orchestrator.errors import ConfigError
from matloop.search_spaces.networks.grammar.grammar import Grammar, everywhere

Given = Mapping[str, Sequence[Any]]


def widen(grammar: Grammar, given: Given) -> Grammar:
    """The grammar with the genes that are given.

    Raises:
        ConfigError: an unknown gene, or choices that it cannot have.
    """
    named = {f"{where}.{name}" for where, name, _ in everywhere(grammar)}
    plain = {name for _, name, _ in everywhere(grammar)}
    for name, values in given.items():
        if name not in named | plain:
            close = difflib.get_close_matches(str(name), [*plain, *named], n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {sorted(plain)}"
            raise ConfigError(f"unknown gene {name!r} in genes; {hint}", at=("genes", name))
        if not isinstance(values, list | tuple):
            text = f"expected {name!r} in genes to be a list of choices, got {values!r}; write [{values}]"
            raise ConfigError(text, at=("genes", name))
    tables = {
        where: {name: _given(gene, where, name, given) for name, gene in table.items()}
        for where, table in grammar.tables().items()
    }
    return grammar.having(tables)


def _given(gene: Any, where: str, name: str, given: Given) -> Any:
    key = f"{where}.{name}" if f"{where}.{name}" in given else name
    return gene.given(key, given[key]) if key in given else gene
