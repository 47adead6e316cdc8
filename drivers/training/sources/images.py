"""Images in a folder, with a class by folder, masks beside them, or targets in a table; whole or in tiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.data import Data, data
from matloop.drivers.training.sources import masks as beside
from matloop.drivers.training.sources import pictures, tiles
from matloop.drivers.training.sources.labelled import Labelled, Labels, files, given
from matloop.drivers.training.sources.masks import Masks
from matloop.drivers.training.sources.rows import OfTable
from matloop.drivers.training.sources.source import Extent, New
from matloop.drivers.training.sources.twins import together
from matloop.orchestrator.errors import ConfigError
from matloop.orchestrator.options import at_least

_ODD = 0.05  # share of images of another size that are left out rather than refused


@dataclass(frozen=True, kw_only=True)
class Images(OfTable):
    """A folder of PNG, TIFF, JPEG, BMP or GIF images, 8 or 16 bit, grey or in colour, also in folders inside it.

    Without `table` and masks, an image is of the class that its folder is called by. Tiles of one image are one group.

    Args:
        path: the folder.
        table: CSV or Parquet with a row for each image.
        file: its column of file names.
        target: its column, or columns, to predict.
        masks: folder of masks with their images' names.
        mask_suffix: what masks' names have more than their images', such as "_mask"; alone, they lie among these.
        field: whether masks hold a property of each pixel rather than classes.
        classes: names for the values of masks.
        size: height and width that images are brought to, one number for both; None to keep them.
        tile: height and width of tiles that images are cut into, one number for both; None for whole images.
        overlap: pixels that neighbouring tiles have in common.
        grey: whether colours are left out.
        id: column of the table that names each image.
        group: column, or several, of the table with equal values in images that belong together, such as those of one
            specimen; without a table, a regular expression whose first group in a file's name says so.
        part: column of the table: "train", "validation" and "test".
        time: column of the table: numbers or dates.
    """

    kind: ClassVar[str] = "images"
    path: Path
    table: Path | None = None
    file: str = "file"
    target: str | list[str] | None = None
    masks: Path | None = None
    mask_suffix: str = ""
    field: bool = False
    classes: dict[int, str] | None = None
    size: int | list[int] | None = None
    tile: int | list[int] | None = None
    overlap: int = 0
    grey: bool = False

    def __post_init__(self) -> None:
        at_least(0, overlap=self.overlap)
        for name, value in (("size", self.size), ("tile", self.tile)):
            if value is not None and (min(shape := _shape(value)) < 1 or len(shape) != 2):
                raise ConfigError(f"expected {name}: one whole number or [height, width], got {value}", at=name)
        if self.tile is not None and self.overlap >= min(_pair(self.tile)):
            raise ConfigError(f"expected overlap below the tile's size, {self.tile}, got {self.overlap}", at="overlap")
        if self.tile is None and self.overlap:
            raise ConfigError(f"expected `tile:` with overlap, got only overlap: {self.overlap}", at="overlap")
        if self.table is not None and self._masked:
            raise ConfigError("expected either `table` or masks, got both", at="table")

    def read(self) -> Data:
        """See `Source`."""
        found, targets = self._labelled()
        found, forms = _readable(found)
        if not forms:
            reasons = [text for text in found.problems if text.endswith("left out")] or found.problems
            raise ValueError(f"expected images in {self.path}, got none that can be used: {reasons[0]}")
        if len(several := Counter((form.channels, form.dtype) for form in forms)) > 1 and not self.known:
            form = self._form(forms)
            found.problems.append(f"images of several kinds, {_kinds(several)}: all become {_kind(form)}")
        form = dict(self.known) if self.known else self._form(forms)
        found, places = self._placed(found, forms, form)
        counts = [len(corners) for corners in places]
        whole, ends = np.repeat(np.arange(len(counts)), counts), np.cumsum(counts)
        x = np.empty((len(whole), form["channels"], *form["shape"]), dtype=form["dtype"])
        y = np.empty((len(whole), *form["shape"]), dtype=targets.dtype) if targets else None
        bad: dict[int, str] = {}
        for i, file in enumerate(found.files):
            try:
                picture = self._picture(file, form)
                target = targets.of(file, picture.shape[1:]) if targets else None
                _require_finite("its mask", target)
            except (ValueError, OSError) as error:
                bad[i] = str(error)
                continue
            for row, corner in enumerate(places[i], start=ends[i] - counts[i]):
                place = tiles.cut(corner, form["shape"])
                x[row] = picture[(slice(None), *place)]
                if y is not None and target is not None:
                    y[row] = target[place]
        good = np.array([i not in bad for i in range(len(counts))])
        kept = found.kept(good, [f"{found.names[i]}: {text}; left out" for i, text in sorted(bad.items())])
        keep, corner = good[whole], np.concatenate(places)
        if y is None:
            y = found.y[whole]  # type: ignore[index]
        names = targets.names if targets else found.classes
        rows = data(
            x if keep.all() else x[keep],
            y if keep.all() else y[keep],
            path=self.path,
            names=names,
            problems=kept.problems,
            known={**form, "classes": list(names)},
            **self._of_rows(found, whole[keep], corner[keep]),
        )
        return together(rows, found.names, whole[keep])

    def inputs(self, new: Any) -> New:
        """See `Source`.

        Args:
            new: an image, a folder of them, or a list of images.
        """
        form, problems = dict(self.learnt()), []
        x: list[npt.NDArray[Any]] = []
        used: list[str] = []
        ids, whole, corners, shapes = [], [], [], []
        for path, name in self._given(new):
            try:
                picture = self._picture(path, form)
                places = self._corners(picture.shape[1:], form)
            except (ValueError, OSError) as error:
                problems.append(f"{name}: {error}; left out")
                continue
            x += [picture[(slice(None), *tiles.cut(corner, form["shape"]))] for corner in places]
            ids += [self._id(name, corner) for corner in places]
            whole += [len(used)] * len(places)
            corners += [*places]
            used.append(name)
            shapes.append(picture.shape[1:])
        if not x:
            raise ValueError(f"expected images, got none that can be used{f': {problems[0]}' if problems else ''}")
        extent = None
        if self.tile is not None:
            extent = Extent(tuple(used), np.array(shapes), np.array(whole), np.array(corners))
        return New(np.stack(x), np.array(ids, dtype=np.str_), tuple(problems), extent)

    def files(self) -> list[Path]:
        """See `Source`."""
        found = files(self.path, pictures.SUFFIXES)
        if self.masks is not None and self.path not in (self.masks, *self.masks.parents):
            found += files(self.masks, pictures.SUFFIXES)
        return found + ([self.table] if self.table is not None else [])

    @property
    def _masked(self) -> bool:
        return self.masks is not None or bool(self.mask_suffix)

    def _labelled(self) -> tuple[Labelled, _Masked | None]:
        """Images with what is to be predicted of them, which is a picture where there are masks."""
        labels = Labels(self.path, pictures.SUFFIXES, self.table, self.file, self.target, self.of_rows)
        if not self._masked:
            if self.table is not None:
                return labels.by_table(), None
            return labels.by_folder(", or `masks` beside images"), None
        masks = Masks(self.path, self.masks, self.mask_suffix)
        every = labels.unlabelled()
        images = every.kept(np.array([not masks.are_masks(file) for file in every.files]), [])
        of = masks.of(images.files)
        there = np.array([isinstance(mask, Path) for mask in of], dtype=bool)
        if not there.any():
            raise ValueError(
                f"expected masks with the names of the images in {self.masks or self.path}, found none, as for "
                f"{images.names[0] if images.names else 'any image'}; correct `masks` or `mask_suffix`"
            )
        found = images.kept(
            there,
            [f"{name}: {mask}; left out" for name, mask in zip(images.names, of, strict=True) if isinstance(mask, str)],
        )
        paths = dict(zip(found.files, (mask for mask in of if isinstance(mask, Path)), strict=True))
        found, paths = self._fitting(found, paths)
        values = () if self.field else tuple(beside.values(paths.values()))
        names = () if self.field else beside.names(values, self.classes)
        return found, _Masked(paths, values, names, self._size)

    def _fitting(self, found: Labelled, masks: dict[Path, Path]) -> tuple[Labelled, dict[Path, Path]]:
        """Images and masks of the same size; what is left out has no say in which classes there are."""
        problems, keep = [], np.ones(len(found.files), dtype=bool)
        for i, (image, mask) in enumerate(masks.items()):
            try:
                (height, width), other = pictures.form(image)[:2], pictures.form(mask)[:2]
            except (ValueError, OSError):
                continue  # reported where they are read
            if (height, width) != other and self._size is None:
                keep[i] = False
                problems.append(
                    f"{found.names[i]}: expected a mask of {height} × {width} pixels as the image has, got "
                    f"{other[0]} × {other[1]} in {mask.name}; left out"
                )
        found = found.kept(keep, problems)
        return found, {image: masks[image] for image in found.files}

    @property
    def _size(self) -> tuple[int, int] | None:
        return None if self.size is None else _pair(self.size)

    def _form(self, forms: Sequence[pictures.Form]) -> dict[str, Any]:
        """Channels, type and shape of all rows."""
        order = ("uint8", "uint16", "float32")
        channels = 1 if self.grey else max(form.channels for form in forms)
        dtype = max((form.dtype for form in forms), key=order.index)
        return {"channels": channels, "dtype": dtype, "shape": list(self._shape(forms))}

    def _shape(self, forms: Sequence[pictures.Form]) -> tuple[int, int]:
        if self.tile is not None:
            return _pair(self.tile)
        if self._size is not None:
            return self._size
        sizes = Counter((form.height, form.width) for form in forms)
        commonest, count = sizes.most_common(1)[0]
        if len(forms) - count > _ODD * len(forms):
            shown = ", ".join(f"{n} of {h} × {w}" for (h, w), n in sizes.most_common(4))
            raise ValueError(
                f"expected images of one size in {self.path}, got {shown}; say `size: [height, width]` to bring them "
                "to one, or `tile: N` to cut them into squares of N pixels"
            )
        return commonest

    def _placed(
        self, found: Labelled, forms: Sequence[pictures.Form], form: dict[str, Any]
    ) -> tuple[Labelled, list[npt.NDArray[np.int64]]]:
        """Images that rows can be cut from, and where."""
        places, bad = [], {}
        for i, one in enumerate(forms):
            try:
                places.append(self._corners(self._size or (one.height, one.width), form))
            except ValueError as error:
                bad[i] = str(error)
        keep = np.array([i not in bad for i in range(len(forms))])
        if not keep.any():
            raise ValueError(f"expected images in {self.path}, got none that can be used: {bad[0]}")
        return found.kept(keep, [f"{found.names[i]}: {text}; left out" for i, text in bad.items()]), places

    def _corners(self, size: tuple[int, ...], form: dict[str, Any]) -> npt.NDArray[np.int64]:
        if self.tile is not None:
            return tiles.corners(size, form["shape"], self.overlap)
        if list(size) != list(form["shape"]):
            wanted = " × ".join(map(str, form["shape"]))
            raise ValueError(f"expected an image of {wanted} pixels, got {' × '.join(map(str, size))}")
        return np.zeros((1, 2), dtype=np.int64)

    def _picture(self, path: Path, form: dict[str, Any]) -> npt.NDArray[Any]:
        """(channels, height, width)."""
        array = pictures.converted(pictures.read(path), form["channels"], form["dtype"])
        _require_finite("it", array)
        return array if self._size is None else pictures.resized(array, self._size)

    def _of_rows(self, found: Labelled, whole: npt.NDArray[np.int64], corners: npt.NDArray[np.int64]) -> dict[str, Any]:
        """What is known of rows, of what is known of images."""
        names = found.of_rows["ids"]
        of_rows: dict[str, Any] = {
            name: None if values is None else [values[i] for i in whole] for name, values in found.of_rows.items()
        }
        of_rows["ids"] = [self._id(names[i], corner) for i, corner in zip(whole, corners, strict=True)]
        if self.tile is not None and of_rows.get("groups") is None:
            of_rows["groups"] = [str(found.files[i]) for i in whole]
        return of_rows

    def _id(self, name: str, corner: npt.NDArray[np.int64]) -> str:
        return name if self.tile is None else f"{name} at {corner[0]},{corner[1]}"

    def _given(self, new: Any) -> list[tuple[Path, str]]:
        """Images that are given, with their names."""
        folder = isinstance(new, str | Path) and Path(new).is_dir()
        masks = Masks(Path(new), self.masks, self.mask_suffix) if folder and self._masked else None
        pairs = zip(*given(new, pictures.SUFFIXES), strict=True)
        return [(path, name) for path, name in pairs if not (masks and masks.are_masks(path))]


@dataclass(frozen=True, slots=True)
class _Masked:
    """Targets that are pictures themselves.

    Attributes:
        masks: of each image.
        values: of the classes; empty where a mask holds a property of each pixel.
        names: of the classes.
        size: that images are brought to.
    """

    masks: dict[Path, Path]
    values: tuple[int, ...]
    names: tuple[str, ...]
    size: tuple[int, int] | None

    @property
    def dtype(self) -> Any:
        return np.uint8 if self.values else np.float32

    def of(self, image: Path, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """(height, width) numbers of classes, or values."""
        path = self.masks[image]
        try:
            array = beside.indices(beside.codes(path), self.values) if self.values else beside.field(path)
        except ValueError as error:
            raise ValueError(f"its mask {path.name}: {error}") from error
        if self.size is not None:
            array = pictures.resized(array[None], self.size, smooth=not self.values)[0]
        if array.shape != shape:
            raise ValueError(f"expected a mask of {shape} pixels as the image has, got {array.shape} in {path.name}")
        return array


def _require_finite(what: str, array: npt.NDArray[Any] | None) -> None:
    if array is not None and array.dtype.kind == "f" and (odd := int(np.count_nonzero(~np.isfinite(array)))):
        raise ValueError(f"expected finite numbers, {what} has others in {odd} pixels")


def _kinds(found: Counter[tuple[int, str]]) -> str:
    return ", ".join(f"{n} {_kind({'channels': c, 'dtype': dtype})}" for (c, dtype), n in found.most_common())


def _kind(form: Mapping[str, Any]) -> str:
    return f"{'grey' if form['channels'] == 1 else 'in colour'} of {form['dtype']}"


def _readable(found: Labelled) -> tuple[Labelled, list[pictures.Form]]:
    forms, bad = [], {}
    for i, file in enumerate(found.files):
        try:
            forms.append(pictures.form(file))
        except (ValueError, OSError) as error:
            bad[i] = str(error)
    keep = np.array([i not in bad for i in range(len(found.files))])
    return found.kept(keep, [f"{found.names[i]}: {text}; left out" for i, text in bad.items()]), forms


def _shape(size: int | Sequence[int]) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    height, width = _shape(size)
    return height, width
