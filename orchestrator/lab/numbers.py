"""Numbers as people write them: with a unit, with a spread, with either decimal mark.

`1.200` is 1.2 to one person and 1200 to another. What else stands in its column decides (`Marks`); where nothing does,
the number is refused rather than guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple

from matloop.orchestrator.lab.units import is_share, is_unit, same_unit
from matloop.orchestrator.measurement import limit
from matloop.orchestrator.trial import Side

Mark = Literal[",", "."]
"""What stands before the decimals."""

LONGEST = 40
"""Characters of a cell in a message."""

LONGEST_NUMBER = 100
"""Characters of a number with all that goes with it."""


class TwoNumbers(ValueError):
    """What was written may mean two numbers."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A number that a program keeps as one, so that nothing about it is in doubt.

    Attributes:
        value: finite.
        percent: whether it is shown in percent: 0.615 as 61.5 %.
    """

    value: int | float
    percent: bool = False

    @property
    def text(self) -> str:
        """As a person would write it, with all its digits and a decimal point."""
        if self.percent:
            return f"{Decimal(repr(self.value)) * 100:f} %"
        return repr(self.value)


class Quantity(NamedTuple):
    """What a cell says: a number, and what goes with it.

    `noise` is one standard deviation where the cell has `±`; `side` is set where the number is a limit, as in `<0.1`.
    """

    value: float
    noise: float | None = None
    side: Side | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What is known about the decimal mark of a column.

    Attributes:
        own: marks of the numbers in the column that can be read in one way only.
        told: what its reader was told, for columns that do not say themselves.
        usual: mark of the rest of the table, which settles what is read in the same way by it.
    """

    told: Mark | None = None
    own: frozenset[Mark] = frozenset()
    usual: Mark | None = "."

    def of(self, mark: Mark) -> Mark | None:
        """Decimal mark of the table for a number with this one mark in it; None if it may mean two."""
        if len(self.own) == 1:
            (own,) = self.own
            return own if self.told in (None, own) else None
        if self.own or self.told:
            return self.told
        return mark if mark == self.usual else None


BY_HAND = Marks()
"""A number in a form: a decimal point is one, and a comma if what follows cannot be thousands."""

