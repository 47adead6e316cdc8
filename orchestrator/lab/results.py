"""What people say came of experiments, as it is told to a lab."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.measurement import check_text, is_number
from matloop.orchestrator.trial import Answer, Failure, Point, Trial

SAME = 1e-6
"""Relative difference up to which an input is as planned: people see, and spreadsheets keep, seven digits."""

Action = Literal["answered", "reported", "amended", "known"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one experiment.

    Attributes:
        trial: id of the recommendation; None if it was measured without one.
        point: what was done, in full; None for what was recommended.
        values: measured value of every objective, in its unit; None if the experiment failed.
        noise: standard deviation of the measurement by objective, same unit.
        readings: single readings by objective, same unit, of which `values` has the mean; kept with the result.
        failure: why there are no values, in a person's words.
        note: anything worth keeping.
        cost: in the study's own unit.
        request: any text that is new for every result without a recommendation; told again with the same one, it is
            not recorded again.
    """

    trial: int | None = None
    point: Mapping[str, Any] | None = None
    values: Mapping[str, float] | None = None
    noise: Mapping[str, float] = field(default_factory=dict)
    readings: Mapping[str, Sequence[float]] = field(default_factory=dict)
    failure: str = ""
    note: str = ""
    cost: float | None = None
    request: str = ""

    def answer(self, *, by: str, started_at: float, finished_at: float) -> Answer:
        """The result as the ledger takes it; times are Unix time, s."""
        failure = Failure(cause="experiment", message=" ".join(self.failure.split())) if self.values is None else None
        return Answer(
            values=_numbers(self.values) if self.values is not None else None,
            failure=failure,
            noise=_numbers(self.noise),
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
        return info


class Entry(NamedTuple):
    """What is to be done about a result: `known` ones are on record already.

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


def same(a: object, b: object) -> bool:
    """Whether two points, or values in them, are the same to within what people read and write."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if is_number(a) and is_number(b):
        return math.isclose(a, b, rel_tol=SAME)  # type: ignore[arg-type]
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _numbers(values: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def require_text(what: str, text: str, longest: int) -> None:
    """Raise MatloopError unless it is text that can be stored, of at most so many characters."""
    for problem in check_text(text, longest=longest):
        raise MatloopError(f"{what}: {problem}")
