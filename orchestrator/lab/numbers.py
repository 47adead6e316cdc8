"""Numbers as people write them."""

from __future__ import annotations

import math
import re


def number(written: str, unit: str = "") -> float:
    """A number as people write it: decimal comma or point, with or without its unit.

    Raises:
        ValueError: it is none, or could be two; says what was expected.
    """
    bare = written.replace("−", "-").replace("\u202f", "").strip()
    if unit and bare.endswith(unit):
        bare = bare[: -len(unit)].rstrip()
    if re.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?", bare, re.ASCII):
        raise ValueError(
            f"{written!r} may mean two numbers; write {bare.replace(',', '')}"
            + ("" if "." in bare or bare.count(",") > 1 else f" or {bare.replace(',', '.')}")
        )
    if bare.count(",") == 1 and "." not in bare:
        bare = bare.replace(",", ".")
    try:
        value = float(bare) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", bare, re.ASCII) else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"expected a number{f' in {unit}' if unit else ''}, got {written[:40]!r}")
    return value
