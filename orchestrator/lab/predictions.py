"""What a lab's model expects of any points, however they are given: mappings, a DataFrame, or a table in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from matloop.orchestrator.composition.source import suggest
from matloop.orchestrator.errors import MatloopError, MissingExtra, Problem, RejectedPoints
from matloop.orchestrator.lab.experiments import Experiments
from matloop.orchestrator.lab.fields import Field, fields_of
from matloop.orchestrator.lab.tables import HIGH, LOW, PREDICTED, Layout
from matloop.orchestrator.measurement import is_number, shown
from matloop.orchestrator.report.forecast import Forecast, forecasts
from matloop.orchestrator.trial import Point

if TYPE_CHECKING:
    from pandas import DataFrame

MOST = 10_000
"""Points in one request."""

WORKS, OUTSIDE = "works", "outside"
"""Columns beside the predictions: probability that the experiment works, and why a point is an extrapolation."""


def predict(lab: Experiments, points: Sequence[Mapping[str, Any]]) -> list[Forecast]:
    """What is expected of points.

    Args:
        lab: open.
        points: complete; values may lie outside the space, and amounts that are left out of a mixture are 0.

    Raises:
        RejectedPoints: a point lacks an input, has an unknown one, or a value that cannot be one; by row, from 0.
        NoPrediction: the strategy has no model, or too few results for it.
        MatloopError: there are too many points.
    """
    if len(points) > MOST:
        raise MatloopError(f"expected at most {MOST:,} points, got {len(points):,}; ask for them in parts")
    fields = fields_of(lab.space)
    complete = [completed(point, fields) for point in points]
    done = measured_choices(lab)
    problems = [p for row, point in enumerate(complete) for p in objections(point, fields, row, done)]
    if problems:
        raise RejectedPoints(problems)
    return lab.foresee(lambda strategy: forecasts(strategy, complete, lab.objectives, lab.space))


def measured_choices(lab: Experiments) -> dict[str, list[Any]]:
    """Choices that were measured, by input; some may no longer be chosen."""
    trials = lab.trials()
    return {f.name: [t.point[f.name] for t in trials if f.name in t.point] for f in fields_of(lab.space) if f.choices}


def completed(point: Mapping[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    """A point with what its absent inputs stand for, as plain values."""
    found = {str(name): _plain(value) for name, value in point.items()}
    absent = {f.name: f.default for f in fields if f.default is not None and f.name not in found}
    return {**found, **absent}


def objections(
    point: Point, fields: Sequence[Field], row: int, done: Mapping[str, Sequence[Any]] = MappingProxyType({})
) -> list[Problem]:
    """What keeps a point from being predicted; lying outside the space does not.

    Args:
        point: it.
        fields: inputs of an experiment.
        row: of the point.
        done: choices that were measured, by input; they are known although they may no longer be chosen.
    """
    known = {f.name: f for f in fields}
    problems = [
        Problem(f"there is no such input; {suggest(name, known)}", (row, name)) for name in point if name not in known
    ]
    for field in fields:
        if field.name not in point:
            if field.applies(point) and not field.uncontrolled:
                text = f"expected a value of {field.name}, got none"
                problems.append(Problem(text, (row, field.name), remedy=f"add {field.name} to every point"))
        elif text := _objection(field, point[field.name], done.get(field.name, ())):
            problems.append(Problem(text, (row, field.name)))
    return problems


def _objection(field: Field, value: Any, done: Sequence[Any]) -> str:
    if field.choices:
        known = (*field.choices, *done)
        same = any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in known)
        return "" if same else f"expected one of {', '.join(map(str, field.choices))}, got {shown(value)}"
    return "" if is_number(value) else f"expected a number, got {shown(value)}"


def frame(found: Sequence[Forecast], layout: Layout, index: Any = None) -> DataFrame:
    """Forecasts as a DataFrame; see `matloop.orchestrator.lab.Lab.predict`."""
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra("pandas") from error
    names, rows = rows_of(found, layout, units=False)
    return pandas.DataFrame(rows, columns=names, index=index)


def points_of(frame: DataFrame, fields: Sequence[Field]) -> list[dict[str, Any]]:
    """Rows of a DataFrame as points; empty cells are inputs that are not part of the point.

    Columns other than the inputs are passed over, so that the frames of `recommend_frame` and `frame` can be given.

    Raises:
        MatloopError: a column of an input is missing.
    """
    names = [f.name for f in fields if f.name in frame.columns]
    needed = [f.name for f in fields if f.default is None and not f.when and not f.uncontrolled]
    if missing := [name for name in needed if name not in names]:
        raise MatloopError(
            f"expected a column for each input ({', '.join(needed)}), got none for {', '.join(missing)}; add what is "
            "missing, with the value that it is to have"
        )
    given = frame[names]
    rows = zip(given.itertuples(index=False, name=None), given.notna().itertuples(index=False, name=None), strict=True)
    return [
        {name: value for name, value, there in zip(names, row, present, strict=True) if there and value != ""}
        for row, present in rows
    ]


def rows_of(found: Sequence[Forecast], layout: Layout, *, units: bool = True) -> tuple[list[str], list[list[Any]]]:
    """Titles, with or without units, and rows: inputs, then `NAME predicted`, `low` and `high` of every objective."""
    inputs = [f.name for f in layout.fields if any(f.name in one.point for one in found)]
    predicted = [o.name for o in layout.objectives]
    names = [*inputs, *(f"{name} {what}" for name in predicted for what in (PREDICTED, LOW, HIGH))]
    titles = [layout.title(name) if units else name for name in names]
    works = any(one.works is not None for one in found)
    rows = []
    for one in found:
        row = [one.point.get(name) for name in inputs]
        for name in predicted:
            row += [one.mean.get(name), *one.interval.get(name, (None, None))]
        rows.append([*row, *([one.works] if works else []), one.outside])
    mark = "# " if units else ""  # readers of tables pass over what begins with it
    return [*titles, *([mark + WORKS] if works else []), mark + OUTSIDE], rows


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