_MINUS = str.maketrans("−–﹣－‐‑", "------")
_SPACES = str.maketrans("\u00a0\u202f\u2009\u2007\u2002\u2003", "      ")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_POWER = re.compile(
    r"(?P<digits>[\d.,]*\d)? ?(?:[·⋅∙*×xX] ?)?(?<!\d)10 ?"
    r"(?:(?:\^|\*\*) ?(?P<plain>\(?[+-]?\d+\)?)|(?P<small>[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+))"
)
_NUMBER = re.compile(r"[+-]?(?:\d[\d.,' ’]*|[.,]\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_PLUS_MINUS = re.compile(r" ?(?:±|\+/-|\+-) ?")
_CONCISE = re.compile(r"([+-]?\d+(?:[.,]\d+)?)\((\d+)\)", re.ASCII)
_DATE = re.compile(
    r"\d{1,2}[-./ ](?:[A-Za-z]{3,9}|\d{1,2})[-./ ]\d{2,4}|\d{4}-\d{2}-\d{2}.*"
    r"|\d{1,2}[-. ]+[A-Za-zä]{3,9}\.?|[A-Za-zä]{3,9}\.?[- ]\d{2,4}"
)
_GROUPED = re.compile(r"\d{1,3}(?:[ '’]\d{3})+(?=$|[.,]\d*$)", re.ASCII)
_THOUSANDS = {",": re.compile(r"[1-9]\d{0,2}(,\d{3})+"), ".": re.compile(r"[1-9]\d{0,2}(\.\d{3})+")}
_OTHER: dict[str, Mark] = {",": ".", ".": ","}


def number(written: str, unit: str = "", marks: Marks = BY_HAND) -> float:
    """A number as people write it, with or without its unit.

    Raises:
        ValueError: it is none, or could be two, or something goes with it; says what was expected.
    """
    found = quantity(written, unit, marks)
    if found.noise is not None or found.side is not None:
        raise ValueError(f"expected a number{_in(unit)} alone, got {written[:LONGEST]!r}; write the number only")
    return found.value


def quantity(written: str, unit: str = "", marks: Marks = BY_HAND) -> Quantity:
    """A number, its spread and whether it is a limit, as people write them into one cell.

    `1.5E3`, `1,5·10^3`, `412 ± 6`, `(61.5 ± 0.8) %`, `61.52(8)`, `1 200`, `< 0.1`, `80 °C`. Unless the unit is
    that of the column, or is left out, it is refused.

    Args:
        written: content of the cell.
        unit: of the column; empty if it has none.
        marks: what is known about its decimal mark.

    Raises:
        ValueError: it is none, or could be two; says what was expected.
    """
    try:
        return _quantity(written[: LONGEST_NUMBER + 1], unit, marks)
    except TwoNumbers:
        raise
    except ValueError as error:
        raise ValueError(_objection(written, unit, str(error))) from None


def typed(cell: Typed, unit: str = "") -> float:
    """The number in a cell that a program keeps as one.

    Raises:
        ValueError: it is in percent, and the column is not.
    """
    if not cell.percent:
        return float(cell.value)
    if is_share(unit):
        return float(Decimal(repr(cell.value)) * 100)
    raise ValueError(
        f"expected a number{_in(unit)}, got {cell.text} (a cell in percent); format the cell as a number, "
        f"which then says {cell.value!r}, and correct it if that is not what is meant"
    )


def marks_in(texts: Iterable[str]) -> frozenset[Mark]:
    """Decimal marks of the numbers in some cells, as far as these can be read in one way only."""
    found: set[Mark] = set()
    for text in texts:
        if len(text) > LONGEST_NUMBER:
            continue
        for match in _NUMBER.finditer(_tidy(text)):
            mantissa, exponent = _parts(match[0])
            mark = _clear(mantissa, bool(exponent))
            if mark is not None:
                found.add(mark)
        if len(found) == 2:
            break
    return frozenset(found)


def _quantity(written: str, unit: str, marks: Marks) -> Quantity:
    if len(written) > LONGEST_NUMBER:
        raise ValueError("")
    text, side = limit(_tidy(written))
    if text.startswith("(") and _PLUS_MINUS.search(text):
        inner, _, rest = text[1:].partition(")")
        text = f"{inner}{' ' if rest.strip() else ''}{rest.strip()}"
    parts = _PLUS_MINUS.split(text)
    if len(parts) > 2 or (side and len(parts) == 2):
        raise ValueError("")
    if len(parts) == 2 and not parts[0]:  # ± 6 in a column of spreads
        parts = parts[1:]
    if len(parts) == 1 and (concise := _CONCISE.match(parts[0])):
        return _concise(concise, parts[0][concise.end() :], unit, marks)
    value = _single(parts[0], unit, marks)
    noise = _single(parts[1], unit, marks) if len(parts) == 2 else None
    if noise is not None and noise < 0:
        raise ValueError("")
    return Quantity(value, noise, side)


def _concise(match: re.Match[str], rest: str, unit: str, marks: Marks) -> Quantity:
    """61.52(8) is 61.52 ± 0.08."""
    value = _single(match[1] + rest, unit, marks)
    decimals = len(_plain(match[1], marks).partition(".")[2])
    return Quantity(value, float(Decimal(int(match[2])).scaleb(-decimals)))


def _single(text: str, unit: str, marks: Marks) -> float:
    match = _NUMBER.match(text)
    if match is None:
        raise ValueError("")
    rest = text[match.end() :].strip()
    if rest and not same_unit(rest, unit):
        raise ValueError(rest)
    value = float(_plain(match[0].strip(), marks))
    if not math.isfinite(value):
        raise ValueError("")
    return value


def _plain(token: str, marks: Marks) -> str:
    """Digits as Python reads them.

    Raises:
        TwoNumbers: it may mean two.
        ValueError: it is no number.
    """
    sign = token[0] if token[0] in "+-" else ""
    mantissa, exponent = _parts(token)
    grouped = _grouped(mantissa)
    if grouped is None:
        raise ValueError("")
    held = {mark for mark in ",." if mark in grouped}
    if not held:
        return f"{sign}{grouped}{exponent}"
    mark = _clear(mantissa, bool(exponent))
    if mark is None:
        one = _mark_in(grouped)
        mark = marks.of(one)
        if mark is None:
            raise TwoNumbers(_two(token, sign, grouped, one, marks))
    bare = grouped.replace(_OTHER[mark], "").replace(mark, ".")
    valid = re.fullmatch(r"\d+\.?\d*|\.\d+", bare, re.ASCII)
    thousands = grouped.partition(mark)[0]
    if not valid or (_OTHER[mark] in grouped and not _THOUSANDS[_OTHER[mark]].fullmatch(thousands)):
        raise ValueError("")
    return f"{sign}{bare}{exponent}"


def _clear(mantissa: str, exponent: bool) -> Mark | None:
    """Decimal mark of a number that can be read in one way only; None if it has none, or may mean two."""
    grouped = _grouped(mantissa)
    if grouped is None or not any(mark in grouped for mark in ",."):
        return None
    if "," in grouped and "." in grouped:
        return "," if grouped.rfind(",") > grouped.rfind(".") else "."
    mark = _mark_in(grouped)
    if grouped.count(mark) > 1:
        return _OTHER[mark]
    spaced = grouped != mantissa
    return mark if spaced or exponent or not _THOUSANDS[mark].fullmatch(grouped) else None


def _grouped(mantissa: str) -> str | None:
    """Without spaces or apostrophes between thousands; None if they stand elsewhere."""
    bare = mantissa.strip()
    if not re.search("[ '’]", bare):
        return bare
    return re.sub("[ '’]", "", bare) if _GROUPED.match(bare) else None


def _parts(token: str) -> tuple[str, str]:
    """Digits with their marks, without the sign, and the exponent."""
    bare = token.strip().lstrip("+-")
    place = next((i for i, c in enumerate(bare) if c in "eE"), len(bare))
    return bare[:place].strip(), bare[place:]


def _mark_in(text: str) -> Mark:
    return "," if "," in text else "."


def _two(token: str, sign: str, grouped: str, mark: Mark, marks: Marks) -> str:
    thousands, decimals = grouped.split(mark)
    decimals = decimals.rstrip("0")
    if len(decimals) == 3 and marks.of(".") != ".":
        decimals += "0"  # four digits are no thousands
    bare = f"{sign}{thousands}.{decimals}".rstrip(".")
    return f"{token!r} may mean two numbers; write {sign}{grouped.replace(mark, '')} or {bare}"


def _tidy(written: str) -> str:
    """One kind of minus and of space, and powers of ten as exponents."""
    text = " ".join(written.translate(_MINUS).translate(_SPACES).split())
    if "10" in text:
        text = _POWER.sub(_power, text)
    return text


def _power(match: re.Match[str]) -> str:
    exponent = match["plain"].strip("()") if match["plain"] else match["small"].translate(_SUPERSCRIPTS)
    return f"{match['digits'] or 1}e{exponent}"


def _objection(written: str, unit: str, rest: str) -> str:
    shown = repr(written[:LONGEST])
    if _DATE.fullmatch(written.strip()):
        return (
            f"expected a number{_in(unit)}, got the date {shown}; a spreadsheet program may have made it of a number: "
            "format the cell as text, and write the number again"
        )
    if rest and is_unit(rest):
        return f"expected a number{_in(unit)}, got {shown}; convert it"
    return f"expected a number{_in(unit)}, got {shown}"


def _in(unit: str) -> str:
    return f" in {unit}" if unit else ""
