"""Which function serves the networks of a family, looked up by name so that only the family in use is imported."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from matloop.orchestrator.errors import InvalidPoint


def serve(genome: Mapping[str, Any], default: Callable[..., Any], families: Mapping[str, str]) -> Callable[..., Any]:
    """The function for a genome's family.

    Args:
        genome: its key `family` names one; genomes without it belong to the default.
        default: serves those without one.
        families: "module:function" for each other family.

    Raises:
        InvalidPoint: no such family.
    """
    family = genome.get("family")
    if family is None:
        return default
    if family not in families:
        raise InvalidPoint(f"expected family to be one of {sorted(families)} or none, got {family!r}")
    module, _, function = families[family].partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found
