"""Two sources as one: the second has the rows to test with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.data import Data, joined
from matloop.drivers.training.sources.source import New, Options, Source
from matloop.drivers.training.sources.twins import common
from matloop.search_spaces.networks.graph.graphs import Graphs
from matloop.search_spaces.networks.graph.graphs import joined as together


@dataclass(frozen=True, kw_only=True)
class WithTest(Options):
    """The rows of one source, and those of another to test with, read as the first were.

    Args:
        first: rows to train on and to validate with.
        test: rows to test with.
    """

    kind: ClassVar[str] = "with_test"
    first: Source
    test: Source

    @property
    def shared(self) -> bool:  # type: ignore[override]
        """See `Options`."""
        return all(isinstance(source, Options) and source.shared for source in (self.first, self.test))

    def read(self) -> Data:
        """See `Source`.

        Raises:
            ValueError: the two do not fit each other.
        """
        first = self.first.read()
        test = self.test
        if isinstance(test, Options) and test.kind == getattr(self.first, "kind", None):
            test = dataclasses.replace(test, known=dict(first.known))
        other = test.read()
        if isinstance(first.x, Graphs) != isinstance(other.x, Graphs) or first.x.shape[1:] != other.x.shape[1:]:
            raise ValueError(
                f"expected inputs {tuple(first.x.shape[1:])} in the test data {other.path}, as in {first.path}, "
                f"got {tuple(other.x.shape[1:])}"
            )
        y, names = _renumbered(other, first), _names(first, other)
        if y.shape[1:] != first.y.shape[1:]:
            raise ValueError(f"expected y {('n', *first.y.shape[1:])} in {other.path}, got {('n', *y.shape[1:])}")
        return Data(
            x=_both(first.x, other.x),
            y=np.concatenate([first.y, y]),
            ids=np.concatenate([first.ids, [f"test: {name}" for name in other.ids]]),
            groups=None if names is None else joined(names),
            group_names=names,
            parts=np.array(_parts(first) + ["test"] * len(other), dtype=np.str_),
            time=None if first.time is None or other.time is None else np.concatenate([first.time, other.time]),
            names=first.names,
            problems=(*first.problems, *other.problems, *common(first, other)),
            known=first.known,
            path=first.path,
        )

    def inputs(self, new: Any) -> New:
        """See `Source`."""
        return self.first.inputs(new)

    def settings(self) -> dict[str, Any]:
        """Those of the first."""
        return self.first.settings()

    def stated(self) -> dict[str, Any]:
        """See `Options`."""
        return {name: _stated(getattr(self, name)) for name in ("first", "test")}

    def files(self) -> list[Path]:
        """See `Source`."""
        return [*self.first.files(), *self.test.files()]


def _stated(source: Source) -> dict[str, Any]:
    return {"kind": source.name, **source.stated()} if isinstance(source, Options) else source.settings()


def _both(a: npt.NDArray[Any] | Graphs, b: npt.NDArray[Any] | Graphs) -> npt.NDArray[Any] | Graphs:
    return together([a, b]) if isinstance(a, Graphs) and isinstance(b, Graphs) else np.concatenate([a, b])


def _renumbered(other: Data, first: Data) -> npt.NDArray[Any]:
    """Classes of the other by the numbers that the first gives them."""
    if other.names == first.names or not other.names or other.y.dtype.kind == "f":
        return other.y
    if unknown := [name for name in other.names if name not in first.names]:
        raise ValueError(f"expected the classes {list(first.names)} in {other.path}, got {unknown} too")
    return np.array([first.names.index(name) for name in other.names], dtype=np.int64)[other.y]


def _parts(first: Data) -> list[str]:
    return [""] * len(first) if first.parts is None else [str(part) for part in first.parts]


def _names(first: Data, other: Data) -> npt.NDArray[np.str_] | None:
    """By which rows belong together, also one of the first to one of the other; None where the first says nothing."""
    if first.group_names is None:
        return None
    both = [first.group_names, np.zeros((len(other), 0), np.str_) if other.group_names is None else other.group_names]
    columns = max(names.shape[1] for names in both)  # the last ones are the sources' own, such as formulas
    return np.concatenate([np.pad(names, ((0, 0), (columns - names.shape[1], 0))) for names in both])
