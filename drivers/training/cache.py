"""Data read once per machine: arrays in files that all processes of the machine map into memory and share.

A source is read by the first process that needs it, while others wait at a lock. What it read lies in a folder that is
named by the content of its files and by its options. The folder appears under its name when it is whole, so that a
process may die at any time. Old folders are removed when all together are larger than the limit.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock

from matloop.drivers.training.data import Data
from matloop.search_spaces.networks.graph.graphs import Graphs

LIMIT_GB = 50.0
"""Usual size of all folders together; the variable MATLOOP_CACHE_GB sets another."""

HASHED = 2**28
"""Bytes of files up to which their contents are hashed; of more, name, size and time of change of each."""

_LARGE = 2**22  # bytes
_SLOW_S = 1.0
_ABANDONED_S = 86_400.0
_COLUMNS = ("y", "ids", "groups", "group_names", "parts", "time")


def folder() -> Path:
    """Where the cache is: MATLOOP_CACHE, or `matloop` in the user's folder of caches."""
    if given := os.environ.get("MATLOOP_CACHE"):
        return Path(given).expanduser() / "data"
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", tempfile.gettempdir())) / "matloop" / "data"
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "matloop" / "data"


def key(options: str, files: Sequence[Path], reader: type) -> str:
    """Name of the folder for a source's options, its files' places and content, and the program that reads them.

    Args:
        options: of the source.
        files: that it reads, in order.
        reader: its class.

    Raises:
        OSError: a file is missing.
    """
    states = [(file, file.stat()) for file in files]
    digest = hashlib.sha256(f"{_program(reader)}\0{options}\0{len(files)}".encode())
    small = sum(state.st_size for _, state in states) <= HASHED
    for file, state in states:
        digest.update(b"\0%b\0%d\0" % (os.fsencode(file), state.st_size))  # a file's folder may be its class
        digest.update(_hash(file) if small else b"%d" % state.st_mtime_ns)
    return digest.hexdigest()[:40]


def saved(name: str) -> Data | None:
    """What is there under that name, mapped into memory; None if there is nothing, or it is damaged."""
    place = folder() / name
    try:
        notes = json.loads((place / "notes.json").read_text(encoding="utf-8"))
        arrays = {
            array: np.load(place / f"{array}.npy", mmap_mode="r", allow_pickle=False) for array in notes["arrays"]
        }
        with suppress(OSError):  # when it was last used; another user's is not ours to touch
            os.utime(place)
    except (OSError, ValueError, KeyError, EOFError):
        return None
    x: Any = _graphs(arrays) if "nodes" in arrays else arrays["x"]
    columns = {column: np.asarray(arrays[column]) if column != "y" else arrays[column] for column in _COLUMNS
               if column in arrays}  # fmt: skip
    return Data(
        x=x,
        names=tuple(notes["names"]),
        problems=tuple(notes["problems"]),
        known=notes["known"],
        path=Path(notes["path"]),
        **columns,
    )


def save(name: str, data: Data) -> None:
    """Write data under a name, whole or not at all.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    root = folder()
    root.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=root))
    try:
        arrays = _arrays(data)
        for array, values in arrays.items():
            np.save(partial / f"{array}.npy", values, allow_pickle=False)
        notes = {
            "arrays": list(arrays),
            "names": list(data.names),
            "problems": list(data.problems),
            "known": dict(data.known),
            "path": str(data.path),
        }
        (partial / "notes.json").write_text(json.dumps(notes), encoding="utf-8")
        with suppress(OSError):
            shutil.rmtree(root / name)  # a damaged one
        partial.replace(root / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shrink(keep=name)


def lock(name: str) -> FileLock:
    """Held by the one that reads a source; there are sixteen, so that they do not pile up.

    Raises:
        OSError: the cache cannot be written.
    """
    root = folder()
    root.mkdir(parents=True, exist_ok=True)
    return FileLock(root / f".{name[0]}.lock")


def pays(data: Data, seconds: float) -> bool:
    """Whether data are large, or were slow to be read, so that they are worth being shared."""
    size = sum(values.nbytes for values in _arrays(data).values())
    return size >= _LARGE or seconds >= _SLOW_S


def shrink(*, keep: str = "") -> None:
    """Remove the folders that were not used for longest, until all together are within the limit.

    Args:
        keep: one that stays in any case.
    """
    limit = float(os.environ.get("MATLOOP_CACHE_GB", LIMIT_GB)) * 1e9
    found = []
    for place in folder().iterdir():
        with suppress(OSError):  # another process removes it, too
            if place.name.startswith(".partial-") and time.time() - place.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(place, ignore_errors=True)
            elif place.is_dir() and not place.name.startswith("."):
                size = sum(file.stat().st_size for file in place.iterdir())
                found.append((place.stat().st_mtime, size, place))
    total = sum(size for _, size, _ in found)
    for _, size, place in sorted(found):
        if total <= limit:
            break
        if place.name != keep:
            shutil.rmtree(place, ignore_errors=True)  # who has it mapped keeps it
            total -= size


@cache
def _program(reader: type) -> str:
    """Of the code that makes data of files: what another version has read is not taken for the same."""
    here = Path(__file__).parent
    spaces = here.parents[1] / "search_spaces" / "formulas"
    own = inspect.getsourcefile(reader)
    files = {*here.glob("*.py"), *(here / "sources").glob("*.py"), *spaces.glob("*.py"), *([Path(own)] if own else [])}
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(_hash(file))
    return digest.hexdigest()


def _hash(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def _arrays(data: Data) -> dict[str, npt.NDArray[Any]]:
    columns = {name: getattr(data, name) for name in _COLUMNS if getattr(data, name) is not None}
    if isinstance(data.x, Graphs):
        return {name: getattr(data.x, name).numpy() for name in Graphs.__slots__} | columns
    return {"x": data.x, **columns}


def _graphs(arrays: dict[str, npt.NDArray[Any]]) -> Graphs:
    """Tensors on mapped memory, which are only read."""
    return Graphs(**{name: _tensor(arrays[name]) for name in Graphs.__slots__})


def _tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it cannot be written
        return torch.from_numpy(array)
