"""Whether what people tell fits the study and the record: everything is looked at before anything is recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matloop.orchestrator.errors import InvalidPoint, Problem
from matloop.orchestrator.lab.results import Entry, Result, same
from matloop.orchestrator.lab.tables import NOISE
from matloop.orchestrator.measurement import (
    LONGEST_NAME,
    LONGEST_TEXT,
    check_cost,
    check_text,
    check_values,
    shown,
    storable,
)
from matloop.orchestrator.protocols import Lenient, Space
from matloop.orchestrator.trial import Objective, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What results of a study must fulfil.

    Attributes:
        ranges: plausible values by objective; see `matloop.drivers.manual.Manual`.
    """

    study: str
    space: Space
    objectives: tuple[Objective, ...]
    ranges: Mapping[str, tuple[float, float]]

    def review(
        self,
        results: Sequence[Result],
        trials: Sequence[Trial],
        before: Mapping[int, Trial] | None = None,
        *,
        amend: bool = False,
        allow_outside: bool = False,
    ) -> tuple[list[Entry], list[Problem]]:
        """Look at results without recording them.

        Args:
            results: as told.
            trials: of the whole campaign, by id.
            before: those that were corrected or set aside, as they were before the last time.
            amend: whether another result may take the place of a recorded one.
            allow_outside: whether values may lie outside the plausible ranges.

        Returns:
            An entry for every result without a problem, in order, and the problems.
        """
        reported = {t.extra["request"]: t for t in trials if t.study == self.study and "request" in t.extra}
        entries, problems = [], []
        seen: set[object] = set()
        for row, result in enumerate(results):
            found = self._faults(result, allow_outside)
            if not found:
                name: object = result.trial if result.trial is not None else result.request or object()
                if name in seen:
                    found.append(Problem(f"expected each experiment once, got {name!r} twice", ("trial",)))
                seen.add(name)
            if not found:
                entry = self._entry(result, trials, before or {}, reported, amend)
                if isinstance(entry, Entry):
                    entries.append(entry)
                else:
                    found.append(entry)
            problems += [_in_row(row, problem) for problem in found]
        return entries, problems

    def _entry(
        self,
        result: Result,
        trials: Sequence[Trial],
        before: Mapping[int, Trial],
        reported: Mapping[str, Trial],
        amend: bool,
    ) -> Entry | Problem:
        """What is to be done, or what keeps it from being done."""
        if result.trial is None:
            if result.point is None:
                return Problem("expected the id of a recommendation, or a point, got neither", ("trial",))
            if result.request not in reported:
                return Entry(result, "reported", None, dict(result.point))
            trial = reported[result.request]
        elif 0 <= result.trial < len(trials) and trials[result.trial].study == self.study:
            trial = trials[result.trial]
        else:
            return no_trial(result.trial)
        planned = trial.point if trial.planned is None else trial.planned
        point = trial.point if result.point is None else result.point
        unplanned = trial.ask < 0 or not same(point, planned)
        kept = {name: value for name, value in planned.items() if name in point and same(point[name], value)}
        deviation = {**point, **kept} if unplanned else None
        if trial.state == "running":
            return Entry(result, "answered", trial, deviation)
        if trial.state == "cancelled" and not trial.was_done:  # it was done after all
            return Entry(result, "amended", trial, deviation)
        voided = trial.state == "cancelled"
        differences = _differences(result, before.get(trial.id, trial) if voided else trial, point)
        if not differences:
            return Entry(result, "known", trial, deviation)
        if amend:
            return Entry(result, "amended", trial, deviation)
        column, told, known = differences[0]
        if voided:
            return Problem(
                f"the result of trial {trial.id} was set aside ({trial.info.get('note', '')}), got {told}",
                (column,),
                remedy="leave it out, or tell it as an amendment",
                command="--amend",
            )
        who = f" by {trial.worker}" if trial.worker else ""
        return Problem(
            f"trial {trial.id} was answered{who} already with {known}, got {told}",
            (column,),
            remedy="correct it here, or tell it as an amendment",
            command="--amend",
        )

    def _faults(self, result: Result, allow_outside: bool) -> list[Problem]:
        """What is wrong whatever is on record; places begin with the field of the result."""
        faults = []
        if result.trial is not None and (isinstance(result.trial, bool) or not isinstance(result.trial, int)):
            faults.append(Problem(f"expected the number of a trial, got {result.trial!r}", ("trial",)))
        for field, longest in (("failure", LONGEST_TEXT), ("note", LONGEST_TEXT), ("request", LONGEST_NAME)):
            faults += check_text(getattr(result, field), field, longest=longest)
        faults += check_cost(result.cost)
        if result.point is not None:
            faults += self._point_faults(result.point)
        return faults or self._value_faults(result, allow_outside)

    def _point_faults(self, point: Mapping[str, Any]) -> list[Problem]:
        if not isinstance(point, Mapping) or not all(isinstance(key, str) for key in point):
            return [Problem(f"expected a mapping from parameter to value, got {shown(point)}", ("point",))]
        if not storable(point):
            return [Problem("expected numbers and text", ("point",))]
        try:
            # what was done, not what may be planned
            (self.space.check_measured if isinstance(self.space, Lenient) else self.space.check)(point)
        except InvalidPoint as error:
            return [replace(problem, place=("point", *problem.place[:1])) for problem in error.problems]
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:  # a space of the user's
            return [Problem(f"is not a point of the space: {error}", ("point",))]
        return []

    def _value_faults(self, result: Result, allow_outside: bool) -> list[Problem]:
        names = [o.name for o in self.objectives]
        if result.values is None:
            if not result.failure.strip():
                text = "expected a value, or why the experiment failed, got neither"
                return [Problem(text, ("values", names[0]))]
            return [Problem("expected none for a failed experiment", ("noise",))] if result.noise else []
        faults = check_values(result.values, result.noise, names)
        if result.failure.strip():
            faults.append(Problem("expected either values or a failure, got both", ("failure",)))
        if faults or allow_outside:
            return faults
        return [fault for objective in self.objectives for fault in self._outside(objective, result.values)]

    def _outside(self, objective: Objective, values: Mapping[str, float]) -> list[Problem]:
        """What is wrong with a value that is not plausible."""
        name, unit = objective.name, f" {objective.unit}" if objective.unit else ""
        if objective.scale == "log" and values[name] <= 0:
            return [
                Problem(
                    f"expected a number > 0 on a logarithmic scale, got {values[name]:g}",
                    ("values", name),
                    remedy="tell the least that can be measured, or let the model take half the smallest value",
                    command="--allow-outside",
                )
            ]
        low, high = self.ranges.get(name, (-math.inf, math.inf))
        if low <= values[name] <= high:
            return []
        return [
            Problem(
                f"expected {low:g} to {high:g}{unit}, got {values[name]:g}",
                ("values", name),
                remedy="correct it, or confirm that it is right",
                command="--allow-outside",
            )
        ]


