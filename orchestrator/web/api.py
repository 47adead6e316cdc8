"""The REST interface: the study, its experiments, recommendations, results, CSV files."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from matloop.orchestrator.errors import Problem, RejectedResults
from matloop.orchestrator.lab.recommender import MOST_AHEAD
from matloop.orchestrator.lab.sheets import Reading
from matloop.orchestrator.lab.workbooks import MEDIA_TYPE
from matloop.orchestrator.report.fronts import front
from matloop.orchestrator.trial import best
from matloop.orchestrator.web.schemas import (
    BestOut,
    CancelIn,
    ErrorOut,
    ExperimentOut,
    ForecastOut,
    ImportOut,
    Name,
    OutlookOut,
    PointsIn,
    RecommendIn,
    ResultsIn,
    StudyOut,
    VoidIn,
    described,
    experiment,
)
from matloop.orchestrator.web.service import LabService

PAGE = 1000
"""Experiments in one answer, at most."""

Reporter = Annotated[Name, Query(description="who reports")]
Amend = Annotated[bool, Query(description="let different results take the place of recorded ones")]
Outside = Annotated[bool, Query(description="take values outside the plausible ranges, and inputs outside the space")]
Decimal = Annotated[
    Literal["comma", "point"] | None, Query(description="what stands before decimals, where the table does not say")
]
Ignore = Annotated[bool, Query(description="pass over columns that are not known")]
Id = Annotated[int, Path(ge=0, lt=2**31, description="number of an experiment")]
State = Literal["to do", "answered", "failed", "cancelled"]


CSV = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {"schema": {"type": "string"}, "example": "trial,yield (%),yield ±,failed,note\n3,61.5,0.8,,\n"}
        },
    }
}


XLSX = {"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}}


MOST_LINES = 10_000
"""Lines of a file that is sent: they are recorded in one go, which others wait for."""


def imported(
    service: LabService,
    content: bytes,
    by: str,
    how: Reading | None = None,
    *,
    amend: bool = False,
    allow_outside: bool = False,
) -> ImportOut:
    """Record what a CSV or Excel file says.

    Raises:
        RejectedResults: there is something wrong with it, or it is too long.
        MissingExtra: it is an Excel file, and openpyxl is not installed.
    """
    how = how or Reading()
    lines = 0 if content.startswith(b"PK") else max(content.count(b"\n"), content.count(b"\r"))
    if lines > MOST_LINES:
        raise RejectedResults([_too_long(lines, "lines")])
    table = service.lab.read_csv(content, sheet=how.sheet, decimal=how.decimal, ignore_columns=how.ignore_columns)
    if (rows := len(table.results) + table.waiting) > MOST_LINES:
        raise RejectedResults([_too_long(rows, "rows")])
    done = service.lab.record_filled(table, by, amend=amend, allow_outside=allow_outside)
    doubts = service.lab.doubts() if done else {}
    return ImportOut(
        recorded=[entry.trial.id for entry in done if entry.action != "known"],
        known=[entry.trial.id for entry in done if entry.action == "known"],
        waiting=table.waiting,
        remarks=table.remarks,
        doubts=[text for entry in done if entry.action != "known" for text in doubts.get(entry.trial.id, ())],
    )


def _too_long(n: int, what: str) -> Problem:
    return Problem(f"expected a file of at most {MOST_LINES:,} {what}, got {n:,}; send it in parts", (MOST_LINES,))


def routes(service: LabService) -> APIRouter:
    """All of it, under `/api`."""
    lab = service.lab
    router = APIRouter(prefix="/api", responses={422: {"model": ErrorOut}})

    def amended() -> set[int]:
        return {amendment.trial for amendment in lab.history.amendments}

    @router.get("/study")
    def study() -> StudyOut:
        """What is studied, and where it stands."""
        trials = lab.trials()
        champion = best(trials, lab.objectives[0], lab.objectives)
        states = ["to do" if t.state == "running" else t.state for t in trials]
        return StudyOut(
            campaign=lab.name,
            study=service.study,
            objectives=[described(o) for o in lab.objectives],
            inputs=[
                {"name": f.name, "kind": f.kind, "low": f.low, "high": f.high, "unit": f.unit, "choices": f.choices}
                for f in service.fields
            ],
            instructions=lab.instructions,
            counts={state: states.count(state) for state in ("to do", "answered", "failed", "cancelled")},
            best=champion.id if champion else None,
            front=[t.id for t in front(trials, lab.objectives)],
            version=service.version,
        )

    @router.get("/version")
    def version() -> dict[str, str]:
        """A text that changes with every event on record; for those who poll."""
        return {"version": service.version}

    @router.get("/experiments")
    def experiments(
        state: Annotated[State | None, Query(description="only those in this state")] = None,
        start: Annotated[int, Query(ge=0, lt=2**31, description="only those from this id on")] = 0,
        limit: Annotated[int, Query(ge=1, le=PAGE, description="at most so many")] = PAGE,
    ) -> list[ExperimentOut]:
        """Experiments in order: those to do, and those done."""
        wanted = "running" if state == "to do" else state
        found = [t for t in lab.trials() if t.id >= start and (wanted is None or t.state == wanted)]
        corrected, doubts = amended(), lab.doubts()
        return [experiment(t, lab, corrected, doubts) for t in found[:limit]]

    @router.get("/experiments/{id}")
    def one(id: Id) -> ExperimentOut:
        """One experiment."""
        found = [t for t in lab.trials() if t.id == id]
        if not found:
            raise HTTPException(404, f"there is no experiment {id}")
        return experiment(found[0], lab, amended(), lab.doubts())

    @router.post("/recommendations", status_code=201)
    async def recommend(wanted: RecommendIn) -> list[ExperimentOut]:
        """Recommend what to do next, as wished. It is on record when the answer comes; that may take seconds. Fewer
        come, or none, while the strategy waits for results."""
        wishes = lab.wishes(**wanted.wishes())
        return [experiment(t, lab, set()) for t in await service.recommend(wanted.n, wanted.by, wishes)]

    @router.post("/results")
    def results(told: ResultsIn) -> list[ExperimentOut]:
        """Record results, all of them or none. What is on record already is not recorded again, so that it is safe to
        repeat a request whose answer was lost; results without a recommendation need a `request` for that."""
        recorded = lab.record(
            [result.result() for result in told.results],
            told.by,
            amend=told.amend,
            allow_outside=told.allow_outside,
        )
        corrected, doubts = amended(), lab.doubts()
        return [experiment(entry.trial, lab, corrected, doubts) for entry in recorded]

    @router.post("/experiments/{id}/cancel")
    def cancel(id: Id, told: CancelIn) -> ExperimentOut:
        """Record that a recommendation will not be done; harmless when repeated."""
        return experiment(lab.cancel(id, told.by, told.reason), lab, amended())

    @router.post("/experiments/{id}/void")
    def void(id: Id, told: VoidIn) -> ExperimentOut:
        """Set the result of an experiment aside: it teaches nothing any more, its cost stays, the record keeps it."""
        return experiment(lab.void(id, told.by, told.reason), lab, amended())

    @router.get("/next.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
    def next_csv() -> Response:
        """What is to be done, as a CSV file to be filled in with any spreadsheet program."""
        return _file("next.csv", lab.write_csv(lab.pending()), "text/csv")

    @router.get("/next.xlsx", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
    def next_xlsx() -> Response:
        """The same as an Excel file, with lists to choose from."""
        return _file("next.xlsx", lab.write_xlsx(lab.pending()), MEDIA_TYPE)

    @router.get("/table.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
    def table_csv() -> Response:
        """Everything that is on record, as a CSV file that this lab and others can be told."""
        return _file("table.csv", lab.export_csv(), "text/csv")

    @router.get("/table.xlsx", response_class=Response, responses={200: {"content": {MEDIA_TYPE: {}}}})
    def table_xlsx() -> Response:
        """The same as an Excel file."""
        return _file("table.xlsx", lab.export_xlsx(), MEDIA_TYPE)

    async def recorded(
        request: Request, kind: str, by: str, how: Reading, amend: bool, allow_outside: bool
    ) -> ImportOut:
        got = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if got != kind:
            raise HTTPException(415, f"expected the header 'Content-Type: {kind}', got {got[:80]!r}")
        content = await request.body()
        return await run_in_threadpool(imported, service, content, by, how, amend=amend, allow_outside=allow_outside)

    @router.post("/csv", openapi_extra=CSV)
    async def csv(
        request: Request,
        by: Reporter = "",
        amend: Amend = False,
        allow_outside: Outside = False,
        decimal: Decimal = None,
        ignore_columns: Ignore = False,
    ) -> ImportOut:
        """Record the results in a CSV file that was filled in, as `matloop tell` does: all of them or none. Rows
        without a result are passed over, so that a file can be sent again and again while it fills."""
        how = Reading(decimal=decimal, ignore_columns=ignore_columns)
        return await recorded(request, "text/csv", by, how, amend, allow_outside)

    @router.post("/xlsx", openapi_extra=XLSX)
    async def xlsx(
        request: Request,
        by: Reporter = "",
        amend: Amend = False,
        allow_outside: Outside = False,
        decimal: Decimal = None,
        ignore_columns: Ignore = False,
        sheet: Annotated[str, Query(description="which sheet; the first if left out", max_length=31)] = "",
    ) -> ImportOut:
        """Record the results in an Excel file that was filled in, likewise."""
        how = Reading(sheet=sheet, decimal=decimal, ignore_columns=ignore_columns)
        return await recorded(request, MEDIA_TYPE, by, how, amend, allow_outside)

    @router.post("/predict")
    async def predict(asked: PointsIn) -> list[ForecastOut]:
        """Predict what experiments would give, in the order of the points; nothing is recorded. May take seconds."""
        found = await service.foresee(lab.forecast, asked.points)
        return [ForecastOut(**one.as_json()) for one in found]

    @router.get("/best")
    async def best_of_all(
        n: Annotated[int, Query(ge=1, le=PAGE, description="how many of the measured ones")] = 1,
    ) -> BestOut:
        """Say where the best is: measured, by the model among what was measured, and where the model expects it. May
        take seconds."""
        return BestOut(**(await service.best_now(n)).as_json())

    @router.get("/outlook", response_model_exclude_unset=True)
    async def outlook(
        delta: Annotated[
            float | None,
            Query(gt=0, allow_inf_nan=False, description="least gain that counts; see the answer"),
        ] = None,
        q: Annotated[int, Query(ge=1, le=MOST_AHEAD, description="experiments to come")] = 1,
    ) -> OutlookOut:
        """What further experiments are worth; empty if the strategy cannot say. May take seconds."""
        return OutlookOut(**await service.outlook_for(delta, q))

    return router


def _file(name: str, content: bytes, media_type: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)
