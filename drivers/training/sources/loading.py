"""Data of a source, read once in each process for as long as its files do not change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from matloop.drivers.training.data import Data
from matloop.drivers.training.sources.registry import source as source_of
from matloop.drivers.training.sources.registry import source_from
from matloop.drivers.training.sources.source import Options, Source


def load(given: Path | Mapping[str, Any] | Source) -> Data:
    """What `source` stands for, read.

    Raises:
        OSError: files that are missing.
        ValueError: no row can be used.
    """
    source = source_of(given)
    if not isinstance(source, Options):
        return source.read()
    state = tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in source.files())
    return _load(json.dumps({"kind": source.name, **source.stated()}, sort_keys=True), state)


@lru_cache(maxsize=2)
def _load(settings: str, state: tuple[tuple[str, int, int], ...]) -> Data:
    return source_from(json.loads(settings)).read()
