"""A table of trials as `matloop export --csv` writes it, taken for one of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from matloop.orchestrator.lab.header import cleaned
from matloop.orchestrator.lab.sheets import Cell, Sheet
from matloop.orchestrator.lab.tables import COST, FAILED, NOISE, NOTE, TRIAL, tag

MARKS = {"id", "state", "proposed_at"}
"""Columns that such a table has."""

REMARK = "read as a table of trials; single readings and who reported are only in tables of `matloop export --table`"


def as_results(sheet: Sheet) -> Sheet:
    """The same as a table of results, if it is a table of trials; else the sheet itself.

    A trial has the tag that it has in tables for people. What has no result stays without one.
    """
    place = next((i for i, row in enumerate(sheet.rows[: sheet.searched]) if any(row)), None)
    if place is None:
        return sheet
    names = {cleaned(title): i for i, title in enumerate(sheet.rows[place])}
    if not names.keys() >= MARKS or not any(name.startswith("value.") for name in names):
        return sheet
    titles = {name: title for name in names if (title := _title(name))}
    rows: list[list[Cell]] = [[TRIAL, FAILED, *titles.values()]]
    for row in sheet.rows[place + 1 :]:
        rows.append(_row(row, names, list(titles)))
    return replace(sheet, rows=rows, first=sheet.first + place, remarks=[*sheet.remarks, REMARK])


def _row(row: Sequence[Cell], names: Mapping[str, int], wanted: Sequence[str]) -> list[Cell]:
    cells = {name: row[i] for name, i in names.items() if i < len(row)}
    state, number, proposed = (_text(cells.get(name, "")) for name in ("state", "id", "proposed_at"))
    if state not in ("answered", "failed") or not number.isdecimal():
        return []
    failed = cells.get("message") or "failed" if state == "failed" else ""
    try:
        trial = tag(int(number), float(proposed))
    except ValueError:
        trial = ""
    return [trial, failed, *(cells.get(name, "") for name in wanted)]


def _title(name: str) -> str:
    """What a column is called in tables of results; empty if it has no place there."""
    group, dot, rest = name.partition(".")
    if dot and group in ("point", "value"):
        return rest
    if dot and group == "noise":
        return f"{rest} {NOISE}"
    return {"info.note": NOTE, "cost": COST}.get(name, "")


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell.text
