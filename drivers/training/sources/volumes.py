"""Arrays in files, one sample each: volumes, stacks of slices, or anything else with a shape of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.data import Data, data
from matloop.drivers.training.sources.arrays import complaint, new_rows
from matloop.drivers.training.sources.labelled import Labelled, Labels, files, given
from matloop.drivers.training.sources.rows import OfTable
from matloop.drivers.training.sources.source import New, optional
from matloop.drivers.training.sources.twins import together
from matloop.orchestrator.errors import ConfigError, MissingExtra

SUFFIXES = (".npy", ".npz", ".tif", ".tiff", ".h5", ".hdf5")


@dataclass(frozen=True, kw_only=True)
class Volumes(OfTable):
    """A folder of volumes: .npy, .npz, HDF5 or stacks in TIFF; all of one shape, also in folders inside it.

    Without `table` and `labels`, a volume is of the class that its folder is called by.

    Args:
        path: the folder.
        table: CSV or Parquet with a row for each volume.
        file: its column of file names.
        target: its column, or columns, to predict.
        labels: folder of volumes with the same names that hold a class, or a property, of each voxel.
        array: name of the array in .npz and HDF5 files; None where there is one only.
        channels: where the axis of channels is: "none", "first" or "last".
        id: column of the table that names each volume.
        group: column, or several, of the table with equal values in volumes that belong together; without a table, a
            regular expression whose first group in a file's name says so.
        part: column of the table: "train", "validation" and "test".
        time: column of the table: numbers or dates.
    """

    kind: ClassVar[str] = "volumes"
    path: Path
    table: Path | None = None
    file: str = "file"
    target: str | list[str] | None = None
    labels: Path | None = None
    array: str | None = None
    channels: str = "none"

    def __post_init__(self) -> None:
        if self.channels not in ("none", "first", "last"):
            raise ConfigError(f"expected channels: none, first or last, got {self.channels!r}", at="channels")
        if self.table is not None and self.labels is not None:
            raise ConfigError("expected either `table` or `labels`, got both", at="table")

    def read(self) -> Data:
        """See `Source`."""
        found, beside = self._labelled()
        volumes, problems = self._read(found)
        keep = np.array([volume is not None for volume in volumes])
        y = found.y
        if beside is not None:
            of_places = [self._beside(beside[i], volume) for i, volume in enumerate(volumes)]
            for i, labels in enumerate(of_places):
                if isinstance(labels, str):
                    problems[i], keep[i] = labels, False
            y = np.stack([labels for labels in of_places if not isinstance(labels, str)]) if keep.any() else None
        kept = found.kept(keep, [f"{found.names[i]}: {text}; left out" for i, text in sorted(problems.items())])
        if not keep.any():
            raise ValueError(f"expected volumes in {self.path}, got none that can be used: {kept.problems[0]}")
        used = [volume for volume, good in zip(volumes, keep, strict=True) if good and volume is not None]
        x, kinds = np.stack(used), Counter(volume.dtype.name for volume in used)
        if len(kinds) > 1:
            several = ", ".join(f"{count} of {name}" for name, count in kinds.most_common())
            kept.problems.append(f"volumes of several kinds, {several}: all become {x.dtype.name}")
        rows = data(
            x,
            y if beside is not None else kept.y,  # type: ignore[arg-type]
            path=self.path,
            names=kept.classes,
            problems=kept.problems,
            known={"shape": list(x.shape[1:]), "dtype": x.dtype.name},
            **kept.of_rows,
        )
        return together(rows, kept.names)

    def inputs(self, new: Any) -> New:
        """See `Source`.

        Args:
            new: a file, a folder of files, a list of files, or an array (n, *places).
        """
        known = self.learnt()
        if isinstance(new, np.ndarray):
            return new_rows(np.stack([self._formed(volume) for volume in new]), None, Path("the array"))
        paths, names = given(new, SUFFIXES)
        volumes, problems = self._read(Labelled(paths, names), tuple(known["shape"]))
        kept = [(name, volume) for name, volume in zip(names, volumes, strict=True) if volume is not None]
        texts = tuple(f"{names[i]}: {text}; left out" for i, text in sorted(problems.items()))
        if not kept:
            raise ValueError(f"expected volumes, got none that can be used{f': {texts[0]}' if texts else ''}")
        return New(np.stack([volume for _, volume in kept]), np.array([name for name, _ in kept]), texts)

    def files(self) -> list[Path]:
        """See `Source`."""
        found = files(self.path, SUFFIXES)
        if self.labels is not None and self.path not in self.labels.parents:
            found += files(self.labels, SUFFIXES)
        return found + ([self.table] if self.table is not None else [])

    def _labelled(self) -> tuple[Labelled, list[Path] | None]:
        labels = Labels(self.path, SUFFIXES, self.table, self.file, self.target, self.of_rows)
        if self.labels is None:
            beside = ", or `labels`, a folder of volumes with a class of each voxel"
            return (labels.by_folder(beside) if self.table is None else labels.by_table()), None
        every = labels.unlabelled()
        found = every.kept(np.array([self.labels not in path.parents for path in every.files]), [])
        of = {path.relative_to(self.labels).with_suffix("").as_posix(): path for path in files(self.labels, SUFFIXES)}
        paths = [of.get(file.relative_to(self.path).with_suffix("").as_posix()) for file in found.files]
        there = np.array([path is not None for path in paths])
        problems = [
            f"{name}: found no labels of it; left out"
            for name, path in zip(found.names, paths, strict=True)
            if path is None
        ]
        return found.kept(there, problems), [path for path in paths if path is not None]

    def _read(
        self, found: Labelled, shape: tuple[int, ...] | None = None
    ) -> tuple[list[npt.NDArray[Any] | None], dict[int, str]]:
        """Volumes, None where one cannot be used, and why."""
        volumes: list[npt.NDArray[Any] | None] = []
        problems: dict[int, str] = {}
        for i, path in enumerate(found.files):
            try:
                volumes.append(self._formed(read(path, self.array)))
            except (ValueError, OSError, KeyError) as error:
                volumes.append(None)
                problems[i] = str(error)
        shapes = Counter(volume.shape for volume in volumes if volume is not None)
        wanted = shape or (shapes.most_common(1)[0][0] if shapes else ())
        for i, volume in enumerate(volumes):
            if volume is not None and volume.shape != wanted:
                problems[i] = f"expected the shape {wanted}, got {volume.shape}"
                volumes[i] = None
        return volumes, problems

    def _formed(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(channels, *places)."""
        if self.channels == "last":
            return np.moveaxis(volume, -1, 0)
        if self.channels == "none":
            return volume[None]
        return volume

    def _beside(self, path: Path, volume: npt.NDArray[Any] | None) -> npt.NDArray[Any] | str:
        """Labels of the places of a volume, or what is wrong with them."""
        if volume is None:
            return "cannot be read"
        try:
            labels = read(path, self.array)
        except (ValueError, OSError, KeyError) as error:
            return str(error)
        wanted = volume.shape[1:]
        return labels if labels.shape == wanted else f"expected labels of the shape {wanted}, got {labels.shape}"


