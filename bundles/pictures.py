"""Masks as files: a PNG whose values are the numbers of the classes, and the image under the classes' colours."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matloop.bundles.answers import Field, Mask

COLOURS = (
    *((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66)),
    (110, 110, 110),
)
"""Of the classes, again from the first after the last; told apart by colour-blind people too (Okabe & Ito)."""

_IMAGES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
_OPACITY = 0.45
_LINES = 64  # of an image that are shaded at once
_DARKEST, _BRIGHTEST = 1.0, 99.0  # percentiles of an image that become black and white


def write(mask: Mask, folder: Path) -> list[Path]:
    """Write `ID.png` and `ID_overlay.png`; of volumes `ID.npy`. Nothing that is there is replaced: see `_free`.

    Args:
        mask: of one array.
        folder: made if need be.

    Returns:
        The files.
    """
    if mask.classes.ndim != 2:
        (file,) = _free(folder, mask.id, ".npy")
        np.save(file, mask.classes, allow_pickle=False)
        return [file]
    from PIL import Image

    numbers = Image.fromarray(mask.classes)
    numbers.putpalette(_palette().ravel().tolist())
    files = _free(folder, mask.id, ".png", "_overlay.png")
    numbers.save(files[0])
    Image.fromarray(_overlay(mask)).save(files[1])
    return files


def save(field: Field, folder: Path) -> Path:
    """Write `ID.npz` with `values`, `lower` and `upper` (m, *places) float32; nothing that is there is replaced."""
    (file,) = _free(folder, field.id, ".npz")
    np.savez(file, values=field.values, lower=field.lower, upper=field.upper)
    return file


def _free(folder: Path, name: str, *endings: str) -> list[Path]:
    """Files for an array, none of which is there; `ID-2` and so on where another one of that name came before."""
    stem = folder / _name(name)
    stem.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        own = stem.name if number == 1 else f"{stem.name}-{number}"
        files = [stem.with_name(own + ending) for ending in endings]
        if not any(file.exists() for file in files):
            break
    return files


def _name(text: str) -> str:
    """An id as a path below a folder, without the suffix of an image."""
    path = Path(text)
    whole = path.with_suffix("") if path.suffix.lower() in _IMAGES else path
    parts = [part for part in whole.parts if part not in ("..", "/", "\\")]
    return "/".join(part.replace(":", "_") for part in parts) or "image"


def _palette() -> npt.NDArray[np.uint8]:
    """(256, 3)."""
    return np.array([COLOURS[i % len(COLOURS)] for i in range(256)], dtype=np.uint8)


def _overlay(mask: Mask) -> npt.NDArray[np.uint8]:
    """(height, width, 3): the image in grey or colours under those of the classes; made of a few lines at a time."""
    raw = mask.raw[:3] if len(mask.raw) >= 3 else mask.raw[:1]
    low, high = np.percentile(raw[:, :: _step(raw.shape[1]), :: _step(raw.shape[2])], [_DARKEST, _BRIGHTEST])
    found, palette = np.empty((*raw.shape[1:], 3), np.uint8), _palette()
    for start in range(0, len(found), _LINES):
        lines = slice(start, start + _LINES)
        grey = (raw[:, lines].astype(np.float64) - low) / max(high - low, 1e-12)
        under = np.moveaxis(255 * grey.clip(0, 1), 0, 2)  # one channel stands for all three
        found[lines] = ((1 - _OPACITY) * under + _OPACITY * palette[mask.classes[lines]]).round()
    return found


def _step(size: int) -> int:
    """Which places along an axis are looked at for the brightness of an image: about 1,000 of them."""
    return max(1, size // 1000)
