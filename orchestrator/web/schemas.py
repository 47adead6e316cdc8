"""What the REST interface takes and gives; nothing but what is declared here is accepted.

Limits are those of `orchestrator.measurement`, declared so that a client can read them; the lab checks them as well."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.ledger.decisions import WORDS
from matloop.orchestrator.measurement import LARGEST, LONGEST_NAME, LONGEST_TEXT, check_text
from matloop.orchestrator.report.interval import interval
from matloop.orchestrator.trial import Trial

MOST_RESULTS = 1000
MOST_RECOMMENDED = 100
LONGEST_LIST = 4096


def _readable(value: str) -> str:
    for problem in check_text(value):
        raise ValueError(problem.text)
    return value


Text = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_readable)]
Name = Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(_readable)]
Key = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_readable)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-LARGEST, le=LARGEST)]
Amount = Annotated[float, Field(allow_inf_nan=False, ge=0, le=LARGEST)]


def _input(value: Any) -> Any:
    """One input as JSON gives it; objected to once, however many kinds it is not."""
    if isinstance(value, str):
        if len(value) <= LONGEST_TEXT:
            return _readable(value)
    elif isinstance(value, bool | int | float):
        if _finite(value):
            return value
    elif (
        isinstance(value, list)
        and len(value) <= LONGEST_LIST
        and all(_finite(one) and one is not True and one is not False for one in value)
    ):
        return value
    raise ValueError(
        f"expected a number, a text of at most {LONGEST_TEXT} characters, true, false or a list of numbers"
    )


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and abs(value) <= 2**53


Input = Annotated[
    Any,
    PlainValidator(_input),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "boolean"},
                {"type": "number"},
                {"type": "string", "maxLength": LONGEST_TEXT},
                {"type": "array", "items": {"type": "number"}, "maxItems": LONGEST_LIST},
            ]
        }
    ),
]
Experiment = Annotated[int, Field(ge=0, lt=2**31)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class ResultIn(_Strict):
    """What came of one experiment."""

    trial: Experiment | None = Field(None, description="id of the recommendation; left out for one of your own")
    point: dict[Key, Input] | None = Field(
        None, description="what was done, in full; left out if it was done as recommended", max_length=1000
    )
    values: dict[Key, Number] | None = Field(
        None, description="measured value of every objective; left out if it failed", max_length=100
    )
    noise: dict[Key, Amount] = Field({}, description="standard deviation of the measurement, if known", max_length=100)
    failure: Text = Field("", description="why there are no values, in a few words")
    note: Text = Field("", description="anything worth keeping")
    cost: Amount | None = Field(None, description="in the study's own unit")
    request: Name = Field("", description="any text new for every result without a recommendation, for safe retries")

    def result(self) -> Result:
        """As the lab takes it."""
        return Result(**self.model_dump())


class ResultsIn(_Strict):
    """Results, all of which are recorded or none."""

    results: list[ResultIn] = Field(min_length=1, max_length=MOST_RESULTS, description="in any order")
    by: Name = Field("", description="who reports them")
    amend: bool = Field(False, description="let a different result take the place of a recorded one")
    allow_outside: bool = Field(False, description="take values outside the plausible ranges")

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "by": "Ana",
                "results": [
                    {"trial": 3, "values": {"yield": 61.5}, "noise": {"yield": 0.8}},
                    {"trial": 4, "failure": "cracked on cooling"},
                ],
            }
        }
    )


class RecommendIn(_Strict):
    """How many recommendations are wanted."""

    n: int = Field(1, ge=1, le=MOST_RECOMMENDED, description="how many")
    by: Name = Field("", description="who asks")

    model_config = ConfigDict(json_schema_extra={"example": {"n": 2, "by": "Ana"}})


class CancelIn(_Strict):
    """Why a recommendation will not be done."""

    by: Name = Field("", description="who says so")
    reason: Text = Field("", description="for people")

    model_config = ConfigDict(json_schema_extra={"example": {"by": "Ana", "reason": "out of precursor"}})


class VoidIn(_Strict):
    """Why a result is set aside."""

    by: Name = Field("", description="who says so")
    reason: Text = Field(min_length=1, description="for people; kept with the result")

    model_config = ConfigDict(json_schema_extra={"example": {"by": "Ana", "reason": "the thermocouple was loose"}})


class ExperimentOut(BaseModel):
    """One experiment."""

    id: int
    state: Literal["to do", "answered", "failed", "cancelled"]
    point: dict[str, Any] = Field(description="what was done, or is to be done")
    planned: dict[str, Any] | None = Field(description="what had been recommended, where something else was done")
    own: bool = Field(description="reported without having been recommended")
    amended: bool = Field(description="its result was corrected, or set aside: then it is cancelled")
    prediction: dict[str, float] | None = Field(description="expected values, as of before the measurement")
    interval: dict[str, tuple[float, float]] = Field(description="90 % intervals, likewise")
    reason: str
    explanation: dict[str, Any] | None
    values: dict[str, float] | None
    noise: dict[str, float]
    doubts: list[str] = Field(description="what looks like a slip of the pen about its values, and what corrects it")
    failure: str
    note: str
    cost: float | None
    by: str
    asked_by: str
    proposed_at: datetime
    finished_at: datetime | None


class ImportOut(BaseModel):
    """What a CSV file came to."""

    recorded: list[int] = Field(description="ids of experiments whose results are new")
    known: list[int] = Field(description="ids of those that were on record already")
    waiting: int = Field(description="rows that have no result yet")
    doubts: list[str] = Field(description="what looks like a slip of the pen among what is new, and what corrects it")


class DecisionIn(_Strict):
    """A person's word on a trial that may have happened."""

    trial: int = Field(ge=0, lt=2**31, description="its id")
    verdict: Literal["counted", "repeat", "drop"] = Field(
        description="; ".join(f"{verdict}: it {words}" for verdict, words in WORDS.items())
    )
    by: Name = Field("", description="who decides")
    reason: Text = Field("", description="for people")


