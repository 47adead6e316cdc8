"""Parts of a driver that are given as a mapping with `kind`: their class is found by name and given the options."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import Components


def made(what: str, known: Components, given: Mapping[str, Any]) -> Any:
    """The part that a mapping describes, as the campaign file or Python has it.

    Args:
        what: for messages.
        known: kinds.
        given: `kind` and the options of its constructor.

    Raises:
        ConfigError: no such kind, or options that it does not have.
    """
    options = dict(given)
    kind = options.pop("kind", None)
    if not isinstance(kind, str):
        raise ConfigError(f"expected `kind:` with the {what}, one of {_kinds(known)}, got {kind!r}", at="kind")
    target = imported(what, known, kind)
    if not inspect.isclass(target):
        options.pop("known", None)
        return imported(what, known, known.function)(function=kind, arguments=options)
    try:
        inspect.signature(target).bind(**options)
    except TypeError as error:
        raise ConfigError(f"expected options of the {what} {kind!r}, got {sorted(options)}: {error}") from error
    return target(**options)


def imported(what: str, known: Components, kind: str) -> Any:
    """The class or function of a kind.

    Raises:
        ConfigError: there is none.
    """
    module, _, name = known.kinds.get(kind, kind).partition(":")
    if not name:
        raise ConfigError(f"expected the {what} to be one of {_kinds(known)}, got {kind!r}", at="kind")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"cannot import the {what} {kind!r}: {error}", at="kind") from error
    if not inspect.isclass(found) and not known.function:
        raise ConfigError(f"expected the {what} to be a class, got the function {kind!r}", at="kind")
    return found


def _kinds(known: Components) -> str:
    return f"{', '.join(known.kinds)} or 'module:{'function' if known.function else 'Class'}'"
