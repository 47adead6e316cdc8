"""Numbers with a decimal comma among the texts of a table, told from those with a point by their columns."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

_THOUSANDS = r"[1-9]\d{0,2}(?:\.\d{3})+"
_NUMBER = re.compile(rf"[+-]?(?:\d+|{_THOUSANDS})(?:,\d+)?(?:[eE][+-]?\d+)?")
_POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")
_GROUPED = re.compile(rf"[+-]?{_THOUSANDS}")
_ENGLISH = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")  # with commas between thousands


def commas_in(cells: pd.DataFrame, *, certainly: bool) -> bool:
    """Whether a cell is a number with a decimal comma.

    Args:
        cells: of which the texts count.
        certainly: whether one that may be thousands in English, such as "1,200", does not count.
    """
    return any(
        "," in text and _NUMBER.fullmatch(text) and not (certainly and _ENGLISH.fullmatch(text))
        for name in cells
        for text in _texts(cells[name])
    )


def with_points(columns: pd.DataFrame) -> pd.DataFrame:
    """A table with decimal commas in which texts such as "512,3" are numbers, and so is "1.200", which is 1200.

    A column of which a number has a point that cannot stand between thousands, such as "0.35", has decimal points; it
    stays as it is, and so do texts that are no numbers.
    """
    meant = [name for name in columns if _has_commas(_texts(columns[name]))]
    return columns.assign(**{str(name): columns[name].map(_number) for name in meant})


def _has_commas(texts: list[str]) -> bool:
    marked = any(_NUMBER.fullmatch(text) for text in texts if "," in text or "." in text)
    return marked and not any(_POINT.fullmatch(text) and not _GROUPED.fullmatch(text) for text in texts)


def _texts(values: pd.Series) -> list[str]:
    return [value.strip() for value in values if isinstance(value, str)] if values.dtype.kind not in "biufcmM" else []


def _number(value: Any) -> Any:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value.strip()):
        return value
    return float(value.strip().replace(".", "").replace(",", "."))
