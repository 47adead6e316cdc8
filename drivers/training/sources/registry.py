"""Kinds of sources by name; the module of a kind is imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from matloop.drivers.training.components import made
from matloop.drivers.training.sources.source import Source
from matloop.orchestrator.options import Components

_HERE = "matloop.drivers.training.sources"

KINDS = Components(
    kinds={
        "crystals": f"{_HERE}.crystals:Crystals",
        "formulas": f"{_HERE}.formulas:Formulas",
        "hdf5": f"{_HERE}.stores:Hdf5",
        "images": f"{_HERE}.images:Images",
        "npz": f"{_HERE}.npz:Npz",
        "signals": f"{_HERE}.signals:Signals",
        "study": f"{_HERE}.study:Study",
        "table": f"{_HERE}.table:Table",
        "volumes": f"{_HERE}.volumes:Volumes",
        "zarr": f"{_HERE}.stores:Zarr",
    },
    function=f"{_HERE}.function:Function",
)
"""Beside these, "module:Class" of a source, and "module:function" that returns arrays."""

PATHS = ("path", "table", "masks", "labels")
"""Options that name files or folders."""


def source(given: Path | str | Mapping[str, Any] | Source) -> Source:
    """The source that is meant by a path, which is an .npz, by a mapping with `kind`, or by itself.

    Raises:
        ConfigError: no such kind, or options that it does not have.
    """
    if isinstance(given, Path | str):
        given = {"kind": "npz", "path": given}
    if not isinstance(given, Mapping):
        return given
    paths = {name: Path(given[name]) for name in PATHS if isinstance(given.get(name), str)}
    known = given.get("kind") in KINDS.kinds
    return cast(Source, made("source", KINDS, {**given, **(paths if known else {})}))


def source_from(settings: Mapping[str, Any]) -> Source:
    """The source that `settings` are of; as good as the first for `inputs`.

    Raises:
        ConfigError: they are of no source.
    """
    return source(settings)
