"""Whether what people tell fits the study and the record: everything is looked at before anything is recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matloop.orchestrator.errors import InvalidPoint, Problem
from matloop.orchestrator.lab.results import LONGEST, Entry, Result, is_number, same
from matloop.orchestrator.ledger.plain import to_json
from matloop.orchestrator.protocols import Space
from matloop.orchestrator.trial import Objective, Trial

LARGEST = 1e100
"""Of a measured number: what is larger is a slip in any unit, and its square would break models and drawings."""


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
        *,
        amend: bool = False,
        allow_outside: bool = False,
    ) -> tuple[list[Entry], list[Problem]]:
        """Look at results without recording them.

        Args:
            results: as told.
            trials: of the whole campaign, by id.
            amend: whether another result may take the place of a recorded one.
            allow_outside: whether values may lie outside the plausible ranges.

        Returns:
            An entry for every result without a problem, in order, and the problems.
        """
        reported = {t.extra["request"]: t for t in trials if t.study == self.study and "request" in t.extra}
        entries, problems = [], []
        seen: set[object] = set()
        for row, result in enumerate(results):
            found = [Problem(row, column, message) for column, message in self._faults(result, allow_outside)]
            if not found:
                name: object = result.trial if result.trial is not None else result.request or object()
                if name in seen:
                    found.append(Problem(row, "trial", f"expected each experiment once, got {name!r} twice"))
                seen.add(name)
            if not found:
                entry = self._entry(result, trials, reported, amend)
                if isinstance(entry, Entry):
                    entries.append(entry)
                else:
                    found.append(Problem(row, *entry))
            problems += found
        return entries, problems

    def _entry(
        self, result: Result, trials: Sequence[Trial], reported: Mapping[str, Trial], amend: bool
    ) -> Entry | tuple[str, str]:
        """What is to be done, or the column that keeps it from being done and why."""
        if result.trial is None:
            if result.point is None:
                return "trial", "expected the id of a recommendation, or a point, got neither"
            if result.request not in reported:
                return Entry(result, "reported", None, dict(result.point))
            trial = reported[result.request]
        elif 0 <= result.trial < len(trials) and trials[result.trial].study == self.study:
            trial = trials[result.trial]
        else:
            return "trial", f"there is no trial {result.trial}; see `matloop status` for the pending ones"
        planned = trial.point if trial.planned is None else trial.planned
        point = trial.point if result.point is None else result.point
        unplanned = trial.ask < 0 or not same(point, planned)
        kept = {name: value for name, value in planned.items() if name in point and same(point[name], value)}
        deviation = {**point, **kept} if unplanned else None
        if trial.state == "running":
            return Entry(result, "answered", trial, deviation)
        if trial.state == "cancelled":  # it was done after all
            return Entry(result, "amended", trial, deviation)
        differences = _differences(result, trial, point)
        if not differences:
            return Entry(result, "known", trial, deviation)
        if amend:
            return Entry(result, "amended", trial, deviation)
        column, told, known = differences[0]
        who = f" by {trial.worker}" if trial.worker else ""
        return column, (
            f"trial {trial.id} was answered{who} already with {known}, got {told}; "
            "correct it here, or tell it as an amendment (--amend)"
        )

    def _faults(self, result: Result, allow_outside: bool) -> list[tuple[str, str]]:
        """Columns and what is wrong there, whatever is on record."""
        faults = []
        if result.trial is not None and (isinstance(result.trial, bool) or not isinstance(result.trial, int)):
            faults.append(("trial", f"expected the number of a trial, got {result.trial!r}"))
        for column in ("failure", "note", "request"):
            text = getattr(result, column)
            if not isinstance(text, str) or len(text) > LONGEST or not _storable(text):
                faults.append((column, f"expected text of at most {LONGEST} characters"))
        if result.cost is not None and not (is_number(result.cost) and 0 <= result.cost <= LARGEST):
            faults.append(("cost", f"expected a number, 0 or more, got {result.cost!r}"))
        if result.point is not None:
            faults += self._point_faults(result.point)
        return faults + (self._value_faults(result, allow_outside) if not faults else [])

    def _point_faults(self, point: Mapping[str, Any]) -> list[tuple[str, str]]:
        if not isinstance(point, Mapping) or not all(isinstance(key, str) for key in point):
            return [("point", f"expected a mapping from parameter to value, got {point!r}")]
        if not _storable(point):
            return [("point", "expected numbers and text")]
        try:
            getattr(self.space, "check_measured", self.space.check)(point)  # what was done, not what may be planned
        except InvalidPoint as error:
            return [(_named(str(error), point), str(error))]
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:  # a space of the user's
            return [("point", f"is not a point of the space: {error}")]
        return []

    def _value_faults(self, result: Result, allow_outside: bool) -> list[tuple[str, str]]:
        names = [o.name for o in self.objectives]
        if result.values is None:
            if not result.failure.strip():
                return [(names[0], "expected a value, or why the experiment failed, got neither")]
            return [("noise", "expected none for a failed experiment")] if result.noise else []
        if not isinstance(result.values, Mapping) or not isinstance(result.noise, Mapping):
            return [("values", "expected a mapping from objective to number")]
        faults = [("failure", "expected either values or a failure, got both")] if result.failure.strip() else []
        faults += [
            (str(name), f"is not measured here; expected {', '.join(names)}")
            for name in dict.fromkeys([*result.values, *result.noise])
            if name not in names
        ]
        for objective in self.objectives:
            faults += self._one_value(objective, result, allow_outside)
        return faults

    def _one_value(self, objective: Objective, result: Result, allow_outside: bool) -> list[tuple[str, str]]:
        assert result.values is not None
        name, unit = objective.name, f" {objective.unit}" if objective.unit else ""
        if name not in result.values:
            return [(name, "expected a value, got none; tell the result when all are there")]
        value, faults = result.values[name], []
        if not (is_number(value) and abs(value) <= LARGEST):
            return [(name, f"expected a finite number, at most {LARGEST:g}, got {value!r}")]
        low, high = self.ranges.get(name, (-math.inf, math.inf))
        if not low <= value <= high and not allow_outside:
            faults.append(
                (
                    name,
                    f"expected {low:g} to {high:g}{unit}, got {value:g}; correct it, or confirm that it is right "
                    "(--allow-outside)",
                )
            )
        noise = result.noise.get(name, 0.0)
        if not (is_number(noise) and 0 <= noise <= LARGEST):
            faults.append((f"{name} ±", f"expected a standard deviation, 0 or more, got {noise!r}"))
        return faults


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
            found.append((f"{name} ±", f"{float(noise):.7g}", str(trial.noise.get(name, "none"))))
    if result.cost is not None and trial.cost != float(result.cost):
        found.append(("cost", str(result.cost), str(trial.cost)))
    if result.note and trial.info.get("note", "") != result.note:
        found.append(("note", repr(result.note), repr(trial.info.get("note", ""))))
    if not same(point, trial.point):
        changed = [k for k in dict.fromkeys([*point, *trial.point]) if not same(point.get(k), trial.point.get(k))]
        found.append((changed[0], str(point.get(changed[0])), str(trial.point.get(changed[0]))))
    return found


def _named(message: str, point: Mapping[str, Any]) -> str:
    """The parameter that an error is about."""
    words = message.replace("'", " ").replace(";", " ").replace(",", " ").split()
    return next((word for word in words if word in point), "point")


def _storable(value: object) -> bool:
    try:
        to_json(value).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True