class UndecidedOut(BaseModel):
    """A trial that may have happened."""

    trial: int
    study: str
    state: Literal["failed", "cancelled"]
    point: dict[str, Any]
    message: str
    verdict: str | None = Field(description="what was decided; null if nothing was")


class StudyOut(BaseModel):
    """The study and where it stands."""

    campaign: str
    study: str
    objectives: list[dict[str, str]]
    inputs: list[dict[str, Any]]
    instructions: str
    counts: dict[str, int]
    best: int | None = Field(description="id of the best experiment by the first objective")
    front: list[int] = Field(description="ids of the experiments that no other beats in all objectives at once")
    version: str = Field(description="changes with every event on record")


class OutlookOut(BaseModel):
    """What there is still to be had; all of it is absent if the strategy cannot say."""

    model_config = ConfigDict(extra="allow")

    probability_better: float | None = Field(None, description="that something better by at least delta remains")
    delta: float | None = Field(None, description="least difference that counts, in the objective's unit")
    expected_gain: float | None = Field(None, description="of the next q experiments, in the objective's unit")
    q: int | None = Field(None, description="number of those experiments")
    expected_gain_per_cost: float | None = Field(None, description="the same per unit of cost")
    objective: str | None = Field(None, description="that this is about")
    text: str | None = Field(None, description="all of this in a sentence")


class Problem(BaseModel):
    """What is wrong, and where."""

    row: int | None
    column: str | None
    message: str


class ErrorOut(BaseModel):
    """Why a request was refused; nothing of it was recorded."""

    error: str
    problems: list[Problem] = []


def experiment(
    trial: Trial, lab: Lab, amended: set[int], doubts: Mapping[int, Sequence[str]] = MappingProxyType({})
) -> ExperimentOut:
    """A trial as the interface shows it."""
    spans = {o.name: interval(trial, o.name) for o in lab.objectives}
    return ExperimentOut(
        id=trial.id,
        state="to do" if trial.state == "running" else trial.state,
        point=dict(trial.point),
        planned=dict(trial.planned) if trial.planned is not None else None,
        own=trial.extra.get("origin") == "reported",
        amended=trial.id in amended,
        prediction=dict(trial.prediction.mean) if trial.prediction else None,
        interval={name: span for name, span in spans.items() if span is not None},
        reason=trial.reason,
        explanation=trial.extra.get("explanation"),
        values=dict(trial.values) if trial.values is not None else None,
        noise=dict(trial.noise),
        doubts=list(doubts.get(trial.id, ())),
        failure=trial.failure.message if trial.failure else "",
        note=str(trial.info.get("note", "")),
        cost=trial.cost,
        by=trial.worker,
        asked_by=str(trial.extra.get("asked_by", "")),
        proposed_at=datetime.fromtimestamp(trial.proposed_at, UTC),
        finished_at=datetime.fromtimestamp(trial.finished_at, UTC) if trial.finished_at is not None else None,
    )
