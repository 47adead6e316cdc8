"""One picture in a file as an array: 8, 16 and 32 bit, grey or in colour."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".gif")
_TIFF = (".tif", ".tiff")
_COLOURED = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
_ORIENTATION, _ON_ITS_SIDE = 274, (5, 6, 7, 8)  # a tag of EXIF, and its values for pictures to be turned
_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow has it


class Form(NamedTuple):
    """What a file says of its picture.

    Attributes:
        height, width: pixels.
        channels: 1 or 3.
        dtype: "uint8", "uint16" or "float32".
    """

    height: int
    width: int
    channels: int
    dtype: str


def form(path: Path) -> Form:
    """What the file says, without reading all of it.

    Raises:
        ValueError: it is no picture, or several.
    """
    with _named(path):
        with _plain_tiff(path) as series:
            if series is not None:
                sizes = _layout(series)
                return Form(sizes["Y"], sizes["X"], _channels(sizes), _dtype(np.dtype(series.dtype)))
        from PIL import Image

        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise ValueError(f"it has {image.n_frames} pictures; save each in a file")  # type: ignore[attr-defined]
            width, height = image.size[::-1] if image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE else image.size
            return Form(height, width, 3 if image.mode in _COLOURED else 1, _of_mode(image.mode))


def read(path: Path, *, indexed: bool = False) -> npt.NDArray[Any]:
    """(height, width), or (height, width, 3) where it is in colour; transparency is left out.

    Turned as the camera says that it is to be looked at.

    Args:
        path: of the file.
        indexed: give the numbers of a palette's colours rather than the colours.

    Raises:
        ValueError: it is no picture.
    """
    with _named(path):
        with _plain_tiff(path) as series:
            if series is not None:
                return _of_series(series)
        from PIL import Image, ImageOps

        with Image.open(path) as image:
            ImageOps.exif_transpose(image, in_place=True)
            if indexed and image.mode == "P":
                return np.asarray(image)
            if image.mode in _COLOURED:
                return np.asarray(image.convert("RGB"))
            if image.mode in ("1", "LA", "La"):
                image = image.convert("L")  # type: ignore[assignment]
            return _typed(np.asarray(image))


def converted(array: npt.NDArray[Any], channels: int, dtype: str) -> npt.NDArray[Any]:
    """(height, width) or (height, width, 3) as (channels, height, width); full scale stays full scale."""
    if array.ndim == 3 and channels == 1:
        array = (array.astype(np.float64) @ _GREY).astype(array.dtype) if array.dtype.kind == "f" else _rounded(array)
    elif array.ndim == 2 and channels == 3:
        array = np.repeat(array[..., None], 3, axis=2)
    array = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    if array.dtype == np.uint8 and dtype == "uint16":
        return array.astype(np.uint16) * np.uint16(257)
    if array.dtype == np.uint16 and dtype == "uint8":
        return (array // 257).astype(np.uint8)
    return array.astype(dtype)


def resized(array: npt.NDArray[Any], size: tuple[int, int], *, smooth: bool = True) -> npt.NDArray[Any]:
    """(channels, height, width) in another size, interpolated and without aliasing; else by the nearest pixel."""
    if array.shape[1:] == size:
        return array
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array).astype(np.float32))[None]
    if smooth:
        found = torch.nn.functional.interpolate(tensor, size, mode="bilinear", antialias=True, align_corners=False)
    else:
        found = torch.nn.functional.interpolate(tensor, size, mode="nearest-exact")
    result = found[0].numpy()
    return np.rint(result).astype(array.dtype) if array.dtype.kind in "iu" else result.astype(array.dtype)


class _named:
    """Says of which file a reader complains."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if (
            error is not None
            and isinstance(error, Exception)
            and not isinstance(error, FileNotFoundError | MemoryError)
        ):
            if type(error).__name__ in ("UnidentifiedImageError", "TiffFileError"):  # imported where they are used
                raise ValueError("expected a picture, got a file that is none, or is damaged") from error
            text = str(error).replace(str(self.path), "the file") or type(error).__name__
            raise ValueError(f"expected one picture that can be read, got this: {text}") from error


@contextmanager
def _plain_tiff(path: Path) -> Iterator[Any]:
    """The first series of a TIFF in grey or in red, green and blue; None for what Pillow makes such colours of."""
    if path.suffix.lower() not in _TIFF or importlib.util.find_spec("tifffile") is None:
        yield None
        return
    import tifffile

    with _quiet("tifffile"), tifffile.TiffFile(path) as file:
        if not file.series:
            raise ValueError("a TIFF without pictures")
        series = file.series[0]
        yield series if _photometric(series) in ("MINISBLACK", "MINISWHITE", "RGB") else None


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Without the log of a library, which tells of faults that are raised or reported anyway."""
    log = logging.getLogger(name)
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _photometric(series: Any) -> str:
    """What the numbers of a TIFF are, such as RGB."""
    return str(series.keyframe.photometric.name)


def _of_series(series: Any) -> npt.NDArray[Any]:
    """As `read`."""
    sizes, array = _layout(series), series.asarray().squeeze()
    if "S" in sizes:
        array = np.moveaxis(array, [*sizes].index("S"), -1)[..., : _channels(sizes)]
        array = array[..., 0] if array.shape[-1] == 1 else array
    white_is_0 = _photometric(series) == "MINISWHITE" and array.dtype.kind in "bu"
    return _typed(~array if white_is_0 else array)


def _layout(series: Any) -> dict[str, int]:
    """Length of each axis of a TIFF by its letter: Y, X, and S where it is in colour."""
    sizes = {axis: size for axis, size in zip(series.axes, series.shape, strict=True) if size != 1}
    if {*sizes} not in ({"Y", "X"}, {"Y", "X", "S"}):
        raise ValueError(f"a stack of shape {series.shape}; use `kind: volumes` for stacks")
    return sizes


def _channels(sizes: dict[str, int]) -> int:
    """In colour or grey; more values of a pixel are transparency."""
    return 3 if sizes.get("S", 1) > 2 else 1


def _dtype(dtype: np.dtype[Any]) -> str:
    return dtype.name if dtype.name in ("uint8", "uint16") else "uint8" if dtype.kind == "b" else "float32"


def _of_mode(mode: str) -> str:
    return "uint16" if mode.startswith("I;16") else "float32" if mode in ("I", "F") else "uint8"


def _typed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    return np.ascontiguousarray(array, dtype=_dtype(array.dtype))


def _rounded(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(np.rint(array.astype(np.float64) @ _GREY), dtype=array.dtype)
