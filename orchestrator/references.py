"""What references of a search are called, wherever they are trained, chosen or shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

WINNER = "winner"
"""The network that the search has found, trained beside its references."""

REFERENCES = "references"
"""Kind of the space, the driver and the strategy of a study of references."""


def is_of_references(study: Mapping[str, Any]) -> bool:
    """Whether a study trains references, whose points say all that is done and which nothing is built on.

    Args:
        study: its part of a campaign, as on record.
    """
    space = study.get("space")
    return isinstance(space, Mapping) and space.get("kind") == REFERENCES


def kind_and_options(given: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Of a reference as a campaign names it: `NAME`, or `{kind: NAME, option: value}`."""
    if isinstance(given, str):
        return given, {}
    return str(given.get("kind", "")), {key: value for key, value in given.items() if key != "kind"}


def name(given: str | Mapping[str, Any]) -> str:
    """Its name: the kind, and the options that the campaign sets as JSON."""
    kind, options = kind_and_options(given)
    return f"{kind} {json.dumps(options, sort_keys=True)}" if options else kind


def led_to(search: str, strategies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A search and the earlier studies that its strategy was told of, such as short trainings before long ones.

    Args:
        search: name of the study.
        strategies: options of every study's strategy, as a campaign file has them, by the study's name.

    Returns:
        Names, that of the search first.
    """
    found = [search]
    for name in found:  # grows meanwhile
        data = strategies[name].get("data")
        given = data.get("from") if isinstance(data, Mapping) else None
        named: list[str] = given if isinstance(given, list) else [given] if given else []
        found += [study for study in named if study in strategies and study not in found]
    return found
