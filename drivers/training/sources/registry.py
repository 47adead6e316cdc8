"""Kinds of sources by name; the module of a kind is imported when it is used."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from matloop.drivers.training.sources.source import Source
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import Components

KINDS = Components(
    kinds={
        "npz": "matloop.drivers.training.sources.npz:Npz",
    },
    function="matloop.drivers.training.sources.function:Function",
)
"""Beside these, "module:Class" of a source, and "module:function" that returns arrays."""


def source(given: Path | str | Mapping[str, Any] | Source) -> Source:
    """The source that is meant by a path, which is an .npz, by a mapping with `kind`, or by itself.

    Raises:
        ConfigError: no such kind, or options that it does not have.
    """
    if isinstance(given, Path | str):
        given = {"kind": "npz", "path": Path(given)}
    if isinstance(given, Mapping):
        return _made(dict(given))
    return given


def source_from(settings: Mapping[str, Any]) -> Source:
    """The source that `settings` are of; as good as the first for `inputs`.

    Raises:
        ConfigError: they are of no source.
    """
    return _made(dict(settings))


def _made(options: dict[str, Any]) -> Source:
    kind = options.pop("kind", None)
    if not isinstance(kind, str):
        raise ConfigError(f"expected `kind:` with the data, one of {', '.join(KINDS.kinds)}, got {kind!r}", at="kind")
    target = _imported(kind)
    if not inspect.isclass(target):
        options.pop("known", None)
        return cast(Source, _imported(KINDS.function)(function=kind, arguments=options))
    try:
        inspect.signature(target).bind(**options)
    except TypeError as error:
        raise ConfigError(f"expected options of the source {kind!r}, got {sorted(options)}: {error}") from error
    paths = {name: Path(value) for name, value in options.items() if name == "path" and isinstance(value, str)}
    return cast(Source, target(**options | paths))


def _imported(kind: str) -> Any:
    path = KINDS.kinds.get(kind, kind)
    module, _, name = path.partition(":")
    if not name:
        raise ConfigError(
            f"expected `kind:` to be one of {', '.join(KINDS.kinds)} or 'module:function', got {kind!r}", at="kind"
        )
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"cannot import the source {kind!r}: {error}", at="kind") from error
