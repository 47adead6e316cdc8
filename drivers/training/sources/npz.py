"""Arrays in an .npz: x or a set of graphs, y, and what is known of each row."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from matloop.drivers.training import graphs
from matloop.drivers.training.data import Data, data
from matloop.drivers.training.sources.arrays import OF_ROWS, complaint, new_rows, said, turned, unused
from matloop.drivers.training.sources.source import New, Options
from matloop.search_spaces.networks.graph.graphs import Graphs


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
        arrays = arrays_of(self.path)
        for name in ("x", "y"):
            if name not in arrays and not (name == "x" and "nodes" in arrays):
                raise ValueError(
                    f"expected arrays x and y in {self.path}, got {sorted(arrays)}; "
                    "save it with np.savez(path, x=x, y=y)"
                )
        known = {*OF_ROWS, *graphs.ARRAYS, "x", "y", "names"}
        return data(
            self._x(arrays, self.path),
            arrays["y"],
            path=self.path,
            names=arrays.get("names", ()),
            problems=[unused(name, arrays[name], len(arrays["y"])) for name in sorted({*arrays} - known)],
            **said(arrays),
        )

    def inputs(self, new: Any) -> New:
        """See `Source`.

        Args:
            new: an .npz with x or graphs, and perhaps `ids`; or an array (n, *input).
        """
        if isinstance(new, str | Path):
            arrays, path = arrays_of(Path(new)), Path(new)
        else:
            arrays, path = {"x": np.asarray(new)}, Path("the array")
        x = self._x(arrays, path)
        ids = arrays.get("ids")
        if not isinstance(x, Graphs):
            return new_rows(x, ids, path)
        return New(x, np.asarray(np.arange(len(x)) if ids is None else ids).astype(np.str_))

    def files(self) -> list[Path]:
        """See `Source`."""
        return [self.path]

    def learnt(self) -> dict[str, Any]:
        """Nothing needs to be."""
        return {}

    def _x(self, arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> npt.NDArray[Any] | Graphs:
        if "nodes" in arrays:
            return graphs.read(arrays, path)
        if "x" not in arrays:
            raise ValueError(f"expected an array x in {path}, got {sorted(arrays)}")
        return turned(arrays["x"], self.transpose, path, self.kind)


def arrays_of(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a file by name.

    Raises:
        ValueError: it is no .npz, or holds objects.
        FileNotFoundError: there is none.
    """
    try:
        opened = np.load(path, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            raise ValueError(f"a single array {opened.shape}; np.savez(path, x=x, y=y) writes several")
        with opened as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise FileNotFoundError(f"expected training data in {path}, found no such file; correct `data`") from error
    except (ValueError, zipfile.BadZipFile, AttributeError, EOFError) as error:
        raise ValueError(f"expected {path} to be an .npz of plain arrays x and y, got: {complaint(error)}") from error
