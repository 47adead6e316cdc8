"""Whether what people tell fits the study and the record: everything is looked at before anything is recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matloop.orchestrator.errors import InvalidPoint, Problem
from matloop.orchestrator.lab.results import Entry, Result, contains, same
from matloop.orchestrator.lab.tables import NOISE
from matloop.orchestrator.measurement import (
    LARGEST,
    LONGEST_NAME,
    LONGEST_TEXT,
    check_censored,
    check_cost,
    check_text,
    check_values,
    is_number,
    shown,
    storable,
)
from matloop.orchestrator.protocols import Lenient, Situated, Space
from matloop.orchestrator.report.text import SIGNS
from matloop.orchestrator.trial import Objective, Side, Trial


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
        later: Mapping[str, int] | None = None,
        *,
        amend: bool = False,
        allow_outside: bool = False,
    ) -> tuple[list[Entry], list[Problem]]:
        """Look at results without recording them.

        Args:
            results: as told.
            trials: of the whole campaign, by id.
            before: those that were corrected or set aside, as they were before the last time.
            later: trial by the request with which its later values were told.
            amend: whether another result may take the place of a recorded one.
            allow_outside: whether values may lie outside the plausible ranges, and points outside the space.

        Returns:
            An entry for every result without a problem, in order, and the problems.
        """
        reported = {t.extra["request"]: t for t in trials if t.study == self.study and "request" in t.extra}
        reported |= {request: trials[number] for request, number in (later or {}).items()}
        entries, problems = [], []
        seen: set[object] = set()
        taken: set[int] = set()
        for row, result in enumerate(each.plain().apart(self._conditions) for each in results):
            found = self._faults(result, allow_outside, self._is_known(result, trials, reported))
            if not found:
                name: object = result.trial if result.trial is not None else result.request or object()
                if name in seen:
                    found.append(Problem(f"expected each experiment once, got {name!r} twice", ("trial",)))
                seen.add(name)
            if not found:
                if result.trial is None and result.request not in reported:
                    whole = self._completed_by(result, trials, taken)
                    reported |= {result.request: whole} if whole is not None else {}
                entry = self._entry(result, trials, before or {}, reported, amend)
                if isinstance(entry, Entry):
                    entries.append(entry)
                    taken |= {entry.trial.id} if entry.trial is not None else set()
                else:
                    found.append(entry)
            problems += [_in_row(row, problem) for problem in found]
        return entries, problems

    def _is_known(self, result: Result, trials: Sequence[Trial], reported: Mapping[str, Trial]) -> bool:
        """Whether the point is one on record: it was taken, or recommended, when the space was perhaps another one."""
        number = result.trial if isinstance(result.trial, int) else -1
        one = trials[number] if 0 <= number < len(trials) else reported.get(result.request)
        return one is not None and any(same(point, result.point) for point in (one.point, one.planned))

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
        new = _new_values(result, trial)
        differences = _differences(result, before.get(trial.id, trial) if voided else trial, point, new)
        if not differences:
            return Entry(result, "completed" if new else "known", trial, None if new else deviation)
        if amend:
            result = replace(result, conditions={**trial.conditions, **result.conditions})
            if trial.state == "answered" and result.values is not None:
                result = result.with_values_of(trial)
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

    def _completed_by(self, result: Result, trials: Sequence[Trial], taken: set[int]) -> Trial | None:
        """The reported experiment of which a result without a trial brings values that were still to come: a row of a
        table, that was told before, with more in it."""
        for trial in trials:
            if trial.study == self.study and trial.ask < 0 and trial.id not in taken and _new_values(result, trial):
                point = {} if result.point is None else result.point
                overlap = set(result.values or {}) & set(trial.values or {})
                if overlap and not _differences(result, trial, point, _new_values(result, trial)):
                    return trial
        return None

    def _faults(self, result: Result, allow_outside: bool, known: bool) -> list[Problem]:
        """What is wrong; places begin with the field of the result. A point that is `known` was taken before."""
        faults = []
        if result.trial is not None and (isinstance(result.trial, bool) or not isinstance(result.trial, int)):
            faults.append(Problem(f"expected the number of a trial, got {result.trial!r}", ("trial",)))
        for field, longest in (("failure", LONGEST_TEXT), ("note", LONGEST_TEXT), ("request", LONGEST_NAME)):
            faults += check_text(getattr(result, field), field, longest=longest)
        faults += [*check_cost(result.cost), *self._condition_faults(result.conditions)]
        if result.point is not None and not known:
            faults += self._point_faults(result.point, allow_outside)
        return faults or self._value_faults(result, allow_outside)

    @property
    def _conditions(self) -> tuple[str, ...]:
        """What nobody sets, and results may say."""
        return tuple(c.name for c in self.space.conditions) if isinstance(self.space, Situated) else ()

    def _condition_faults(self, conditions: Mapping[str, Any]) -> list[Problem]:
        unknown = [name for name in conditions if name not in self._conditions]
        odd = [name for name, value in conditions.items() if not is_number(value) or abs(value) > LARGEST]
        return [
            *(Problem(f"expected conditions that the space names, got {name!r}", ("point", name)) for name in unknown),
            *(Problem(f"expected a number, got {conditions[name]!r}", ("point", name)) for name in odd),
        ]

    def _point_faults(self, point: Mapping[str, Any], allow_outside: bool) -> list[Problem]:
        if not isinstance(point, Mapping) or not all(isinstance(key, str) for key in point):
            return [Problem(f"expected a mapping from parameter to value, got {shown(point)}", ("point",))]
        if not storable(point):
            return [Problem("expected numbers and text", ("point",))]
        try:
            self._check(point, allow_outside)
        except InvalidPoint as error:
            found = [replace(problem, place=("point", *problem.place[:1])) for problem in error.problems]
            return [_confirmable(one) for one in found] if self._may_be_outside(point) else found
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:  # a space of the user's
            return [Problem(f"is not a point of the space: {error}", ("point",))]
        return []

    def _check(self, point: Mapping[str, Any], allow_outside: bool) -> None:
        """Of what was done, not what may be planned."""
        if isinstance(self.space, Lenient):
            self.space.check_measured(point, outside=allow_outside)
        else:
            self.space.check(point)

    def _may_be_outside(self, point: Mapping[str, Any]) -> bool:
        """Whether the point would be taken if somebody said that it is right."""
        try:
            self._check(point, True)
        except InvalidPoint:
            return False
        return True

    def _value_faults(self, result: Result, allow_outside: bool) -> list[Problem]:
        names = [o.name for o in self.objectives]
        if result.values is None:
            if not result.failure.strip():
                text = "expected a value, or why the experiment failed, got neither"
                return [Problem(text, ("values", names[0]))]
            stray = [field for field in ("noise", "censored") if getattr(result, field)]
            return [Problem("expected none for a failed experiment", (field,)) for field in stray]
        faults = check_values(result.values, result.noise, names, partial=True)
        faults += [] if faults else check_censored(result.censored, result.values)
        if result.failure.strip():
            faults.append(Problem("expected either values or a failure, got both", ("failure",)))
        if faults or allow_outside:
            return faults
        told = [objective for objective in self.objectives if objective.name in result.values]
        return [fault for objective in told for fault in self._outside(objective, result.values)]

    def _outside(self, objective: Objective, values: Mapping[str, Any]) -> list[Problem]:
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
        return [_confirmable(Problem(f"expected {low:g} to {high:g}{unit}, got {values[name]:g}", ("values", name)))]


def _confirmable(problem: Problem) -> Problem:
    """With the remedy for what is outside and may be right all the same."""
    return replace(problem, remedy="correct it, or confirm that it is right", command="--allow-outside")


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


def _new_values(result: Result, trial: Trial) -> list[str]:
    """Names of the values that were still to come."""
    if trial.state != "answered" or trial.values is None or result.values is None:
        return []
    return [name for name in result.values if name not in trial.values]


def _differences(
    result: Result, trial: Trial, point: Mapping[str, Any], new: Sequence[str]
) -> list[tuple[str, str, str]]:
    """Where a result says something else than what is on record: column, what it says, what is on record.

    What it leaves open (values, noise, cost, note) is no difference; nor is, if it brings new values, what it adds
    where nothing is on record.
    """
    found = []
    if result.values is not None:
        recorded = trial.values or {}
        for name, value in result.values.items():
            side, known_side = result.censored.get(name), trial.censored.get(name)
            if name not in new and (recorded.get(name) != float(value) or side != known_side):
                known = _written(recorded[name], known_side) if name in recorded else "a failure"
                found.append((name, _written(value, side), known))
    elif trial.failure is None:
        found.append(("failure", "a failure", "values"))
    elif trial.failure.message != (message := " ".join(result.failure.split())):
        found.append(("failure", repr(message), repr(trial.failure.message)))
    for name, noise in result.noise.items():
        if trial.noise.get(name) != float(noise) and not (new and name not in trial.noise):
            found.append((f"{name} {NOISE}", f"{float(noise):.7g}", str(trial.noise.get(name, "none"))))
    if result.cost is not None and trial.cost != float(result.cost) and not (new and trial.cost is None):
        found.append(("cost", str(result.cost), str(trial.cost)))
    if result.note and not new and not contains(trial.info.get("note", ""), result.note):
        found.append(("note", repr(result.note), repr(trial.info.get("note", ""))))
    for name, value in result.conditions.items():
        if not same(trial.conditions.get(name), value) and not (new and name not in trial.conditions):
            found.append((name, f"{float(value):.7g}", str(trial.conditions.get(name, "none"))))
    if not same(point, trial.point):
        changed = [k for k in dict.fromkeys([*point, *trial.point]) if not same(point.get(k), trial.point.get(k))]
        found.append((changed[0], str(point.get(changed[0])), str(trial.point.get(changed[0]))))
    return found


def _written(value: object, side: Side | None) -> str:
    """A value as people write it."""
    return f"{SIGNS[side] + ' ' if side else ''}{float(value):.7g}"  # type: ignore[arg-type]
