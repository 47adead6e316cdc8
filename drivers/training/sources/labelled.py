"""Files that are one sample each, with a class by their folder or targets in a table."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.sources.columns import targets
from matloop.drivers.training.sources.frames import frame
from matloop.drivers.training.sources.rows import OfRows, reported
from matloop.orchestrator.errors import ConfigError

PART_FOLDERS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What folders may be called, in small letters, whose files are of one part."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """n files that can be used.

    Attributes:
        files: (n,) paths.
        names: (n,) their places in the folder, with slashes.
        y: (n,) or (n, m); None where neither folders nor a table say what they are.
        classes: names of the classes or targets.
        problems: what was left out.
        of_rows: more arguments of `matloop.drivers.training.data.data`, (n,) each.
    """

    files: list[Path]
    names: list[str]
    y: npt.NDArray[Any] | None = None
    classes: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)
    of_rows: dict[str, Any] = field(default_factory=dict)

    def kept(self, keep: npt.NDArray[np.bool_], problems: Sequence[str]) -> Labelled:
        """Some of them, for reasons that are reported."""
        rows = np.flatnonzero(keep)

        def some(values: Any) -> Any:
            return None if values is None else [values[row] for row in rows]

        return Labelled(
            files=some(self.files),
            names=some(self.names),
            y=None if self.y is None else self.y[rows],
            classes=self.classes,
            problems=[*self.problems, *problems],
            of_rows={name: some(values) for name, values in self.of_rows.items()},
        )


@dataclass(frozen=True, slots=True)
class Labels:
    """How a folder says what its files are.

    Attributes:
        path: the folder.
        suffixes: of the files, in small letters.
        table: with a row for each file; None for a class by folder.
        file: its column that names the files.
        target: its column, or columns, of targets.
        rows: its other columns; without a table, `group` is a regular expression whose first group in a file's name
            says what the file belongs to.
    """

    path: Path
    suffixes: tuple[str, ...]
    table: Path | None = None
    file: str = "file"
    target: str | list[str] | None = None
    rows: OfRows = field(default_factory=OfRows)

    def found(self) -> list[Path]:
        """All files of the folder and the folders in it, in order; hidden ones are passed over.

        Raises:
            ValueError: there are none.
            OSError: there is no such folder.
        """
        return files(self.path, self.suffixes)

    def by_folder(self, or_else: str = "") -> Labelled:
        """Each file is of the class that its folder is called by, within folders `train`, `test` … if there are such.

        Args:
            or_else: what else may be given instead of folders, for the message.

        Raises:
            ValueError: there are fewer than two folders.
        """
        every = self.unlabelled()
        level = 1 if "parts" in every.of_rows else 0
        folders = [name.split("/")[level:-1] for name in every.names]
        inside = np.array([bool(above) for above in folders])
        problems = [
            f"{name}: expected it in a folder that is called by its class, got none; left out"
            for name, above in zip(every.names, folders, strict=True)
            if not above
        ]
        found = every.kept(inside, problems)
        classes, y = np.unique(np.array([above[0] for above in folders if above], dtype=np.str_), return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"expected files of at least two classes in folders of {self.path}, got {classes.tolist() or 'none'}; "
                f"name a `table` with a target for each file{or_else}"
            )
        return dataclasses.replace(found, y=y, classes=tuple(classes.tolist()))

    def unlabelled(self) -> Labelled:
        """All files, without classes or targets; in parts if they lie in folders that are called so."""
        found = self.found()
        names = [called(file, self.path) for file in found]
        of_rows, problems = self._grouped(names), self._others()
        tops = sorted({name.partition("/")[0] for name in names if "/" in name})
        if len(tops) > 1 and all(top.lower() in PART_FOLDERS for top in tops):
            of_rows["parts"] = [PART_FOLDERS.get(name.partition("/")[0].lower(), "") for name in names]
            problems.append(f"the folders {', '.join(tops)} of {self.path} are taken for parts, see `split`")
        return Labelled(found, names, problems=problems, of_rows=of_rows)

    def by_table(self) -> Labelled:
        """Each file has the targets that stand in its row of the table.

        Raises:
            ValueError: the table lacks a column, or none of its files is there.
        """
        assert self.table is not None
        if self.target is None:
            raise ConfigError(f"expected `target:`, a column of {self.table.name}, got none", at="target")
        table = frame(self.table)
        table.require([self.file, *self.rows.columns])
        goal = targets(table, self.target)
        found = _Folder(self.path, self.found())
        places = [found.place(name) for name in table.texts(self.file)]
        missing = {
            row: f"expected the file {name!r} in {self.path}, found none"
            for row, (name, place) in enumerate(zip(table.texts(self.file), places, strict=True))
            if place is None
        }
        keep, problems = reported(table, missing, goal.problems)
        kept = [place for place, usable in zip(places, keep, strict=True) if usable and place is not None]
        if unused := len(found.files) - len({*kept}):
            problems.append(f"{unused} files of {self.path} have no row in {self.table.name} that can be used")
        names = [called(file, self.path) for file in kept]
        good, again = table.kept(keep), len({*kept}) < len(kept)
        of_rows = self.rows.of(good, *([names] if again else []))  # rows of one file belong together
        if self.rows.id is None:
            of_rows["ids"] = distinct(names, good.rows)
        return Labelled(kept, names, goal.y[keep], goal.names, [*problems, *self._others()], of_rows)

    def _others(self) -> list[str]:
        """What lies in the folder and is not read, in a line."""
        rest = [
            (path, is_file)
            for path, is_file in listed(self.path)
            if path != self.table and not (is_file and path.name.lower().endswith(self.suffixes))
        ]
        return [f"not read in {self.path}: {_counted(rest)}"] if rest else []

    def _grouped(self, names: Sequence[str]) -> dict[str, Any]:
        if self.rows.group is None:
            return {"ids": list(names)}
        try:
            pattern = re.compile(str(self.rows.group))
        except re.error as error:
            raise ConfigError(f"expected a regular expression, got {self.rows.group!r}: {error}", at="group") from error
        found = [pattern.search(name) for name in names]
        if pattern.groups < 1 or not any(found):
            raise ConfigError(
                "expected a regular expression with a group in parentheses that occurs in the files' names, such as "
                rf"'(\d+)_', got {self.rows.group!r} for files such as {names[0]!r}",
                at="group",
            )
        return {
            "ids": list(names),
            "groups": [match[1] if match else name for match, name in zip(found, names, strict=True)],
        }


def files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files of a folder and of the folders in it with one of the suffixes, in order; hidden ones are passed over.

    Raises:
        ValueError: there are none.
        OSError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"expected a folder {folder}, found none; correct `path`")
    every = [*listed(folder)]
    found = sorted(path for path, is_file in every if is_file and path.name.lower().endswith(suffixes))
    if not found:
        raise ValueError(f"expected files {', '.join(suffixes)} in {folder}, found {_counted(every) or 'none'}")
    return found


def listed(folder: Path, within: tuple[str, ...] = ()) -> Iterator[tuple[Path, bool]]:
    """All that a folder and the folders in it hold, but folders, hidden files and what macOS adds to archives.

    Links are followed, unless to a folder that is listed anyway.

    Args:
        folder: that is there.
        within: real paths of the folders that it was reached from.

    Yields:
        A path, and whether it is a file; else it is a link to nothing, or something that is not read.
    """
    within = (*within, os.path.realpath(folder))
    with os.scandir(folder) as found:
        entries = [entry for entry in found if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    for entry in entries:  # they know what they are without asking the disk again
        path = folder / entry.name
        if not _is(entry.is_dir):
            yield path, _is(entry.is_file)
        elif not entry.is_symlink() or not _inside(os.path.realpath(path), within):
            yield from listed(path, within)


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # links that lead to each other
        return False


def given(new: Any, suffixes: tuple[str, ...]) -> tuple[list[Path], list[str]]:
    """Files that are given, one, several, or a folder of them; and what they are called, each otherwise."""
    if isinstance(new, str | Path) and Path(new).is_dir():
        found = files(Path(new), suffixes)
        return found, [called(path, Path(new)) for path in found]
    paths = [Path(path) for path in ([new] if isinstance(new, str | Path) else new)]
    return paths, distinct([called(path, path.parent) for path in paths], [shown(str(path)) for path in paths])


def called(path: Path, folder: Path) -> str:
    """Its place in the folder, with slashes, as it can be printed."""
    return shown(path.relative_to(folder).as_posix())


def shown(name: str) -> str:
    """A file's name in which what cannot be printed, such as a line's end, is written as Python does."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def distinct(names: Sequence[str], rows: Sequence[str]) -> list[str]:
    """Names; where one occurs again, with its row too."""
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name} ({row})" for name, row in zip(names, rows, strict=True)]


