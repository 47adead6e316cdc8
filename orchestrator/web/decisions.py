"""Trials that may have happened and must not be repeated unasked: what waits for a decision, by REST and on a page.

They are of any study of the campaign: machines measure these, people decide.
"""

from __future__ import annotations

import hmac

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.ledger.decisions import WORDS
from matloop.orchestrator.measurement import LONGEST_NAME
from matloop.orchestrator.trial import Trial
from matloop.orchestrator.web import forms, rendering
from matloop.orchestrator.web.access import Access
from matloop.orchestrator.web.pages import Site
from matloop.orchestrator.web.posts import done
from matloop.orchestrator.web.schemas import DecisionIn, UndecidedOut
from matloop.orchestrator.web.service import LabService


def routes(service: LabService) -> APIRouter:
    """The REST interface."""
    router = APIRouter(prefix="/api")
    lab = service.lab

    def shown(trial: Trial, verdict: str | None = None) -> UndecidedOut:
        return UndecidedOut(
            trial=trial.id,
            study=trial.study,
            state="cancelled" if trial.state == "cancelled" else "failed",
            point=dict(trial.point),
            message=trial.failure.message if trial.failure else "",
            verdict=verdict,
        )

    @router.get("/decisions")
    def undecided() -> list[UndecidedOut]:
        """Trials of any study that may have happened, gave no answer, and wait for a person's decision."""
        return [shown(trial) for trial in lab.undecided()]

    @router.post("/decisions", status_code=201)
    def decide(made: DecisionIn) -> UndecidedOut:
        """Decide on one of them, once. While the campaign runs, nobody else can write its record: try again later."""
        return shown(lab.decide(made.trial, made.verdict, made.by, made.reason), made.verdict)

    return router


def pages(site: Site, access: Access) -> APIRouter:
    """The page, and what its forms do."""
    router = APIRouter()
    lab = site.service.lab

    def page(request: Request, filled: forms.Filled | None = None) -> Response:
        return site.page(
            request, "decisions.html", 422 if filled else 200, trials=lab.undecided(), verdicts=WORDS, filled=filled
        )

    def decided(request: Request, filled: forms.Filled) -> Response:
        number, verdict = filled.get("trial"), filled.get("verdict")
        by, reason = filled.line("by", LONGEST_NAME), filled.line("reason")
        if not filled.problems:
            try:
                lab.decide(int(number) if number.isdecimal() and len(number) < 10 else -1, verdict, by, reason)
                return done(filled, "decided", int(number), "/decisions")
            except MatloopError as error:
                filled.problems[""] = rendering.sentence(str(error))
        return page(request, filled)

    @router.get("/decisions")
    def look(request: Request) -> Response:
        return page(request)

    @router.post("/decisions")
    async def decide(request: Request) -> Response:
        async with request.form(max_files=0, max_fields=20) as form:
            filled = forms.read(form)
        if not hmac.compare_digest(filled.get("csrf").encode(), access.form_token(request.scope["session"]).encode()):
            raise HTTPException(403, "This form was opened before you signed in, or elsewhere. Go back and reload it.")
        return await run_in_threadpool(decided, request, filled)

    return router
