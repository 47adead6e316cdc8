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
from matloop.orchestrator.lab.limits import measured
from matloop.orchestrator.ledger.decisions import WORDS
from matloop.orchestrator.measurement import LARGEST, LONGEST_NAME, LONGEST_TEXT, check_text, limit
from matloop.orchestrator.report.interval import interval
from matloop.orchestrator.trial import Objective, Trial, keeps_limits, limited, missing

MOST_RESULTS = 1000
MOST_RECOMMENDED = 100
MOST_POINTS = 1000
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


def _limit(value: Any) -> Any:
    """A measurement of which only a limit is known, as people write it."""
    if not isinstance(value, str) or len(value) > LONGEST_NAME or limit(value)[1] is None:
        raise ValueError("expected a number, or a text with a limit such as '< 0.1' or '> 99'")
    measured(value)
    return value


Limit = Annotated[Any, PlainValidator(_limit), WithJsonSchema({"type": "string", "maxLength": LONGEST_NAME})]


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
Setting = Annotated[
    bool | Annotated[int, Field(ge=-(2**53), le=2**53)] | Number | Text, Field(description="value of an input")
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
    values: dict[Key, Number | Limit] | None = Field(
        None,
        description='measured value by objective, a limit as text, such as "< 0.1"; those still to come may be told '
        "later; left out if it failed",
        max_length=100,
    )
    noise: dict[Key, Amount] = Field({}, description="standard deviation of the measurement, if known", max_length=100)
    censored: dict[Key, Literal["below", "above"]] = Field(
        {}, description="on which side of the value told the true one lies, where only a limit is known", max_length=100
    )
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
    allow_outside: bool = Field(
        False, description="take values outside the plausible ranges, and inputs outside the space"
    )

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


class Ends(_Strict):
    """A range; an end that is left out is that of the input."""

    low: Number | None = None
    high: Number | None = None


class RecommendIn(_Strict):
    """How many recommendations are wanted, and what is wished of them."""

    n: int = Field(1, ge=1, le=MOST_RECOMMENDED, description="how many")
    by: Name = Field("", description="who asks")
    fixed: dict[Key, Ends | Annotated[list[Setting], Field(min_length=1, max_length=1000)] | Setting] = Field(
        {}, description="what inputs may be for once: a value, several, or a range", max_length=1000
    )
    around: Experiment | None = Field(None, description="id of an experiment whose neighbourhood alone is meant")
    within: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="how far from it, as a share of each range; a tenth if left out"
    )
    vary: list[Key] = Field([], description="inputs that are free in spite of `around`", max_length=1000)
    same: list[Key] = Field([], description="inputs with one value in all of these experiments", max_length=1000)
    at_most: dict[Key, Annotated[int, Field(ge=1, le=MOST_RECOMMENDED)]] = Field(
        {}, description="most different values of inputs in these experiments", max_length=1000
    )

    given: dict[Key, Number] = Field(
        {}, description="today's values of inputs that are measured and not set", max_length=1000
    )

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"n": 2, "by": "Ana", "fixed": {"temperature": 800, "gas": ["argon", "nitrogen"]}}
        }
    )

    def wishes(self) -> dict[str, Any]:
        """As `Lab.recommend` takes them."""
        return self.model_dump(exclude={"n", "by"}, exclude_none=True)


class PointsIn(_Strict):
    """Points to be predicted."""

    points: list[Annotated[dict[Key, Input], Field(max_length=1000)]] = Field(
        min_length=1, max_length=MOST_POINTS, description="each with a value for every input; may lie outside the space"
    )

    model_config = ConfigDict(json_schema_extra={"example": {"points": [{"temperature": 805, "solvent": "water"}]}})


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
    conditions: dict[str, float] = Field(description="what was measured of the inputs that nobody sets")
    own: bool = Field(description="reported without having been recommended")
    amended: bool = Field(description="its result was corrected, or set aside: then it is cancelled")
    prediction: dict[str, float] | None = Field(description="expected values, as of before the measurement")
    interval: dict[str, tuple[float, float]] = Field(description="90 % intervals, likewise")
    reason: str
    explanation: dict[str, Any] | None
    values: dict[str, float] | None
    censored: dict[str, Literal["below", "above"]] = Field(
        description="on which side of what stands in `values` the true value lies, where only a limit is known"
    )
    missing: list[str] = Field(description="objectives whose values are still to come")
    keeps_limits: bool | None = Field(
        description="whether all limits are kept; null if there are none, or not yet known"
    )
    noise: dict[str, float]
    doubts: list[str] = Field(description="what looks like a slip of the pen about its values, and what corrects it")
    failure: str
    note: str
    cost: float | None
    by: str
    asked_by: str
    wish: dict[str, Any] | None = Field(description="what was wished of it when it was asked for")
    proposed_at: datetime
    finished_at: datetime | None