def _inside(real: str, within: tuple[str, ...]) -> bool:
    """Whether a folder is one of those that it was reached from, or lies in the first of them."""
    return real in within or Path(real).is_relative_to(within[0])


def _counted(paths: Sequence[tuple[Path, bool]]) -> str:
    """How many files have which ending."""
    counts = Counter(path.suffix.lower() or "without ending" for path, is_file in paths if is_file)
    broken = sorted(f"{shown(path.name)}, which is no file" for path, is_file in paths if not is_file)
    return ", ".join([*(f"{n} {suffix}" for suffix, n in sorted(counts.items())), *broken[:3]])


class _Folder:
    """Finds a file by what a table calls it: its place in the folder, its name, or that without the ending."""

    def __init__(self, folder: Path, files: list[Path]) -> None:
        self.files = files
        self._places: dict[str, Path | None] = {}
        inner = [path.relative_to(folder) for path in files]
        for names in (
            [path.as_posix() for path in inner],
            [path.with_suffix("").as_posix() for path in inner],
            [path.name for path in inner],
            [path.stem for path in inner],
        ):
            counts: dict[str, list[Path]] = {}
            for name, path in zip(names, files, strict=True):
                counts.setdefault(name, []).append(path)
            for name, paths in counts.items():
                self._places.setdefault(name, paths[0] if len(paths) == 1 else None)

    def place(self, name: str) -> Path | None:
        """The file, None where there is none or several."""
        return self._places.get(name.replace("\\", "/").removeprefix("./"))
