"""The REST interface: the study, its experiments, recommendations, results, CSV files."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from matloop.orchestrator.errors import Problem, RejectedResults
from matloop.orchestrator.lab.recommender import MOST_AHEAD
from matloop.orchestrator.report.fronts import front
from matloop.orchestrator.trial import best
from matloop.orchestrator.web.schemas import (
    CancelIn,
    ErrorOut,
    ExperimentOut,
    ImportOut,
    Name,
    OutlookOut,
    RecommendIn,
    ResultsIn,
    StudyOut,
    VoidIn,
    experiment,
)
from matloop.orchestrator.web.service import LabService

PAGE = 1000
"""Experiments in one answer, at most."""

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


MOST_LINES = 10_000
"""Lines of a file that is sent: they are recorded in one go, which others wait for."""


def imported(
    service: LabService, content: bytes, by: str, amend: bool = False, allow_outside: bool = False
) -> ImportOut:
    """Record what a CSV file says.

    Raises:
        RejectedResults: there is something wrong with it, or it is too long.
    """
    lines = max(content.count(b"\n"), content.count(b"\r"))
    if lines > MOST_LINES:
        text = f"expected a file of at most {MOST_LINES:,} lines, got {lines:,}; send it in parts"
        raise RejectedResults([Problem(text, (MOST_LINES,))])
    table = service.lab.read_csv(content)
    done = service.lab.record_filled(table, by, amend=amend, allow_outside=allow_outside)
    doubts = service.lab.doubts() if done else {}
    return ImportOut(
        recorded=[entry.trial.id for entry in done if entry.action != "known"],
        known=[entry.trial.id for entry in done if entry.action == "known"],
        waiting=table.waiting,
        doubts=[text for entry in done if entry.action != "known" for text in doubts.get(entry.trial.id, ())],
    )


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
        champion = best(trials, lab.objectives[0])
        states = ["to do" if t.state == "running" else t.state for t in trials]
        return StudyOut(
            campaign=lab.name,
            study=service.study,
            objectives=[{"name": o.name, "direction": o.direction, "unit": o.unit} for o in lab.objectives],
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
        """Recommend what to do next. It is on record when the answer comes; that may take seconds. Fewer come, or
        none, while the strategy waits for results."""
        return [experiment(t, lab, set()) for t in await service.recommend(wanted.n, wanted.by)]

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
        headers = {"content-disposition": 'attachment; filename="next.csv"'}
        return Response(lab.write_csv(lab.pending()), media_type="text/csv", headers=headers)

    @router.post("/csv", openapi_extra=CSV)
    async def csv(
        request: Request,
        by: Annotated[Name, Query(description="who reports")] = "",
        amend: Annotated[bool, Query(description="let different results take the place of recorded ones")] = False,
        allow_outside: Annotated[bool, Query(description="take values outside the plausible ranges")] = False,
    ) -> ImportOut:
        """Record the results in a CSV file that was filled in, as `matloop tell` does: all of them or none. Rows
        without a result are passed over, so that a file can be sent again and again while it fills."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "text/csv":
            raise HTTPException(415, f"expected the header 'Content-Type: text/csv', got {kind[:80]!r}")
        return await run_in_threadpool(imported, service, await request.body(), by, amend, allow_outside)

    @router.get("/outlook", response_model_exclude_unset=True)
    async def outlook(
        delta: Annotated[
            float | None,
            Query(gt=0, allow_inf_nan=False, description="least difference that counts, in the first objective's unit"),
        ] = None,
        q: Annotated[int, Query(ge=1, le=MOST_AHEAD, description="experiments to come")] = 1,
    ) -> OutlookOut:
        """What further experiments are worth; empty if the strategy cannot say. May take seconds."""
        return OutlookOut(**await service.outlook_for(delta, q))

    return router