def no_trial(number: int) -> Problem:
    """That there is no trial of that number."""
    return Problem(
        f"there is no trial {number}", ("trial",), remedy="take the number of a pending one", command="matloop status"
    )


def _in_row(row: int, problem: Problem) -> Problem:
    """A problem of one result by the row and the column of a table, where noise has a column beside the value's."""
    field, name = problem.place[0], problem.place[1:]
    column = f"{name[0]} {NOISE}" if field == "noise" and name else name[0] if name else field
    return replace(problem, place=(row, column))


def _differences(result: Result, trial: Trial, point: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Where a result says something else than what is on record: column, what it says, what is on record.

    What it leaves open (noise, cost, note) is no difference.
    """
    found = []
    if result.values is not None:
        recorded = trial.values or {}
        for name, value in result.values.items():
            if recorded.get(name) != float(value):
                known = f"{recorded[name]:.7g}" if name in recorded else "a failure"
                found.append((name, f"{float(value):.7g}", known))
    elif trial.failure is None:
        found.append(("failure", "a failure", "values"))
    elif trial.failure.message != (message := " ".join(result.failure.split())):
        found.append(("failure", repr(message), repr(trial.failure.message)))
    for name, noise in result.noise.items():
        if trial.noise.get(name) != float(noise):
            found.append((f"{name} {NOISE}", f"{float(noise):.7g}", str(trial.noise.get(name, "none"))))
    if result.cost is not None and trial.cost != float(result.cost):
        found.append(("cost", str(result.cost), str(trial.cost)))
    if result.note and trial.info.get("note", "") != result.note:
        found.append(("note", repr(result.note), repr(trial.info.get("note", ""))))
    if not same(point, trial.point):
        changed = [k for k in dict.fromkeys([*point, *trial.point]) if not same(point.get(k), trial.point.get(k))]
        found.append((changed[0], str(point.get(changed[0])), str(trial.point.get(changed[0]))))
    return found
