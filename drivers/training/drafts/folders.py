"""Drafts for folders of files, one sample each, and for files of arrays."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from matloop.drivers.training.drafts import columns, tables
from matloop.drivers.training.drafts.draft import SHOWN, Idea
from matloop.drivers.training.drafts.files import (
    TABLES,
    mask_folder,
    shared_prefix,
    suffix_of_masks,
    table_of,
    target_of,
)
from matloop.drivers.training.sources import pictures, signals, stores, structures, volumes
from matloop.drivers.training.sources.arrays import channels_last
from matloop.drivers.training.sources.frames import frame
from matloop.drivers.training.sources.labelled import files
from matloop.drivers.training.sources.npz import arrays_of
from matloop.drivers.training.sources.registry import source as source_of

LARGE = 160
"""Pixels of the smaller side from which on images are cut into tiles."""

TILE = 128


def images(path: Path, target: str | None = None) -> Idea:
    """Images or volumes with a class by folder or a table, or a file of arrays."""
    if path.is_file() or path.suffix == ".zarr":
        return arrays(path)
    found = _files(path, pictures.SUFFIXES)
    if len(_files(path, volumes.SUFFIXES)) > len(found) or _stacks(found):
        return _volumes(path, target)
    source: dict[str, Any] = {"kind": "images", "path": path}
    names = [file.relative_to(path).as_posix() for file in found]
    source |= _labels(path, names, target)
    sized, hints = _sized(found)
    comments = []
    if "group" not in source and "table" not in source and (pattern := shared_prefix(names)):
        comments.append(
            f"group: '{pattern}'   # if files that are called alike, such as {Path(names[0]).stem}, belong together"
        )
        hints.append("files are called alike: if some are of one specimen, say so by `group:`, or the test is too easy")
    return Idea(source | sized, hints=hints, comments=comments)


def segmentation(path: Path, target: str | None = None) -> Idea:
    """Images or volumes with masks, or a file of arrays.

    Raises:
        ValueError: there are no masks.
    """
    if path.is_file() or path.suffix == ".zarr":
        return arrays(path, "segmentation")
    folders = mask_folder(path)
    if folders is not None and not _files(folders[0], pictures.SUFFIXES):
        source = {"kind": "volumes", "path": folders[0], "labels": folders[1]}
        return Idea(source, "segmentation")
    found = _files(folders[0] if folders else path, pictures.SUFFIXES)
    if folders is not None:
        source = {"kind": "images", "path": folders[0], "masks": folders[1]}
        found = [file for file in found if folders[1] not in file.parents]
        masked = {file.stem for file in _files(folders[1], pictures.SUFFIXES)}
        suffix = suffix_of_masks([*found, *(found[0].with_name(f"{name}.png") for name in masked)]) if found else ""
        if suffix and not any(file.stem in masked for file in found):
            source["mask_suffix"] = suffix
    elif suffix := suffix_of_masks(found):
        source = {"kind": "images", "path": path, "mask_suffix": suffix}
        found = [file for file in found if not file.stem.endswith(suffix)]
    else:
        raise ValueError(
            f"expected masks in {path}: a folder `masks` beside a folder `images`, or files with the images' names and "
            "an ending such as _mask, found neither"
        )
    sized, hints = _sized(found, masked=True)
    comments = ["classes: {0: matrix, 255: precipitate}   # names for the values of the masks"]
    return Idea(source | sized, "segmentation", hints=hints, comments=comments)


def crystals(path: Path, target: str | None = None) -> Idea:
    """A folder of structures with a table, or a table with a column of CIF texts.

    Raises:
        ValueError: there are none.
    """
    if path.is_file():
        table = frame(path)
        column = next(
            (str(name) for name in table.columns if any(structures.CELL in text for text in table.texts(name)[:5])),
            None,
        )
        if column is None:
            raise ValueError(f"expected a column of CIF texts in {path}, got {[*map(str, table.columns)]}")
        roles = columns.roles(table, column, target)
        goal = target_of(table, [column, *roles.values()], target)
        source: dict[str, Any] = {
            "kind": "crystals", "path": path, "column": column, "target": goal, **roles,
        }  # fmt: skip
        sizes = _sites([structures.of_text, *table.texts(column)[:50]])
    else:
        found = files(path, structures.SUFFIXES)
        source = {"kind": "crystals", "path": path}
        source |= _labels(path, [file.relative_to(path).as_posix() for file in found], target)
        sizes = _sites([structures.of_file, *found[:50]])
    alike = bool(sizes) and max(sizes.values()) >= 0.9 * sum(sizes.values())
    comments = ["descriptor: graphs, for `space: graph_network`; sites, for structures that all have as many sites"]
    return Idea({**source, "descriptor": "sites" if alike else "graphs"}, comments=comments)


def signals_of(path: Path, target: str | None = None) -> Idea:
    """A folder with a file for each signal, or one table."""
    if path.is_file():
        return tables.signals(path, target)
    listed = files(path, signals.SUFFIXES)
    inside = [file for file in listed if file.parent != path]
    if inside:
        return Idea({"kind": "signals", "path": path})
    names = [file.name for file in listed]
    source = {"kind": "signals", "path": path, **_labels(path, names, target)}
    return Idea(source)


def arrays(path: Path, task: str | None = None) -> Idea:
    """A file of arrays: .npz, HDF5 or Zarr."""
    shapes = _shapes(path)
    source: dict[str, Any] = {"kind": _kind(path), "path": path}
    y = next((name for name in ("y", "labels", "targets", "target", "label", "masks") if name in shapes), None)
    first = max((name for name in shapes if name != y), key=lambda name: _size(shapes[name]), default=None)
    x = "x" if "x" in shapes else first
    if x is None or y is None:
        raise ValueError(f"expected arrays x and y in {path}, got {shapes}")
    if source["kind"] != "npz":
        source |= {"x": x} if x != "x" else {}
        source |= {"y": y} if y != "y" else {}
    elif {x, y} != {"x", "y"} and "nodes" not in shapes:
        raise ValueError(f"expected arrays x and y in {path}, got {shapes}; save it with np.savez(path, x=x, y=y)")
    shape, hints = shapes[x], []
    if channels_last(shape):
        source["transpose"] = True
        hints.append(f"channels seem to come last in {shape}: they are moved before the places by `transpose: true`")
    elif len(shape) in (3, 4) and source["kind"] != "npz" and shapes[y][1:] in ((), shape[1:]) and len(shape) == 3:
        source["channel"] = True
        hints.append(f"{shape} is taken for images without an axis of channels, see `channel: true`")
    return Idea(source, task, hints=hints)


def _volumes(path: Path, target: str | None) -> Idea:
    found = files(path, volumes.SUFFIXES)
    names = [file.relative_to(path).as_posix() for file in found]
    shape = _first_shape(found)
    source = {"kind": "volumes", "path": path, **_labels(path, names, target)}
    hints = []
    if len(shape) == 4:
        source["channels"] = "last" if shape[-1] <= shape[0] else "first"
        hints.append(f"volumes of {shape} are taken to have channels {source['channels']}, see `channels:`")
    return Idea(source, hints=hints)


def _stacks(found: list[Path]) -> bool:
    """Whether pictures are stacks: TIFFs that are no single pictures."""
    tiffs = [file for file in found if file.suffix.lower() in volumes.SUFFIXES][:SHOWN]
    return len(tiffs) == len(found[:SHOWN]) and not any(map(_single, tiffs)) and bool(_first_shape(tiffs))


def _single(file: Path) -> bool:
    try:
        return bool(pictures.form(file))
    except (ValueError, OSError):
        return False


def _first_shape(found: list[Path]) -> tuple[int, ...]:
    """Of the first array that can be read; empty if there is none."""
    for file in found:
        try:
            return volumes.read(file).shape
        except (ValueError, OSError):
            continue
    return ()


def _labels(path: Path, names: list[str], target: str | None) -> dict[str, Any]:
    """Options that say what files are: none for folders that are classes, else a table."""
    found = table_of(path, names)
    if found is None:
        return {}
    place, column = found
    table = frame(place)
    roles = columns.roles(table, column, target)
    goal = target_of(table, [column, *roles.values()], target)
    return {"table": place, "file": column, "target": goal, **roles}


def _sized(found: list[Path], *, masked: bool = False) -> tuple[dict[str, Any], list[str]]:
    """Options that bring images to one size, and why."""
    sizes: Counter[tuple[int, int]] = Counter()
    for file in found[:: max(len(found) // 200, 1)]:
        try:
            form = pictures.form(file)
        except (ValueError, OSError):
            continue
        sizes[form.height, form.width] += 1
    if not sizes:
        return {}, []
    smallest = min(min(size) for size in sizes)
    if smallest >= LARGE:
        return {"tile": TILE, "overlap": 0}, [
            f"images are at least {smallest} pixels wide: they are cut into tiles of {TILE}; tiles of one image stay "
            "on one side of a split"
        ]
    (height, width), count = sizes.most_common(1)[0]
    if count == sum(sizes.values()) or (not masked and count > 0.95 * sum(sizes.values())):
        return {}, []
    if masked:
        return {"tile": max(smallest // 8 * 8, min(8, smallest)), "overlap": 0}, [
            "images differ in size: they are cut into tiles"
        ]
    return {"size": [height, width]}, [f"images differ in size: they are brought to {height} × {width} pixels"]


def _sites(given: list[Any]) -> Counter[int]:
    """How many structures have how many sites, of those that can be read."""
    parse, *items = given
    sizes: Counter[int] = Counter()
    for item in items:
        try:
            sizes[len(parse(item))] += 1
        except (ValueError, OSError):
            continue
    return sizes


def _files(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    try:
        return files(path, suffixes)
    except ValueError:
        return []


def _kind(path: Path) -> str:
    if path.suffix.lower() in (".h5", ".hdf5"):
        return "hdf5"
    if path.suffix.lower() == ".zarr":
        return "zarr"
    if path.name.lower().endswith(TABLES):
        raise ValueError(f"expected images or arrays, got the table {path}; use --template table, formulas or signals")
    if path.suffix.lower() != ".npz":
        raise ValueError(f"expected a folder of images or volumes, or arrays in .npz, .h5 or .zarr, got {path}")
    return "npz"


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays in a file."""
    found = source_of({"kind": _kind(path), "path": path})
    if isinstance(found, stores.Store):
        return stores.shapes(found)
    return {name: array.shape for name, array in arrays_of(path).items()}


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
