"""What the columns of a table may be for, by their names and contents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from matloop.drivers.training.data import PARTS
from matloop.drivers.training.sources.columns import MOST_CATEGORIES, nameless
from matloop.drivers.training.sources.frames import Frame, is_numeric

_CONDITION = re.compile(
    r"^(t|p|temp|temperature|pressure|time|hours?|minutes?|rate|humidity|field|dose|ph|thickness|concentration)"
    r"([ _(\[].*)?$",
    re.IGNORECASE,
)
_GROUP = re.compile(
    r"^(group|specimen|sample|batch|heat|lot|melt|wafer|micrograph|patient|family|gruppe|probe|charge|schmelze|los"
    r"|echantillon|échantillon|coulée|lote|muestra)([ _-]?(id|no|nr|name|nummer))?\.?$",
    re.IGNORECASE,
)
_FEW = 20  # different texts that may be categories all the same
_ROWS_OF_A_CATEGORY = 5  # at least, on average, where there are more
_ID = re.compile(r"^id$|[_ ]id$", re.IGNORECASE)
_FORMULA = re.compile(r"^(formula|composition|compound|material|chemical[ _]formula)$", re.IGNORECASE)


def conditions(table: Frame, others: list[str]) -> list[str]:
    """Columns of numbers that are set, not measured, by their names."""
    return [name for name in others if _CONDITION.match(name) and is_numeric(table.columns[name])]


def roles(table: Frame, *others: str | None) -> dict[str, str]:
    """Columns that name rows, groups and parts.

    Args:
        table: with them.
        others: columns that are for something else.
    """
    found: dict[str, str] = {}
    names = [str(name) for name in table.columns if not nameless(name)]
    for column in names:
        if column in others:
            continue
        texts = [text for text in table.texts(column) if text]
        different = len({*texts})
        if texts and {*texts} <= {*PARTS}:
            found.setdefault("part", column)
        elif (_GROUP.match(column) and 1 < different < len(texts)) or (
            column != names[-1] and _repeated(table, column, texts)
        ):
            found.setdefault("group", column)
        elif different == len(table) and (_ID.search(column) or _names(table, column)):
            found.setdefault("id", column)
    return found


def said(source: Mapping[str, Any]) -> list[str]:
    """The columns of a table that are no inputs, by the options of a source, and what they are taken for."""
    meaning = {
        "id": "names each row",
        "group": "names what several rows belong to, such as a specimen",
        "part": "says which rows are for training, validation and test",
    }
    return [
        f"the column {source[role]!r} {what} (`{role}:`), and is no input"
        for role, what in meaning.items()
        if role in source and "target" in source
    ]


def _categories(texts: Sequence[str], different: int) -> bool:
    """Whether texts are few enough, and each frequent enough, to learn what every one of them does."""
    return different <= _FEW or (different <= MOST_CATEGORIES and _ROWS_OF_A_CATEGORY * different <= len(texts))


def _repeated(table: Frame, column: str, texts: Sequence[str]) -> bool:
    """Whether a column names things that have a few rows each, too few to learn of each what it does."""
    different = len({*texts})
    return not is_numeric(table.columns[column]) and 1.5 * different < len(texts) and not _categories(texts, different)


def _names(table: Frame, column: str) -> bool:
    return len(table) > _FEW and not is_numeric(table.columns[column])


def formula(table: Frame) -> str | None:
    """The column of chemical formulas, by its name, or since most of its cells can be read as such."""
    from matloop.search_spaces.formulas.space import readable

    named = [str(name) for name in table.columns if _FORMULA.match(str(name))]
    texts = [str(name) for name in table.columns if not is_numeric(table.columns[name])]
    for name in dict.fromkeys([*named, *texts]):
        cells = [text for text in table.texts(name) if text][:200]
        if cells and 2 * sum(readable(cell) for cell in cells) > len(cells):
            return name
    return None


def usable(table: Frame, name: str) -> bool:
    """Whether a column can be an input: numbers, or not too many categories."""
    if nameless(name):
        return False
    if is_numeric(table.columns[name]):
        return True
    texts = [text for text in table.texts(name) if text]
    return bool(texts) and _categories(texts, len({*texts}))
