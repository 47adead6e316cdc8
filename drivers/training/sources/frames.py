"""Tables of named columns: files of several formats, and what their cells are."""

from __future__ import annotations

import codecs
import csv
import gzip
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from matloop.drivers.training.data import LARGEST
from matloop.drivers.training.sources.decimals import commas_in, with_points
from matloop.drivers.training.sources.source import optional

PARQUET = (".parquet", ".pq")
EXCEL = (".xlsx",)
FIRST_LINE = 2
"""Of a file's rows: its header is line 1."""

_LOOKED_AT = 1000  # rows
_PIECE = 1 << 20  # characters

GAPS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "n/a", "nan", "null",
)  # fmt: skip
"""Cells that hold no value; None is not among them, as coatings and the like may be called so."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A table and how its rows are called.

    Attributes:
        columns: by name, one row for each of `rows`.
        rows: what people find a row by, such as "alloys.csv, line 7".
        path: of the file, or a name for what was given instead.
    """

    columns: pd.DataFrame
    rows: Sequence[str]
    path: Path

    def __len__(self) -> int:
        return len(self.columns)

    def require(self, names: Iterable[str]) -> None:
        """Refuse a table without these columns.

        Raises:
            ValueError: naming those that it lacks and those that it has.
        """
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise ValueError(f"expected the columns {missing} in {self.path}, got {[*map(str, self.columns)]}")

    def texts(self, name: str) -> list[str]:
        """Cells of a column without blanks around them; "" where there is none."""
        return ["" if value is None else str(value).strip() for value in _objects(self.columns[name])]

    def kept(self, keep: npt.NDArray[np.bool_]) -> Frame:
        """Some rows."""
        rows = [row for row, kept in zip(self.rows, keep, strict=True) if kept]
        return Frame(self.columns.loc[keep].reset_index(drop=True), rows, self.path)


