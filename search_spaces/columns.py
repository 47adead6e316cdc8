"""What each column of an encoded point stands for, so that a model can treat numbers, choices and amounts apart."""

from __future__ import annotations

from collections.abc import Iterable

from matloop.orchestrator.protocols import Column, ColumnKind, Labelled


def labels(space: object) -> tuple[Column, ...] | None:
    """The columns of a space that is `Labelled`; None of any other, where each is to be taken for a number."""
    columns = tuple(space.columns) if isinstance(space, Labelled) else ()
    return columns if columns and all(isinstance(column, Column) for column in columns) else None


def blocks(columns: Iterable[Column]) -> list[tuple[str, ColumnKind, list[int]]]:
    """Columns that belong together: (parameter, kind, their indices) in order."""
    found: dict[tuple[str, ColumnKind], list[int]] = {}
    for i, column in enumerate(columns):
        found.setdefault((column.parameter, column.kind), []).append(i)
    return [(parameter, kind, indices) for (parameter, kind), indices in found.items()]
