"""Complete check of a genome: words, then places, then cost; every message names the gene."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from matloop.orchestrator.errors import InvalidPoint
from matloop.search_spaces.networks.grammar.gene import Genome, Table, duplicate
from matloop.search_spaces.networks.grammar.grammar import Series
from matloop.search_spaces.networks.grammar.repair import Repair


def validate(genome: Mapping[str, Any], repair: Repair, fixed: Mapping[str, Any]) -> None:
    """Raise InvalidPoint unless the genome is a network of the fixed shape that repair would leave as it is."""
    grammar = repair.rules.grammar
    check_keys("genome", genome, (*fixed, *grammar.keys))
    for key, value in fixed.items():
        _same(key, genome[key], value)
    _check_table("", genome, grammar.settings)
    for key, table in {**grammar.blocks, "training": grammar.training}.items():
        check_keys(key, genome[key], table)
        _check_table(f"{key}.", genome[key], table)
    for key, series in grammar.series.items():
        _check_series(key, genome[key], series)
    fitted = duplicate(genome)
    repair.rules.confine(fitted)
    _check_confined(genome, fitted, repair, fixed)
    if repair.least_dropout and not repair.has_dropout(fitted):
        raise InvalidPoint(
            f"expected a dropout of at least {repair.least_dropout:g} somewhere, got none; set dropout: "
            f"{repair.default_dropout:g}"
        )
    if cost := repair.budget.excess(found := repair.rules.costs(fitted)):
        raise InvalidPoint(
            f"expected at most {getattr(repair.budget, cost):,} {cost}, got {getattr(found, cost):,}; "
            "make blocks smaller or raise the limit of the space"
        )


def check_keys(name: str, value: Any, expected: Iterable[str]) -> None:
    """Raise InvalidPoint, with the name in its message, unless the value is a mapping of just the expected keys."""
    expected = list(expected)
    if isinstance(value, dict) and value.keys() == set(expected):
        return
    if not isinstance(value, Mapping):
        raise InvalidPoint(f"expected {name} to be a mapping with {expected}, got {value!r}")
    for key in value:
        if key not in expected:
            close = difflib.get_close_matches(str(key), expected, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {expected}"
            raise InvalidPoint(f"unknown key {key!r} in {name}; {hint}")
    for key in expected:
        if key not in value:
            raise InvalidPoint(f"expected {name} to have {expected}, got none for {key!r}; add it")


def _check_table(prefix: str, block: Mapping[str, Any], table: Table) -> None:
    for name, gene in table.items():
        gene.check(f"{prefix}{name}", block[name])


def _check_series(key: str, blocks: Any, series: Series) -> None:
    if not isinstance(blocks, list | tuple) or not series.least <= len(blocks) <= series.most:
        shown = f"{len(blocks)} of them" if isinstance(blocks, list | tuple) else repr(blocks)
        raise InvalidPoint(f"expected {key} to be a list of {series.least} to {series.most}, got {shown}")
    ended = False
    for position, block in enumerate(blocks):
        where = f"{key}[{position}]"
        kind = _kind(where, block, series)
        if ended and kind != series.last:
            last = series.last
            raise InvalidPoint(f"expected only {last} {key} after a {last} one, got {where}.kind: {kind!r}; move it up")
        ended = bool(series.last) and kind == series.last
        table = series.kinds[kind]
        check_keys(where, block, ("kind", *table) if kind else table)
        _check_table(f"{where}.", block, table)


def _kind(where: str, block: Any, series: Series) -> str:
    if "" in series.kinds:
        return ""
    kind = block.get("kind") if isinstance(block, Mapping) else None
    if not isinstance(kind, str) or kind not in series.kinds:
        raise InvalidPoint(f"expected {where}.kind to be one of {list(series.kinds)}, got {kind!r}")
    return kind


def _check_confined(genome: Mapping[str, Any], fitted: Genome, repair: Repair, fixed: Mapping[str, Any]) -> None:
    """Compare with what fits; where blocks were left out, the first that is not the same is one of them."""
    grammar = repair.rules.grammar
    for key in grammar.series:
        given, kept = genome[key], fitted[key]
        if len(kept) < len(given):
            index = next((i for i, pair in enumerate(zip(given, kept, strict=False)) if pair[0] != pair[1]), len(kept))
            raise InvalidPoint(
                f"expected at most {len(kept)} {key} for {dict(fixed)}, got {len(given)}; "
                f"remove {key}[{index}]: {given[index]!r}"
            )
    for ours, theirs in zip(grammar.places(fitted), grammar.places(dict(genome)), strict=True):
        for name in ours.table:
            if ours.block[name] != theirs.block[name]:
                raise InvalidPoint(
                    f"{theirs.path(name)}: {theirs.block[name]!r} does not fit its place; "
                    f"expected at most {ours.block[name]!r}"
                )


def _same(key: str, got: Any, expected: Any) -> None:
    """The space's own value, of its own type: neither 1.0 nor true for 1."""
    if isinstance(expected, list):
        alike = isinstance(got, list | tuple) and list(got) == expected and all(type(n) is int for n in got)
    else:
        alike = type(got) is type(expected) and got == expected
    if not alike:
        raise InvalidPoint(f"expected {key}: {expected!r}, the space's own, got {got!r}")