class ImportOut(BaseModel):
    """What a file came to."""

    recorded: list[int] = Field(description="ids of experiments whose results are new")
    known: list[int] = Field(description="ids of those that were on record already")
    waiting: int = Field(description="rows that have no result yet")
    remarks: list[str] = Field([], description="what people should know about how the file was read")
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
    objectives: list[dict[str, Any]]
    inputs: list[dict[str, Any]]
    instructions: str
    counts: dict[str, int]
    best: int | None = Field(description="id of the best experiment by the first objective")
    front: list[int] = Field(description="ids of the experiments that no other beats in all objectives at once")
    version: str = Field(description="changes with every event on record")


class OutlookOut(BaseModel):
    """What there is still to be had; all of it is absent if the strategy cannot say."""

    model_config = ConfigDict(extra="allow")

    probability_better: float | None = Field(
        None, description="that something better by at least delta remains; not in active learning"
    )
    delta: float | None = Field(
        None, description="least gain that counts, in the objective's unit; of several, a share of the hypervolume"
    )
    uncertainty: float | None = Field(None, description="of the model, root mean square; in active learning")
    expected_gain: float | None = Field(
        None,
        description="of the next q experiments: in the objective's unit; of several, a share of the hypervolume; for a "
        "target range, how many lie within; in active learning, by how much they lower the uncertainty",
    )
    q: int | None = Field(None, description="number of those experiments")
    expected_gain_per_cost: float | None = Field(None, description="the same per unit of cost")
    objective: str | None = Field(None, description="that this is about; else hypervolume, target or all")
    text: str | None = Field(None, description="all of this in a sentence")


class ForecastOut(BaseModel):
    """What the model expects of one point."""

    point: dict[str, Any]
    mean: dict[str, float] = Field(description="expected values by objective")
    interval: dict[str, tuple[float, float]] = Field(description="90 % of measurements are expected within, likewise")
    works: float | None = Field(description="probability that the experiment works; null while nothing has failed")
    outside: str = Field(description="why it is an extrapolation beyond the space; empty if it is none")


class LikelyOut(ForecastOut):
    """A measured experiment that the model holds for one of the best."""

    trial: int


class MeasuredOut(BaseModel):
    """One of the best measured experiments."""

    trial: int
    point: dict[str, Any]
    values: dict[str, float]


class BestOut(BaseModel):
    """Where the best is."""

    target: dict[str, tuple[float, float]] = Field(description="values that are wanted, where a range is")
    measured: list[MeasuredOut] = Field(description="best measured; of several objectives all that no other beats")
    likely: list[LikelyOut] = Field(description="the same by what the model expects of the measured points")
    expected: list[ForecastOut] = Field(description="where the model expects the best in the whole space")
    reason: str = Field(description="why there is nothing from the model; empty if there is")
    text: str = Field(description="all of this in sentences")


class Problem(BaseModel):
    """What is wrong, and where."""

    row: int | None
    column: str | None
    message: str


class ErrorOut(BaseModel):
    """Why a request was refused; nothing of it was recorded."""

    error: str
    problems: list[Problem] = []


def described(objective: Objective) -> dict[str, Any]:
    """An objective as the interface shows it; of one that is not sought, only limits are to be kept."""
    told: dict[str, Any] = {"name": objective.name, "direction": objective.direction, "unit": objective.unit}
    if not objective.sought:
        told["direction"] = None
    limits = {"at_least": objective.at_least, "at_most": objective.at_most}
    return told | {name: value for name, value in limits.items() if value is not None}


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
        conditions=dict(trial.conditions),
        own=trial.extra.get("origin") == "reported",
        amended=trial.id in amended,
        prediction=dict(trial.prediction.mean) if trial.prediction else None,
        interval={name: span for name, span in spans.items() if span is not None},
        reason=trial.reason,
        explanation=trial.extra.get("explanation"),
        values=dict(trial.values) if trial.values is not None else None,
        censored=dict(trial.censored),
        missing=missing(trial, lab.objectives),
        keeps_limits=keeps_limits(trial, lab.objectives) if trial.values and limited(lab.objectives) else None,
        noise=dict(trial.noise),
        doubts=list(doubts.get(trial.id, ())),
        failure=trial.failure.message if trial.failure else "",
        note=str(trial.info.get("note", "")),
        cost=trial.cost,
        by=trial.worker,
        asked_by=str(trial.extra.get("asked_by", "")),
        wish=trial.extra.get("wish"),
        proposed_at=datetime.fromtimestamp(trial.proposed_at, UTC),
        finished_at=datetime.fromtimestamp(trial.finished_at, UTC) if trial.finished_at is not None else None,
    )
