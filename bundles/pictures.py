"""Masks as files: a PNG whose values are the numbers of the classes, and the image under the classes' colours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
_DARKEST, _BRIGHTEST = 1.0, 99.0  # percentiles of an image that become black and white


def write(mask: Mask, folder: Path) -> list[Path]:
    """Write `ID.png` and `ID_overlay.png`; of volumes `ID.npy`.

    Args:
        mask: of one array.
        folder: there already; what lies in it by these names is replaced.

    Returns:
        The files.
    """
    stem = folder / _name(mask.id)
    stem.parent.mkdir(parents=True, exist_ok=True)
    if mask.classes.ndim != 2:
        np.save(stem.with_name(stem.name + ".npy"), mask.classes, allow_pickle=False)
        return [stem.with_name(stem.name + ".npy")]
    from PIL import Image

    numbers = Image.fromarray(mask.classes)
    numbers.putpalette(_palette().ravel().tolist())
    files = [stem.with_name(stem.name + end) for end in (".png", "_overlay.png")]
    numbers.save(files[0])
    shaded = (1 - _OPACITY) * _visible(mask.raw) + _OPACITY * _palette()[mask.classes]
    Image.fromarray(shaded.round().astype(np.uint8)).save(files[1])
    return files


def save(field: Field, folder: Path) -> Path:
    """Write `ID.npz` with `values`, `lower` and `upper` (m, *places) float32; what lies there is replaced."""
    stem = folder / _name(field.id)
    stem.parent.mkdir(parents=True, exist_ok=True)
    file = stem.with_name(stem.name + ".npz")
    np.savez(file, values=field.values, lower=field.lower, upper=field.upper)
    return file


def _name(text: str) -> str:
    """An id as a path below a folder, without the suffix of an image."""
    path = Path(text)
    whole = path.with_suffix("") if path.suffix.lower() in _IMAGES else path
    parts = [part for part in whole.parts if part not in ("..", "/", "\\")]
    return "/".join(part.replace(":", "_") for part in parts) or "image"


def _palette() -> npt.NDArray[np.uint8]:
    """(256, 3)."""
    return np.array([COLOURS[i % len(COLOURS)] for i in range(256)], dtype=np.uint8)


def _visible(raw: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """(channels, height, width) of any numbers to (height, width, 3), 0 to 255."""
    image = raw[:3].astype(np.float64) if len(raw) >= 3 else np.repeat(raw[:1].astype(np.float64), 3, axis=0)
    low, high = np.percentile(image, [_DARKEST, _BRIGHTEST])
    scaled = (image - low) / max(high - low, 1e-12)
    found: npt.NDArray[np.float64] = 255 * np.moveaxis(scaled.clip(0, 1), 0, 2)
    return found
