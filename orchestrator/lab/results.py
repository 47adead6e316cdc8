"""What people say came of experiments, as it is told to a lab."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.lab.limits import measured
from matloop.orchestrator.measurement import check_text, is_number, limit
from matloop.orchestrator.trial import Answer, Failure, Point, Side, Trial

SAME = 1e-6
"""Relative difference up to which an input is as planned: people see, and spreadsheets keep, seven digits."""

Action = Literal["answered", "reported", "completed", "amended", "known"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one experiment.

    Attributes:
        trial: id of the recommendation; None if it was measured without one.
        point: what was done, in full; None for what was recommended.
        values: measured value by objective, in its unit; those that are still to come are told later, in a result of
            the same trial. None if the experiment failed. A text such as "< 0.1" is a number and a side.
        noise: standard deviation of the measurement by objective, same unit.
        readings: single readings by objective, same unit, of which `values` has the mean; kept with the result.
        censored: by objective, whether the true value lies `below` or `above` the one told, which is then a limit of
            what can be measured.
        failure: why there are no values, in a person's words.
        note: anything worth keeping.
        cost: in the study's own unit.
        conditions: inputs that are measured and not set, such as the humidity, by name; they may stand in `point`, too.
        request: any text that is new for every result without a recommendation; told again with the same one, it is
            not recorded again.
    """

    trial: int | None = None
    point: Mapping[str, Any] | None = None
    values: Mapping[str, float | str] | None = None
    noise: Mapping[str, float] = field(default_factory=dict)
    readings: Mapping[str, Sequence[float]] = field(default_factory=dict)
    censored: Mapping[str, Side] = field(default_factory=dict)
    failure: str = ""
    note: str = ""
    cost: float | None = None
    request: str = ""
    conditions: Mapping[str, float] = field(default_factory=dict)

    def apart(self, names: Collection[str]) -> Result:
        """The same with those inputs of the point that nobody sets among the conditions."""
        if not names or not isinstance(self.point, Mapping):
            return self
        said = {name: value for name, value in self.point.items() if name in names}
        rest = {name: value for name, value in self.point.items() if name not in names}
        point = None if not rest and self.trial is not None else rest
        return replace(self, point=point, conditions={**self.conditions, **said}) if said else self

    def plain(self) -> Result:
        """The same with numbers for texts such as "< 0.1"; what is no such text stays as it is."""
        if not isinstance(self.values, Mapping) or not isinstance(self.censored, Mapping):
            return self
        values, censored = dict(self.values), dict(self.censored)
        for name, written in self.values.items():
            if isinstance(written, str) and limit(written)[1] is not None:
                with suppress(ValueError):
                    values[name], censored[name] = measured(written)  # type: ignore[assignment]
        return self if values == self.values else replace(self, values=values, censored=censored)

    def answer(self, *, by: str, started_at: float, finished_at: float, before: Trial | None = None) -> Answer:
        """The result as the ledger takes it.

        Args:
            by: who reports.
            started_at: Unix time, s.
            finished_at: Unix time, s.
            before: trial that this completes; who measured its first values, and when, stays.
        """
        if before is not None:
            return self._completing(before).answer(
                by=before.worker,
                started_at=before.proposed_at if before.started_at is None else before.started_at,
                finished_at=finished_at if before.finished_at is None else before.finished_at,
            )
        failure = Failure(cause="experiment", message=" ".join(self.failure.split())) if self.values is None else None
        return Answer(
            values=_numbers(self.values) if self.values is not None else None,
            failure=failure,
            noise=_numbers(self.noise),
            censored=dict(self.censored),
            info=self._info(),
            cost=None if self.cost is None else float(self.cost),
            started_at=started_at,
            finished_at=finished_at,
            worker=by,
        )

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = {"note": self.note} if self.note else {}
        if self.readings:
            info["readings"] = {name: list(map(float, found)) for name, found in self.readings.items()}
        if self.conditions:
            info["conditions"] = _numbers(self.conditions)
        return info

    def with_values_of(self, before: Trial) -> Result:
        """With the values on record of those objectives that this does not speak of."""
        told = self.values or {}
        kept = {name: value for name, value in (before.values or {}).items() if name not in told}
        return replace(
            self,
            values={**kept, **told},
            noise={**{name: std for name, std in before.noise.items() if name in kept}, **self.noise},
            censored={**{name: side for name, side in before.censored.items() if name in kept}, **self.censored},
            readings={**{name: found for name, found in readings_of(before).items() if name in kept}, **self.readings},
        )

    def _completing(self, before: Trial) -> Result:
        """With all that is on record, to which this only adds."""
        return replace(
            self.with_values_of(before),
            noise={**before.noise, **self.noise},
            conditions={**before.conditions, **self.conditions},
            note=joined(before.info.get("note", ""), self.note),
            cost=before.cost if self.cost is None else self.cost,
        )


class Entry(NamedTuple):
    """What is to be done about a result: `known` ones are on record already, `completed` ones bring values that were
    still to come.

    `point` is what was done, if that is not what was proposed or nothing was proposed; `trial` the one that it is
    about, None for a new one.
    """

    result: Result
    action: Action
    trial: Trial | None
    point: Point | None


class Recorded(NamedTuple):
    """A trial with its result, and what had to be done for it; `known` ones were on record already."""

    trial: Trial
    action: Action


def readings_of(trial: Trial) -> Mapping[str, Sequence[float]]:
    """Single readings that are on record, by objective."""
    found = trial.info.get("readings")
    return found if isinstance(found, Mapping) else {}


def joined(note: str, later: str) -> str:
    """The note of an experiment of which more became known later."""
    return later if not note or later.startswith(note) else f"{note}; {later}" if later else note


def contains(note: str, told: str) -> bool:
    """Whether a recorded note says what is told."""
    return note == told or note.startswith(f"{told}; ") or note.endswith(f"; {told}") or f"; {told}; " in note


def same(a: object, b: object) -> bool:
    """Whether two points, or values in them, are the same to within what people read and write."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if is_number(a) and is_number(b):
        return math.isclose(a, b, rel_tol=SAME)  # type: ignore[arg-type]
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _numbers(values: Mapping[str, float | str]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def require_text(what: str, text: str, longest: int) -> None:
    """Raise MatloopError unless it is text that can be stored, of at most so many characters."""
    for problem in check_text(text, longest=longest):
        raise MatloopError(f"{what}: {problem}")
