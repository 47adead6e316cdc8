"""Arrays in an .npz: x or a set of graphs, y, and what is known of each row."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from matloop.drivers.training import graphs
from matloop.drivers.training.data import Data, data
from matloop.drivers.training.sources.source import New, Options
from matloop.search_spaces.networks.graph.graphs import Graphs

OF_ROWS = ("ids", "groups", "parts", "time")
"""Arrays that say something of each row."""

_CHANNELS = 4  # most that a last axis is taken for


@dataclass(frozen=True, kw_only=True)
class Npz(Options):
    """An .npz with x (n, features) or (n, channels, ...), or the arrays of graphs, and y.

    Optionally `names` of the targets or classes, and of each row: `ids`, `groups` (equal for rows that belong together,
    such as tiles of one micrograph), `parts` ("train", "validation", "test") and `time`.

    Args:
        path: the file.
        transpose: whether channels come last in x, and are to be moved before the places; unsaid, x is refused if it
            looks so.
    """

    kind: ClassVar[str] = "npz"
    path: Path
    transpose: bool | None = None

    def read(self) -> Data:
        """See `Source`."""
        arrays = _arrays(self.path)
        for name in ("x", "y"):
            if name not in arrays and not (name == "x" and "nodes" in arrays):
                raise ValueError(
                    f"expected arrays x and y in {self.path}, got {sorted(arrays)}; "
                    "save it with np.savez(path, x=x, y=y)"
                )
        of_rows: dict[str, Any] = {name: arrays[name] for name in OF_ROWS if name in arrays}
        known = {*OF_ROWS, *graphs.ARRAYS, "x", "y", "names"}
        return data(
            self._x(arrays, self.path),
            arrays["y"],
            path=self.path,
            names=arrays.get("names", ()),
            problems=[_unknown(name, arrays[name], len(arrays["y"])) for name in sorted({*arrays} - known)],
            **of_rows,
        )

    def inputs(self, new: Any) -> New:
        """See `Source`.

        Args:
            new: an .npz with x or graphs, and perhaps `ids`; or an array (n, *input).
        """
        if isinstance(new, str | Path):
            arrays = _arrays(Path(new))
            x, path = self._x(arrays, Path(new)), Path(new)
        else:
            arrays, path = {}, Path("the array")
            x = self._turned(np.asarray(new), path)
        n = len(x)
        ids = arrays["ids"].astype(np.str_) if "ids" in arrays else np.arange(n).astype(np.str_)
        return New(x, ids)

    def files(self) -> list[Path]:
        """See `Source`."""
        if not self.path.exists():
            raise FileNotFoundError(f"expected training data in {self.path}, found no such file; correct `data`")
        return [self.path]

    def learnt(self) -> dict[str, Any]:
        """Nothing needs to be."""
        return {}

    def _x(self, arrays: dict[str, npt.NDArray[Any]], path: Path) -> npt.NDArray[Any] | Graphs:
        if "nodes" in arrays:
            return graphs.read(arrays, path)
        if "x" not in arrays:
            raise ValueError(f"expected an array x in {path}, got {sorted(arrays)}")
        return self._turned(arrays["x"], path)

    def _turned(self, x: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
        if self.transpose:
            return np.ascontiguousarray(np.moveaxis(x, -1, 1))
        if self.transpose is None and channels_last(x.shape):
            shape = (x.shape[0], x.shape[-1], *x.shape[1:-1])
            raise ValueError(
                f"expected x (n, channels, ...) in {path}, got {x.shape}, which looks as if channels came last; say "
                f"`data: {{kind: npz, path: {path.name}, transpose: true}}` for x {shape}, or `transpose: false` to "
                "take it as it is"
            )
        return x


def channels_last(shape: tuple[int, ...]) -> bool:
    """Whether (n, ...) looks like (n, *places, channels): few at the end, and more everywhere before."""
    return len(shape) > 2 and shape[-1] <= _CHANNELS < min(shape[1:-1])


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        opened = np.load(path, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            raise ValueError(f"a single array {opened.shape}; np.savez(path, x=x, y=y) writes several")
        with opened as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise FileNotFoundError(f"expected training data in {path}, found no such file; correct `data`") from error
    except (ValueError, zipfile.BadZipFile, AttributeError, EOFError) as error:
        raise ValueError(f"expected {path} to be an .npz of plain arrays x and y, got: {error}") from error


def _unknown(name: str, array: npt.NDArray[Any], n: int) -> str:
    """What to say of an array that nothing is made of."""
    text = f"the array {name!r} {array.shape} is not used"
    if array.shape == (n,) and array.dtype.kind in "iuUS" and len(np.unique(array)) < n:
        return f"{text}; if rows with equal values belong together, save it as `groups`"
    return text