def read(path: Path, array: str | None = None) -> npt.NDArray[Any]:
    """The array of numbers in a file.

    Args:
        path: .npy, .npz, HDF5 or TIFF.
        array: its name in an .npz or HDF5 file.

    Raises:
        ValueError: there is none, or several, or one with other values.
        OSError: the file is missing, or cannot be opened.
        MissingExtra: the format needs an optional package.
    """
    try:
        found = _read(path, array)
    except (OSError, MemoryError, MissingExtra):
        raise
    except ValueError as error:
        raise ValueError(f"expected an array, got: {complaint(error)}") from error
    except Exception as error:  # readers of damaged files raise anything
        raise ValueError(f"expected an array, got a file that is damaged: {error or type(error).__name__}") from error
    if found.dtype.kind not in "iufb":
        raise ValueError(f"expected real numbers, got {found.dtype}")
    if found.dtype.kind == "f" and (odd := int(np.count_nonzero(~np.isfinite(found)))):
        raise ValueError(f"expected finite numbers, got others at {odd} places")
    return found


def _read(path: Path, array: str | None) -> npt.NDArray[Any]:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return np.asarray(np.load(path, allow_pickle=False))
    if suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return np.asarray(file[_name(list(file.files), array)])
    if suffix in (".tif", ".tiff"):
        with optional("tifffile"):
            import tifffile
        return np.asarray(tifffile.imread(path))
    with optional("h5py"):
        import h5py
    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        return np.asarray(file[_name(names, array)])


def _name(names: list[str], array: str | None) -> str:
    if array is None and len(names) == 1:
        return names[0]
    if array is None or array not in names:
        raise ValueError(f"not one array, or the one that `array:` names, but {names}")
    return array
