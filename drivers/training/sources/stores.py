"""Datasets in an HDF5 file or a Zarr group, by their names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.data import Data, data
from matloop.drivers.training.sources.arrays import OF_ROWS, new_rows, texts, turned
from matloop.drivers.training.sources.source import New, Options, optional

NAMES = (*OF_ROWS, "names")


@dataclass(frozen=True, kw_only=True)
class Store(Options):
    """What both have in common.

    Args:
        path: of the file or the folder.
        x: name of the inputs (n, features) or (n, channels, ...), with slashes where it lies in groups.
        y: name of the targets.
        ids, groups, parts, time, names: names of datasets that say something of each row, or name targets or classes;
            those that are called so need not be named.
        transpose: whether channels come last in x; unsaid, x is refused if it looks so.
        channel: whether x has no axis of channels and is to get one, as (n, height, width) images.
    """

    path: Path
    x: str = "x"
    y: str = "y"
    ids: str | None = None
    groups: str | None = None
    parts: str | None = None
    time: str | None = None
    names: str | None = None
    transpose: bool | None = None
    channel: bool = False

    def read(self) -> Data:
        """See `Source`."""
        with self._opened(self.path) as store:
            known = _listed(store)
            asked = {name: getattr(self, name) for name in NAMES if getattr(self, name)}
            if missing := [name for name in (self.x, self.y, *asked.values()) if not _holds(store, name)]:
                raise ValueError(f"expected the datasets {missing} in {self.path}, got {known}; name them with `x:`, …")
            said: dict[str, Any] = {name: texts(np.asarray(store[asked.get(name, name)])) for name in NAMES
                    if name in asked or name in known}  # fmt: skip
            return data(self._inputs(store, self.path), texts(np.asarray(store[self.y])), path=self.path, **said)

    def inputs(self, new: Any) -> New:
        """See `Source`.

        Args:
            new: a file or folder of the same kind with x, and perhaps ids; or an array (n, *input).
        """
        if not isinstance(new, str | Path):
            path = Path("the array")
            return new_rows(self._formed(np.asarray(new), path), None, path)
        with self._opened(Path(new)) as store:
            known, ids = _listed(store), self.ids or "ids"
            if not _holds(store, self.x):
                raise ValueError(f"expected the dataset {self.x!r} in {new}, got {known}")
            found = texts(np.asarray(store[ids])) if ids in known else None
            return new_rows(self._inputs(store, Path(new)), found, Path(new))

    def learnt(self) -> dict[str, Any]:
        """Nothing needs to be."""
        return {}

    @abstractmethod
    def files(self) -> list[Path]:
        """See `Source`."""

    @abstractmethod
    def _opened(self, path: Path) -> Any: ...

    def _inputs(self, store: Any, path: Path) -> npt.NDArray[Any]:
        return self._formed(np.asarray(store[self.x]), path)

    def _formed(self, x: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
        return x[:, None] if self.channel else turned(x, self.transpose, path, self.kind)


@dataclass(frozen=True, kw_only=True)
class Hdf5(Store):
    """Datasets of an HDF5 file, also in groups; options as `Store`."""

    kind: ClassVar[str] = "hdf5"

    def files(self) -> list[Path]:
        """See `Source`."""
        return [self.path]

    @contextmanager
    def _opened(self, path: Path) -> Iterator[Any]:
        with optional("h5py"):
            import h5py
        if not path.is_file():
            raise FileNotFoundError(f"expected an HDF5 file {path}, found none; correct `path`")
        try:
            with h5py.File(path, "r") as file:
                yield file
        except OSError as error:
            raise ValueError(f"expected an HDF5 file in {path}, got: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Zarr(Store):
    """Arrays of a Zarr group, also in groups; options as `Store`."""

    kind: ClassVar[str] = "zarr"

    def files(self) -> list[Path]:
        """See `Source`."""
        return sorted(path for path in self.path.rglob("*") if path.is_file()) if self.path.is_dir() else [self.path]

    @contextmanager
    def _opened(self, path: Path) -> Iterator[Any]:
        with optional("zarr"):
            import zarr
        if not path.exists():
            raise FileNotFoundError(f"expected a Zarr group {path}, found none; correct `path`")
        try:
            opened = zarr.open(str(path), mode="r")
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"expected a Zarr group in {path}, got: {error}") from error
        if not isinstance(opened, zarr.Group):
            raise ValueError(f"expected a Zarr group with x and y in {path}, got a single array {opened.shape}")
        yield _Arrays(opened)


class _Arrays(Mapping[str, Any]):
    """Arrays of a Zarr group and the groups in it, by their places."""

    def __init__(self, group: Any) -> None:
        self._found = dict(_walk(group, ""))

    def __getitem__(self, name: str) -> Any:
        return self._found[name][:]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def _walk(group: Any, place: str) -> Iterator[tuple[str, Any]]:
    yield from ((f"{place}{name}", array) for name, array in group.arrays())
    for name, inner in group.groups():
        yield from _walk(inner, f"{place}{name}/")


def _holds(store: Any, name: str) -> bool:
    """Whether there is a dataset, or a link to one."""
    if isinstance(store, _Arrays):
        return name in store
    return hasattr(store.get(name), "shape")  # a link may lead to nothing


def _listed(store: Any) -> list[str]:
    """Names of all datasets."""
    if isinstance(store, _Arrays):
        return sorted(store)
    found: list[str] = []
    store.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
    return sorted(found)


def shapes(store: Store) -> dict[str, tuple[int, ...]]:
    """Shapes of all datasets by name."""
    with store._opened(store.path) as opened:
        return {name: tuple(opened[name].shape) for name in _listed(opened)}
