"""Masks beside images: which mask is of which image, and what its values or colours stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from matloop.drivers.training.sources import pictures
from matloop.drivers.training.sources.labelled import files
from matloop.orchestrator.errors import ConfigError

MOST_CLASSES = 64

_COLOURED = 2**24


@dataclass(frozen=True, slots=True)
class Masks:
    """Where masks are.

    Attributes:
        images: folder of the images.
        folder: of the masks, which have their images' names; None where they lie among these.
        suffix: what a mask's name has at the end, before the dot, more than its image's.
    """

    images: Path
    folder: Path | None
    suffix: str = ""

    def __post_init__(self) -> None:
        if self.folder is None and not self.suffix:
            raise ConfigError("expected `masks: FOLDER` or `mask_suffix: TEXT`, got neither")

    def are_masks(self, path: Path) -> bool:
        """Whether a picture in the folder of images is one."""
        if self.folder is not None and self.folder in path.parents:
            return True
        return bool(self.suffix) and self.folder in (None, self.images) and path.stem.endswith(self.suffix)

    def of(self, images: Sequence[Path]) -> list[Path | str]:
        """The mask of each image, or why there is none.

        Raises:
            ValueError: there are no masks at all.
            OSError: there is no such folder.
        """
        root = self.images if self.folder is None else self.folder
        places: dict[str, list[Path]] = {}
        names: dict[str, list[Path]] = {}
        for path in files(root, pictures.SUFFIXES):
            places.setdefault(path.relative_to(root).with_suffix("").as_posix(), []).append(path)
            names.setdefault(path.stem, []).append(path)
        masks: list[Path | str] = []
        for image in images:
            place = image.relative_to(self.images).with_suffix("").as_posix() + self.suffix
            found = places.get(place) or (names.get(image.stem + self.suffix, []) if self.folder is not None else [])
            masks.append(found[0] if len(found) == 1 else _none(found, root))
        return masks


def _none(found: Sequence[Path], root: Path) -> str:
    if not found:
        return "found no mask of it"
    return f"found several masks of it, {', '.join(path.relative_to(root).as_posix() for path in found)}"


def codes(path: Path) -> npt.NDArray[np.int64]:
    """(height, width) values of a mask; of one in colours, 2²⁴ + red · 65536 + green · 256 + blue.

    Raises:
        ValueError: it is no picture, or has other than whole numbers.
    """
    array = pictures.read(path, indexed=True)
    if array.ndim == 3:
        if (array[..., 0] == array[..., 1]).all() and (array[..., 0] == array[..., 2]).all():
            return array[..., 0].astype(np.int64)
        red, green, blue = np.moveaxis(array.astype(np.int64), -1, 0)
        return np.asarray(_COLOURED + red * 65536 + green * 256 + blue)
    if array.dtype.kind == "f" and not (array == np.rint(array)).all():
        raise ValueError("expected whole numbers in a mask, got others; say `field: true` if they are a property")
    return array.astype(np.int64)


def values(masks: Iterable[Path]) -> list[int]:
    """Values that occur in any of them, in order.

    Raises:
        ValueError: more than masks have.
    """
    found: set[int] = set()
    fault: ValueError | None = None
    for path in masks:
        try:
            found |= {*np.unique(codes(path)).tolist()}
        except ValueError as error:  # reported where the mask is read for good
            fault = fault or error
            continue
        if len(found) > MOST_CLASSES:
            raise ValueError(
                f"expected at most {MOST_CLASSES} classes in the masks, got {sorted(found)[:8]}… up to {path.name}; "
                "masks need a format without losses, such as PNG; say `field: true` if they are a property"
            )
    if fault and not found:
        raise fault
    return sorted(found)


def names(values: Sequence[int], classes: Mapping[int, str] | None) -> tuple[str, ...]:
    """What the values are called.

    Raises:
        ConfigError: names for values that no mask has.
    """
    given = {int(value): name for value, name in (classes or {}).items()}  # JSON has texts for keys
    if unknown := sorted({*given} - {*values}):
        raise ConfigError(f"expected names for values of the masks, {list(values)}, got {unknown}", at="classes")
    return tuple(given.get(value, _shown(value)) for value in values)


def indices(array: npt.NDArray[np.int64], values: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Numbers of the classes, from 0.

    Raises:
        ValueError: another value.
    """
    found = np.searchsorted(np.asarray(values), array)
    found = np.minimum(found, len(values) - 1)
    if not (np.asarray(values)[found] == array).all():
        raise ValueError(f"expected the values {list(values)} in a mask, got others")
    return found.astype(np.uint8)


def _shown(value: int) -> str:
    return str(value) if value < _COLOURED else f"#{value - _COLOURED:06x}"


def field(path: Path) -> npt.NDArray[Any]:
    """(height, width) of a property of each pixel, as it is stored.

    Raises:
        ValueError: it is no picture, or in colours.
    """
    array = pictures.read(path)
    if array.ndim != 2:
        raise ValueError(f"expected one value for each pixel, got colours {array.shape}")
    return array
