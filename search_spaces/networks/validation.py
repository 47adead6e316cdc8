"""Complete check of a genome: words, then places, then cost; every message names the gene."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from matloop.orchestrator.errors import InvalidPoint
from matloop.search_spaces.networks.costs import costs
from matloop.search_spaces.networks.genome import RANGES, TRAINING, Choices, Words
from matloop.search_spaces.networks.repair import PLACED, Budget, allowed, has_dropout


def validate(genome: Mapping[str, Any], words: Words, *, shape: tuple[int, ...], outputs: int, budget: Budget) -> None:
    """Raise InvalidPoint unless the genome is a network of that input shape and number of outputs within budget."""
    check_keys("genome", genome, ("input", "outputs", *words.settings, "layers", "training"))
    given = genome["input"]
    if not isinstance(given, list | tuple) or list(given) != list(shape) or any(type(n) is not int for n in given):
        raise InvalidPoint(f"expected input: {list(shape)}, the space's own, got {given!r}")
    check_choice("outputs", genome["outputs"], (outputs,))
    for gene, choices in words.settings.items():
        check_choice(gene, genome[gene], choices)
    check_training(genome["training"])
    _layers(genome, words.layers, budget.layers)
    if not has_dropout(genome):
        raise InvalidPoint("expected a dropout of at least 0.05 somewhere, got none; set dropout: 0.1")
    if cost := budget.excess(found := costs(genome)):
        raise InvalidPoint(
            f"expected at most {getattr(budget, cost):,} {cost}, got {getattr(found, cost):,}; "
            "make layers smaller or raise the limit of the space"
        )


def check_training(training: Any) -> None:
    """Raise InvalidPoint unless it has all training genes, each a choice or within its range."""
    check_keys("training", training, (*TRAINING, *RANGES))
    for gene, choices in TRAINING.items():
        check_choice(f"training.{gene}", training[gene], choices)
    for gene, (low, high) in RANGES.items():
        value = training[gene]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not low <= value <= high:
            raise InvalidPoint(f"expected training.{gene} in [{low:g}, {high:g}], got {value!r}")


def _layers(genome: Mapping[str, Any], kinds: Mapping[str, Mapping[str, Choices]], limit: int) -> None:
    layers = genome["layers"]
    if not isinstance(layers, list | tuple) or len(layers) > limit:
        got = f"{len(layers)} of them" if isinstance(layers, list | tuple) else repr(layers)
        raise InvalidPoint(f"expected layers to be a list of at most {limit}, got {got}")
    extent, vector = max(genome["input"][1:], default=1), False
    for position, layer in enumerate(layers):
        where = f"layers[{position}]"
        kind = layer.get("kind") if isinstance(layer, Mapping) else None
        check_choice(f"{where}.kind", kind, tuple(kinds))
        if vector and kind != "dense":
            raise InvalidPoint(f"expected only dense layers after a dense one, got {where}.kind: {kind!r}; move it up")
        vector = kind == "dense"
        genes = kinds[str(kind)]
        check_keys(where, layer, ("kind", *genes))
        for gene, choices in genes.items():
            if not is_choice(layer[gene], choices):
                check_choice(f"{where}.{gene}", layer[gene], choices)
        for gene in PLACED:
            if gene in genes and not allowed(gene, layer[gene], position, extent):
                raise InvalidPoint(
                    f"{where}.{gene}: {layer[gene]!r} does not fit maps of {extent} pixels after {position} layers; "
                    "make it smaller"
                )
        extent = -(-extent // layer["stride"]) if kind == "conv" else extent // layer.get("size", 1)


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


def check_choice(name: str, value: Any, choices: Choices) -> None:
    """Raise InvalidPoint, with the name in its message, unless the value is one of the choices; see `is_choice`."""
    if not is_choice(value, choices):
        raise InvalidPoint(f"expected {name} to be one of {list(choices)}, got {value!r}")


def is_choice(value: Any, choices: Choices) -> bool:
    """Whether a value is one of the choices, where types count as torch sees them.

    0 for 0.0 will do, but neither 16.0 nor true for an integer.
    """
    same = type(value) is type(choices[0]) or (type(value), type(choices[0])) == (int, float)
    return same and value in choices
