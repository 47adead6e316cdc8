"""What reads training data of one kind, and later new inputs of the same kind for a trained network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.data import Data
from matloop.orchestrator.errors import MissingExtra
from matloop.search_spaces.networks.graph.graphs import Graphs


@dataclass(frozen=True, slots=True)
class Extent:
    """Where rows lie that are tiles of larger arrays, such as whole micrographs.

    Attributes:
        wholes: names of the w arrays that were cut.
        shapes: (w, d) int64, their sizes along the d axes of places.
        whole: (n,) int64, the number of the array that a row was cut from.
        corner: (n, d) int64, its first place along each axis.
    """

    wholes: tuple[str, ...]
    shapes: npt.NDArray[np.int64]
    whole: npt.NDArray[np.int64]
    corner: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class New:
    """Inputs that are to be predicted.

    Attributes:
        x: (n, *input) as `Data.x`, or n graphs.
        ids: (n,) str.
        problems: what was left out, each with file, row and reason.
        extent: where the rows lie if they are tiles; else None.
        unknown: (n,) what each row has that no row of the training data had, such as an element, in words, or "".
            Empty where nothing of the kind is looked for.
    """

    x: npt.NDArray[Any] | Graphs
    ids: npt.NDArray[np.str_]
    problems: tuple[str, ...] = ()
    extent: Extent | None = None
    unknown: tuple[str, ...] = ()


@runtime_checkable
class Source(Protocol):
    """Training data of one kind. It holds settings, not data, because a driver travels with every submission."""

    def read(self) -> Data:
        """All rows that can be used; the others are in `Data.problems`.

        Raises:
            OSError: something is missing.
            ValueError: no row can be used, or what is there is of another kind.
            MissingExtra: an optional package is missing.
        """
        ...

    def inputs(self, new: Any) -> New:
        """Inputs made of new files, tables or arrays as those of `read` were; no targets are needed.

        Raises:
            ValueError: nothing of it can be used.
        """
        ...

    def settings(self) -> dict[str, Any]:
        """JSON-able; `source_from` makes a source of it that gives equal `inputs`, without the data, on any machine."""
        ...

    def files(self) -> list[Path]:
        """All files that `read` reads, in a fixed order."""
        ...


@dataclass(frozen=True, kw_only=True)
class Options:
    """What sources share: options as fields, and what they learnt from the data.

    Attributes:
        known: see `Data.known`; filled in where a source is made of `settings`.
    """

    kind: ClassVar[str]
    shared: ClassVar[bool] = True
    """Whether what is read depends on the options and on `files` alone, so that processes may share it."""
    known: Mapping[str, Any] | None = None

    def settings(self) -> dict[str, Any]:
        """See `Source`."""
        return {"kind": self.name, **self.stated(), "known": dict(self.learnt())}

    def stated(self) -> dict[str, Any]:
        """Options as the campaign file has them, those that are None left out."""
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "known"}
        return {name: plain(value) for name, value in given.items() if value is not None}

    @property
    def name(self) -> str:
        """The kind as the campaign file has it."""
        return self.kind

    def learnt(self) -> Mapping[str, Any]:
        """What reading the data has taught."""
        if self.known is not None:
            return self.known
        from matloop.drivers.training.sources.loading import load

        return load(self).known  # type: ignore[arg-type]  # a source, but for what its kind adds


@contextmanager
def optional(package: str) -> Iterator[None]:
    """For the import of a package that not everybody has.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtra(package) from error


def plain(value: Any) -> Any:
    """As JSON holds it: paths as text, tuples as lists."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
