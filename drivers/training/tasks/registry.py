"""Kinds of tasks by name; the module of a kind is imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, cast

from matloop.drivers.training.components import made
from matloop.drivers.training.tasks.task import Aim
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import Components

_HERE = "matloop.drivers.training.tasks"

KINDS = Components(
    kinds={
        "regression": f"{_HERE}.numbers:Regression",
        "field": f"{_HERE}.numbers:Field",
        "node": f"{_HERE}.node:Node",
        "classification": f"{_HERE}.classes:Classification",
        "segmentation": f"{_HERE}.classes:Segmentation",
        "orientation": f"{_HERE}.orientation:Orientation",
    }
)
"""Beside these, "module:Class" of an `Aim`."""


def aim(given: str | Mapping[str, Any] | Aim) -> Aim:
    """The task that is meant by a name, by a mapping with `kind` and options, or by itself.

    Raises:
        ConfigError: no such kind, or options that it does not have.
    """
    if isinstance(given, str):
        if given not in KINDS.kinds and ":" not in given:
            raise ConfigError(f'expected task: one of {list(KINDS.kinds)} or "module:Class", got {given!r}')
        given = {"kind": given}
    return cast(Aim, made("task", KINDS, given) if isinstance(given, Mapping) else given)


def targeted(aim: Aim, target: int | str) -> Aim:
    """The same task for one column or name of several.

    Raises:
        ConfigError: it is not of numbers, or has a target already.
    """
    if getattr(aim, "target", target) is not None:
        raise ConfigError(
            f"expected target: only with numbers to predict, got {target!r} with {aim.kind}; remove it", at="target"
        )
    found = copy(aim)
    found.target = target  # type: ignore[attr-defined]
    return found