def frame(given: Path | str | pd.DataFrame | Mapping[str, Any]) -> Frame:
    """A table from CSV (also gzipped; with commas, semicolons or tabs), Excel's first sheet, Parquet, or memory.

    Decimals may stand behind commas, except in CSV with commas between its cells. CSV in UTF-8, UTF-16 or Windows-1252.

    Raises:
        ValueError: it cannot be read as a table.
        OSError: there is no such file.
        MissingExtra: Parquet needs pyarrow, Excel openpyxl.
    """
    if not isinstance(given, Path | str):
        columns = pd.DataFrame(given)
        _require_different(columns.columns)
        columns = _settled(columns)
        return Frame(columns.reset_index(drop=True), [f"row {i}" for i in columns.index], Path("the table"))
    path = Path(given)
    suffix = path.suffix.lower()
    if suffix in EXCEL:
        with optional("openpyxl"):
            import openpyxl  # noqa: F401  # pandas reads with it
    elif suffix in PARQUET:
        with optional("pyarrow"):
            import pyarrow  # noqa: F401
    if not path.is_file():
        raise FileNotFoundError(f"expected a table in {path}, found no such file; correct `path`")
    try:
        columns = _read(path, suffix)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"expected a table in UTF-8, UTF-16 or Windows-1252 in {path}, got a mixture or another encoding; save it "
            "as UTF-8"
        ) from error
    except (ValueError, EOFError, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise ValueError(
            f"expected a table in {path}, CSV, Excel or Parquet, whose first row names the columns, got: "
            f"{str(error).strip()}"
        ) from error
    columns.columns = [name.strip() if isinstance(name, str) else name for name in columns.columns]
    columns = columns.dropna(how="all")
    if not len(columns):
        raise ValueError(f"expected rows in {path}, got none below its names of columns")
    word, first = ("row", 0) if suffix in PARQUET else ("row" if suffix in EXCEL else "line", FIRST_LINE)
    rows = [f"{path.name}, {word} {i + first}" for i in columns.index]
    return Frame(columns.reset_index(drop=True), rows, path)


def numbers(values: pd.Series) -> npt.NDArray[np.float64]:
    """(n,) float64; NaN where a cell is no finite number, or one beyond 32 bits."""
    if values.dtype == bool:
        return np.asarray(values.to_numpy(), dtype=np.float64)
    if values.dtype.kind in "mM":  # dates
        return np.full(len(values), np.nan)
    found = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(np.where(np.abs(found) <= LARGEST, found, np.nan), dtype=np.float64)


def is_numeric(values: pd.Series) -> bool:
    """Whether more than half of the cells that hold anything hold numbers; the others are then slips."""
    held = values.dropna()
    held = held[held.astype(str).str.strip() != ""]
    flags = held.dtype == bool or (held.dtype == object and held.map(type).eq(bool).all())
    return not flags and len(held) > 0 and 2 * int(np.isfinite(numbers(held)).sum()) > len(held)


def shown(value: Any) -> str:
    """A cell in a message."""
    return "no value" if value is None or value != value or str(value).strip() == "" else repr(value)


def cells(values: pd.Series) -> list[Any]:
    """As Python has them, None for gaps."""
    return _objects(values)


def _objects(values: pd.Series) -> list[Any]:
    return list(values.astype(object).where(values.notna(), None))


def _read(path: Path, suffix: str) -> pd.DataFrame:
    if suffix in EXCEL:
        _require_different(pd.read_excel(path, header=None, nrows=1, dtype=str).iloc[:1].stack())
        return _settled(pd.read_excel(path, keep_default_na=False, na_values=GAPS))
    return _settled(pd.read_parquet(path)) if suffix in PARQUET else _csv(path)


def _settled(columns: pd.DataFrame) -> pd.DataFrame:
    """With numbers for texts where decimals stand behind commas."""
    return with_points(columns) if commas_in(columns, certainly=True) else columns


def _encoding(path: Path, opened: Any) -> str:
    """Of a file of text: Unicode, or what programs under Windows write without.

    Raises:
        UnicodeDecodeError: it is neither, or UTF-8 with some damage.
    """
    with opened(path, "rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
    try:
        return _decoded(path, opened, "utf-8-sig")
    except UnicodeDecodeError:
        if _partly_utf8(path, opened):
            raise
    return _decoded(path, opened, "cp1252")


def _decoded(path: Path, opened: Any, encoding: str) -> str:
    with opened(path, "rt", encoding=encoding, newline="") as file:
        while file.read(_PIECE):
            pass
    return encoding


def _partly_utf8(path: Path, opened: Any) -> bool:
    """Whether some characters beyond ASCII are right in UTF-8; those of other encodings hardly ever are."""
    with opened(path, "rt", encoding="utf-8-sig", errors="ignore", newline="") as file:
        return any(not piece.isascii() for piece in iter(lambda: file.read(_PIECE), ""))


def _csv(path: Path) -> pd.DataFrame:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    opened = gzip.open if packed else open
    encoding = _encoding(path, opened)
    with opened(path, "rt", encoding=encoding, newline="") as file:
        header = file.readline()
    separator = max(",;\t", key=header.count)
    _require_different(next(csv.reader([header], delimiter=separator, skipinitialspace=True), []))
    options: dict[str, Any] = {
        "sep": separator,
        "decimal": "," if separator == ";" else ".",
        "encoding": encoding,
        "compression": "gzip" if packed else None,
        "skipinitialspace": True,
        "skip_blank_lines": False,
        "low_memory": False,
        "keep_default_na": False,
        "na_values": GAPS,
    }
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", pd.errors.ParserWarning)
        found = pd.read_csv(path, index_col=False, **options)
    # pandas has dropped what has no name; without `index_col` it takes as many columns at the left for names of rows
    lost = any(issubclass(warning.category, pd.errors.ParserWarning) for warning in told)
    if lost and not pd.read_csv(path, **options).iloc[:, -1].isna().all():
        raise ValueError(f"{found.shape[1]} names of columns for more columns; name them all")
    if separator == ";":  # columns with commas alone have been read as numbers
        start = pd.read_csv(path, **{**options, "dtype": str, "nrows": _LOOKED_AT})
        return with_points(found) if commas_in(start, certainly=False) else found
    return _settled(found) if separator == "\t" else found


def _require_different(names: Iterable[Any]) -> None:
    counts = Counter(str(name).strip() for name in names)
    if twice := [name for name, count in counts.items() if name and count > 1]:
        raise ValueError(f"several columns called {twice[0]!r}; rename all but one")
