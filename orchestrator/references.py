"""What references of a search are called, wherever they are trained, chosen or shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

WINNER = "winner"
"""The network that the search has found, trained beside its references."""


def kind_and_options(given: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Of a reference as a campaign names it: `NAME`, or `{kind: NAME, option: value}`."""
    if isinstance(given, str):
        return given, {}
    return str(given.get("kind", "")), {key: value for key, value in given.items() if key != "kind"}


def name(given: str | Mapping[str, Any]) -> str:
    """Its name: the kind, and the options that the campaign sets as JSON."""
    kind, options = kind_and_options(given)
    return f"{kind} {json.dumps(options, sort_keys=True)}" if options else kind
