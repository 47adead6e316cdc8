"""Rows of a table that was filled in, one result after another."""

from __future__ import annotations

import hashlib
import math
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from matloop.orchestrator.errors import Problem
from matloop.orchestrator.lab.columns import IGNORE, Columns
from matloop.orchestrator.lab.contents import listed, rows_listed
from matloop.orchestrator.lab.missing import is_doubtful, is_missing, is_undetected
from matloop.orchestrator.lab.numbers import Quantity, TwoNumbers, Typed, quantity, typed
from matloop.orchestrator.lab.results import Result, same
from matloop.orchestrator.lab.rules import no_trial
from matloop.orchestrator.lab.sheets import Cell
from matloop.orchestrator.lab.tables import COST, FAILED, NOISE, NOTE, TRIAL, Layout, tag
from matloop.orchestrator.plain import to_json
from matloop.orchestrator.trial import Trial

YES = {"yes", "y", "x", "true", "1", "1.0", "failed"}
NO = {"no", "n", "false", "0", "0.0", "ok"}

TAGGED = re.compile(r"(\d{1,9})@[0-9a-f]{8}")
"""A trial of this or another record; see `matloop.orchestrator.lab.exported`."""


class Rows:
    """Reads one row after another.

    Args:
        layout: of the study's tables.
        planned: trials by id.
        columns: of this table.
        problems: where everything that is wrong is noted.
    """

    def __init__(self, layout: Layout, planned: Mapping[int, Trial], columns: Columns, problems: list[Problem]) -> None:
        self.layout, self.planned, self.columns, self.problems = layout, planned, columns, problems
        self.inputs = {f.name: f for f in layout.fields if f.name in columns.places}
        self.known = {*columns.titles, *columns.passed_over}
        self.copies: Counter[str] = Counter()
        self.doubtful: list[int] = []
        self.passed_over: set[int] = set()
        self.row = 0
        self.cells: Sequence[Cell] = ()

    def read(self, row: int, cells: Sequence[Cell]) -> Result | None:
        """The result in a row; None if there is none, or if something is wrong with it, which is noted."""
        self.row, self.cells = row, cells
        before = len(self.problems)
        self._untitled()
        failure = _failure(self._text(FAILED))
        if not failure and not self._measured():
            self._doubt()
            return None
        result = self._result(failure)
        return result if len(self.problems) == before else None

    def remarks(self) -> list[str]:
        """What people should know about how the rows were read."""
        remarks = []
        if self.passed_over:
            columns = listed([place + 1 for place in sorted(self.passed_over)])
            remarks.append(f"passed over columns without a title: {columns}")
        if not self.doubtful:
            return remarks
        return [
            *remarks,
            f"n.d. was taken for not yet determined: {rows_listed(self.doubtful)}; where it means not detected, write "
            "the limit of detection after <",
        ]

    def _untitled(self) -> None:
        untitled = [i for i, cell in enumerate(self.cells) if cell and i not in self.known]
        if untitled and self.columns.untitled:
            self.passed_over.update(untitled)
        elif untitled:
            others = f", nor above {len(untitled) - 1} more" if len(untitled) > 1 else ""
            first = untitled[0]
            text = f"expected a title above {_shown(self.cells[first])} in column {first + 1}, got none{others}"
            self._object(text, None, "give the column a title; one that begins with # is passed over", IGNORE)

    def _measured(self) -> bool:
        """Whether the row says anything about what was measured."""
        names = [name for o in self.layout.objectives for name in (o.name, f"{o.name} {NOISE}")]
        places = [self.columns.places[name] for name in names if name in self.columns.places]
        places += [place for places in self.columns.readings.values() for place in places]
        return any(not _is_missing(self._at(place)) for place in places)

    def _doubt(self) -> None:
        places = [self.columns.places.get(o.name) for o in self.layout.objectives]
        if any(place is not None and _is_doubtful(self._at(place)) for place in places):
            self.doubtful.append(self.row)

    def _result(self, failure: str) -> Result | None:
        trial, request = self._trial()
        if trial is not None and trial not in self.planned:
            self.problems.append(replace(no_trial(trial), place=(self.row, self.columns.title(TRIAL))))
            return None
        values, noise, readings, censored = {}, {}, {}, {}
        for objective in self.layout.objectives:
            found, single = self._objective(objective.name)
            if found is not None:
                values[objective.name] = found.value
            if found is not None and found.noise is not None:
                noise[objective.name] = found.noise
            if found is not None and found.side is not None:
                censored[objective.name] = found.side
            if single:
                readings[objective.name] = single
        self._spreads_alone(values, noise)
        cost = self._single(COST)
        result = Result(
            trial=trial,
            values=None if failure and not values else values,
            noise=noise,
            readings=readings,
            censored=censored,
            failure=failure,
            note=self._text(NOTE),
            cost=cost,
            request=request,
        )
        return self._with_point(result)

    def _trial(self) -> tuple[int | None, str]:
        """Number of the trial in this record, or what stands for it if it is one of another."""
        place = self.columns.places.get(TRIAL)
        cell = "" if place is None else self._at(place)
        if _is_missing(cell):
            return None, ""
        text = cell if isinstance(cell, str) else cell.text
        if named := TAGGED.fullmatch(text):
            own = self.planned.get(int(named[1]))
            return (own.id, "") if own and tag(own.id, own.proposed_at) == text else (None, f"trial {text}")
        found = self._single(TRIAL, text.removeprefix("#") if isinstance(cell, str) else cell)
        if found is not None and found != math.floor(found):
            self._object(f"expected the number of a trial, got {text!r}", TRIAL, "take it from `recommend`")
        return (None, "") if found is None else (int(found), "")

    def _objective(self, name: str) -> tuple[Quantity | None, list[float]]:
        """What was measured, with its spread; and the single readings, if there are any."""
        stated = self._quantity(name)
        spread = self._single(f"{name} {NOISE}")
        if stated is not None and stated.noise is not None and spread is not None and not same(stated.noise, spread):
            self._object(f"expected one spread, got {stated.noise:g} and {spread:g}", name, "leave one out")
        singles = [
            found.value
            for place in self.columns.readings.get(name, ())
            if (found := self._quantity(name, place)) is not None
        ]
        noise = spread if spread is not None else stated.noise if stated is not None else None
        if not singles:
            return (None if stated is None else stated._replace(noise=noise)), []
        mean = float(statistics.mean(singles))
        if noise is None and len(set(singles)) > 1:
            noise = float(statistics.stdev(singles) / math.sqrt(len(singles)))
        if stated is not None and not _rounded(stated.value, mean):
            self._object(
                f"expected the mean of the readings, {mean:.7g}, got {stated.value:.7g}",
                name,
                "clear the cell, or correct one",
            )
        return Quantity(mean if stated is None else stated.value, noise), singles

    def _spreads_alone(self, values: Mapping[str, float], noise: dict[str, float]) -> None:
        """A spread without its value is kept, so that it is objected to."""
        for objective in self.layout.objectives:
            spread = f"{objective.name} {NOISE}"
            place = self.columns.places.get(spread)
            if objective.name not in values and place is not None and not _is_missing(self._at(place)):
                found = self._single(spread)
                if found is not None:
                    noise[objective.name] = found

    def _quantity(self, name: str, place: int | None = None) -> Quantity | None:
        """What a cell says of an objective."""
        reading = place is not None
        if place is None:
            place = self.columns.places.get(name)
        cell = "" if place is None else self._at(place)
        if place is None or _is_missing(cell):
            if place is not None and _is_doubtful(cell) and self.row not in self.doubtful:
                self.doubtful.append(self.row)
            return None
        title, unit = self.columns.titles[place], self.layout.unit(name)
        if isinstance(cell, str) and is_undetected(cell):
            text = f"expected a number{f' in {unit}' if unit else ''}, got {cell!r} without the limit"
            self._object(text, title, "write the limit of detection after <")
            return None
        found = self._read(cell, unit, place)
        if found is None:
            return None
        if reading and (found.noise is not None or found.side is not None):
            remedy = "write the number alone, or clear the cell"
            self._object(f"expected a single reading, got {_shown(cell)}", title, remedy)
        return found

    def _single(self, name: str, cell: Cell | None = None) -> float | None:
        """A number with nothing that goes with it."""
        place = self.columns.places.get(name)
        if place is None:
            return None
        cell = self._at(place) if cell is None else cell
        if _is_missing(cell):
            return None
        found = self._read(cell, self.layout.unit(name), place)
        if found is not None and (found.noise is not None or found.side is not None):
            self._object(f"expected a number alone, got {_shown(cell)}", name, "write the number only")
            return None
        return None if found is None else found.value

    def _read(self, cell: Cell, unit: str, place: int) -> Quantity | None:
        try:
            return (
                Quantity(typed(cell, unit))
                if isinstance(cell, Typed)
                else quantity(cell, unit, self.columns.marks[place])
            )
        except TwoNumbers as error:
            self._object(
                str(error), self.columns.titles[place], "or say which mark stands before decimals", "--decimal"
            )
        except ValueError as error:
            self._object(str(error), self.columns.titles[place], "write the number alone, or clear the cell")
        return None

    def _with_point(self, result: Result) -> Result:
        """The result with its point; one without a trial is known again by its content when the file is told again."""
        point = self._point(result.trial)
        if result.trial is not None:
            return replace(result, point=point)
        if point is None:
            text = "expected the number of a trial, or inputs, got neither"
            remedy = "write them into every row; cells that are merged keep them only in an Excel file"
            self._object(text, TRIAL, remedy)
            return result
        if result.request:
            return replace(result, point=point)
        told = [point, result.values, result.noise, result.failure, result.note, result.cost]
        content = to_json([*told, *(more for more in (result.censored, result.readings) if more)])
        self.copies[content] += 1
        digest = hashlib.sha256(f"{self.copies[content]} {content}".encode(errors="replace")).hexdigest()[:32]
        return replace(result, point=point, request=f"row {digest}")

    def _point(self, trial: int | None) -> dict[str, Any] | None:
        """What was done; None if the row does not say."""
        cells = {name: self._at(self.columns.places[name]) for name in self.inputs}
        told = {name: cell for name, cell in cells.items() if self._is_told(name, cell)}
        if not told:
            return None
        planned = self.planned[trial].point if trial is not None else {}
        point = {name: value for name, value in planned.items() if name not in self.inputs}
        for name, cell in told.items():
            place = self.columns.places[name]
            try:
                value = self.inputs[name].read(cell, self.columns.marks[place])
            except TwoNumbers as error:
                self._object(str(error), name, "or say which mark stands before decimals", "--decimal")
            except ValueError as error:
                self._object(str(error), name, "correct it, or put # before the row if it is no experiment")
            else:
                point[name] = planned[name] if name in planned and same(value, planned[name]) else value
        return point

    def _is_told(self, name: str, cell: Cell) -> bool:
        """Whether an input is given; what else stands for nothing may be a choice."""
        if isinstance(cell, Typed) or not is_missing(cell):
            return True
        return cell.casefold() in (str(choice).casefold() for choice in self.inputs[name].choices)

    def _text(self, name: str) -> str:
        place = self.columns.places.get(name)
        cell = "" if place is None else self._at(place)
        return cell.text if isinstance(cell, Typed) else cell

    def _at(self, place: int) -> Cell:
        return self.cells[place] if place < len(self.cells) else ""

    def _object(self, message: str, name: str | None, remedy: str = "", command: str = "") -> None:
        place = (self.row,) if name is None else (self.row, self.columns.title(name))
        self.problems.append(Problem(message, place, remedy=remedy, command=command))


def _is_missing(cell: Cell) -> bool:
    return isinstance(cell, str) and is_missing(cell)


def _is_doubtful(cell: Cell) -> bool:
    return isinstance(cell, str) and is_doubtful(cell)


def _rounded(stated: float, mean: float) -> bool:
    """Whether a number is another one, rounded to the digits that it has."""
    exponent = Decimal(repr(stated)).normalize().as_tuple().exponent
    last = 10.0 ** min(int(exponent), 0)
    return abs(stated - mean) <= 0.5000001 * last or math.isclose(stated, mean, rel_tol=1e-6)


def _failure(text: str) -> str:
    """Why it failed; empty if it did not."""
    if text.casefold() in NO or is_missing(text):
        return ""
    return "failed" if text.casefold() in YES else text


def _shown(cell: Cell) -> str:
    return repr(cell[:40]) if isinstance(cell, str) else cell.text
