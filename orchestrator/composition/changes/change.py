"""One change of a campaign file, in a line: what it does to how many results, and what the file has to say first."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Change:
    """One of them.

    Attributes:
        text: what it is, and what it does.
        missing: what the campaign file has to say before anybody can go on; empty if nothing is.
        keys: of points, which it is about.
    """

    text: str
    missing: str = ""
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.text}; {self.missing}" if self.missing else self.text


def of(count: int, total: int) -> str:
    """`7 of 42 results`, `all 42 results`, `the one result`, `none of 42 results`, `no result yet`."""
    if not total:
        return "no result yet"
    if not count:
        return f"none of {total} results"
    if count == total:
        return f"all {total} results" if total > 1 else "the one result"
    return f"{count} of {total} results"


def among(value: object, values: Iterable[object]) -> bool:
    """Whether it is one of them; true is not 1."""
    return any(isinstance(value, bool) == isinstance(other, bool) and value == other for other in values)


def kept(count: int) -> str:
    """What becomes of so many results outside; nothing of none."""
    if not count:
        return ""
    return f"; {'it is' if count == 1 else 'they are'} kept for the model, nothing is proposed there"


def lie(count: int) -> str:
    """The verb that goes with a number of results."""
    return "lies" if count == 1 else "lie"


def shown(value: Any) -> str:
    """A value as the campaign file has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{shown(key)}: {shown(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(shown, value)) + "]"
    return "none" if value is None else str(value)


def arrow(before: Any, after: Any) -> str:
    """`120 → 100`."""
    return f"{shown(before)} → {shown(after)}"


def unit_change(
    name: str, before: Mapping[str, Any], after: Mapping[str, Any], count: int, keys: Sequence[str] = ()
) -> Change | None:
    """What another unit means: numbers on record are in the old one, and nobody converts them.

    Args:
        name: of the parameter, mixture or objective.
        before: its options, as recorded.
        after: its options.
        count: results that have it.
        keys: of points, which it is about.
    """
    old, new = str(before.get("unit") or "").strip(), str(after.get("unit") or "").strip()
    if _plain(old) == _plain(new):
        return None
    if not old or not new or not count:
        said = f"unit {new} added" if not old else f"unit {old} removed" if not new else f"unit {arrow(old, new)}"
        return Change(
            f"`{name}`: {said}: {f'{_results(count)} read in it' if count and new else 'nothing is converted'}"
        )
    said = f"`{name}`: unit {arrow(old, new)}"
    if _plain(str(after.get("unit_before") or "")) == _plain(old):
        return Change(f"{said}: both are said to mean the same, so {_results(count)} read in {new}", keys=tuple(keys))
    return Change(
        f"{said}: the numbers of {_results(count, verb=False)} are in {old}, and none is converted",
        f"keep {old}, or, if both mean the same, add `unit_before: {old}`",
        tuple(keys),
    )


def _results(count: int, *, verb: bool = True) -> str:
    text = "1 result" if count == 1 else f"{count} results"
    return f"{text} {'is' if count == 1 else 'are'}" if verb else text


def _plain(unit: str) -> str:
    return unicodedata.normalize("NFKC", unit.replace("º", "°")).replace(" ", "")
