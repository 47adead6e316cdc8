"""Data of a source, read once on each machine for as long as its files do not change."""

from __future__ import annotations

import dataclasses
import json
import pickle
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from matloop.drivers.training import cache
from matloop.drivers.training.data import Data
from matloop.drivers.training.sources.registry import source as source_of
from matloop.drivers.training.sources.source import Options, Source


def load(given: Path | Mapping[str, Any] | Source) -> Data:
    """What `source` stands for, read.

    Raises:
        OSError: files that are missing.
        ValueError: no row can be used.
    """
    source = source_of(given)
    return _load(_Keyed(source))


class _Keyed:
    """A source that equals others with the same options, as long as its files are the same."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.shared = isinstance(source, Options) and source.shared
        self.key = (_options(source), _state(source))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and self.key == other.key


@lru_cache(maxsize=2)
def _load(keyed: _Keyed) -> Data:
    source = keyed.source
    if not keyed.shared:
        return source.read()
    name = cache.key(keyed.key[0], source.files(), type(source))
    if (found := cache.saved(name)) is not None:
        return found
    try:
        with cache.lock(name):  # one reads, the others wait
            return cache.saved(name) or _read(keyed, name)
    except (OSError, NotImplementedError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        return _not_kept(source.read(), error)


def _read(keyed: _Keyed, name: str) -> Data:
    began = time.perf_counter()
    data = keyed.source.read()
    if not cache.pays(data, time.perf_counter() - began) or _state(keyed.source) != keyed.key[1]:
        return data  # what has changed meanwhile is not what the name says
    try:
        cache.save(name, data)
    except OSError as error:
        return _not_kept(data, error)
    return cache.saved(name) or data


def _not_kept(data: Data, error: Exception) -> Data:
    """The same, with a word on the memory that it costs where it is worth one."""
    if not cache.pays(data, 0.0):
        return data
    text = f"each process has a copy of the data in memory, as {cache.folder()} cannot be written: {error}"
    return dataclasses.replace(data, problems=(*data.problems, text))


def _options(source: Source) -> str:
    """What tells sources apart, without reading anything."""
    if isinstance(source, Options):
        return json.dumps({"kind": source.name, **source.stated()}, sort_keys=True)
    return pickle.dumps(source).hex()  # as it travels to workers


def _state(source: Source) -> tuple[tuple[str, int, int], ...]:
    """What tells that a file has changed."""
    found = []
    for file in source.files():
        try:
            state = file.stat()
        except FileNotFoundError as error:
            raise FileNotFoundError(f"expected data in {file}, found no such file; correct `data`") from error
        found.append((str(file), state.st_mtime_ns, state.st_size))
    return tuple(found)
