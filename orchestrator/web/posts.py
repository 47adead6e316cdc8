"""What the pages' forms do; a form that is not accepted comes back with every objection beside its field."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from matloop.orchestrator.errors import ImpossibleWish, MatloopError, MissingExtra, RejectedResults
from matloop.orchestrator.lab import Result
from matloop.orchestrator.lab.sheets import Reading
from matloop.orchestrator.measurement import LONGEST_NAME
from matloop.orchestrator.trial import Trial, missing
from matloop.orchestrator.web import api, asking, forms, rendering
from matloop.orchestrator.web.access import Access
from matloop.orchestrator.web.forms import Filled
from matloop.orchestrator.web.middleware import cookie
from matloop.orchestrator.web.pages import SAID, WHO, Site
from matloop.orchestrator.web.schemas import MOST_RECOMMENDED

KINDS: dict[str, forms.Outcome] = {"result": "value", "failure": "failure", "amend": "either"}

AWAY = {"cancel": "cancelled", "void": "voided"}
"""What takes an experiment out of what is learned from, and what has happened to it then."""

LONGEST_SAID = 600
"""Characters of remarks on a file."""

SAID_S = 30
"""How long they are kept, s, for the page that follows."""

YEAR_S = 365 * 24 * 3600


def routes(site: Site, access: Access) -> APIRouter:
    """What can be done."""
    service, lab = site.service, site.service.lab
    router = APIRouter()

    async def submitted(request: Request) -> tuple[Filled, bytes]:
        """The form, if it is one of ours, and the file in it.

        Raises:
            HTTPException: it does not carry the token of this session.
        """
        async with request.form(max_files=1, max_fields=3000) as form:
            filled = forms.read(form)
            file = form.get("file")
            content = await file.read() if isinstance(file, UploadFile) else b""
        if not hmac.compare_digest(filled.get("csrf").encode(), access.form_token(request.scope["session"]).encode()):
            raise HTTPException(403, "This form was opened before you signed in, or elsewhere. Go back and reload it.")
        return filled, content

    def find(id: int) -> Trial:
        trial = next((t for t in lab.trials() if t.id == id), None)
        if trial is None:
            raise HTTPException(404, f"There is no experiment {id}.")
        return trial

    def tell(filled: Filled, result: Result | None, *, amend: bool = False) -> Trial | None:
        """Record; None if something is wrong, which `filled.problems` then says."""
        if result is None:
            return None
        outside = filled.get("confirm") == "yes"
        try:
            return lab.record([result], filled.get("by"), amend=amend, allow_outside=outside)[0].trial
        except RejectedResults as error:
            filled.object_to(error.problems, service.fields, lab.objectives)
            if not outside and not lab.review([result], amend=amend, allow_outside=True)[1]:
                filled.unusual = True
            return None

    @router.post("/experiments/{id}/{what}")
    async def report(request: Request, id: int, what: str) -> Response:
        if what not in (*KINDS, *AWAY):
            raise HTTPException(404, "There is no such page.")
        filled, _ = await submitted(request)
        return await run_in_threadpool(reported, request, id, what, filled)

    def reported(request: Request, id: int, what: str, filled: Filled) -> Response:
        trial = find(id)
        if what in AWAY:
            take = lab.cancel if what == "cancel" else lab.void
            try:
                take(id, filled.line("by", LONGEST_NAME), filled.line("reason"))
            except MatloopError as error:
                filled.problems[""] = rendering.sentence(str(error))
                return site.experiment(request, id, what, filled)
            return done(filled, AWAY[what], id, f"/experiments/{id}" if what == "void" else "/")
        result = forms.outcome(filled, KINDS[what], service.fields, lab.objectives, trial)
        if what == "amend" and filled.get("seen") not in ("", str(len(service.amendments(id)))):
            filled.problems[""] = (
                "Somebody has corrected it while this form was open. Look at what it says now, and send."
            )
            result = None
        told = tell(filled, result, amend=what == "amend")
        if told is None:
            now = find(id)  # somebody may have reported on it meanwhile
            over = what != "amend" and now.state != "running" and not missing(now, lab.objectives)
            return site.experiment(request, id, "amend" if over else what, filled)
        if what == "amend":
            return done(filled, "corrected", id, f"/experiments/{id}")
        return done(filled, "failed" if told.failure else "recorded", id)

    @router.post("/experiments")
    async def own(request: Request) -> Response:
        filled, _ = await submitted(request)
        return await run_in_threadpool(reported_own, request, filled)

    def reported_own(request: Request, filled: Filled) -> Response:
        trial = tell(filled, forms.outcome(filled, "either", service.fields, lab.objectives, None))
        if trial is None:
            return site.bench(request, "own", filled)
        return done(filled, "failed" if trial.failure else "recorded", trial.id, form="own")

    @router.post("/recommend")
    async def recommend(request: Request) -> Response:
        filled, _ = await submitted(request)
        wanted = filled.get("n")
        try:
            if not wanted.isdecimal() or not 1 <= int(wanted[:4]) <= MOST_RECOMMENDED:
                raise MatloopError(f"expected a number from 1 to {MOST_RECOMMENDED}, got {wanted[:20]!r}")
            given = asking.wishes(filled, service.fields)
            by = filled.line("by", LONGEST_NAME)
            if given is None or filled.problems:
                return await run_in_threadpool(site.bench, request, "recommend", filled)
            trials = await service.recommend(int(wanted[:4]), by, lab.wishes(**given))
        except ImpossibleWish as error:
            asking.object_to(filled, error, service.fields)
            return await run_in_threadpool(site.bench, request, "recommend", filled)
        except MatloopError as error:
            filled.problems["n"] = rendering.sentence(str(error))
            return await run_in_threadpool(site.bench, request, "recommend", filled)
        return done(filled, "recommended", len(trials))

    @router.post("/csv")
    async def csv(request: Request) -> Response:
        filled, content = await submitted(request)
        return await run_in_threadpool(imported, request, filled, content)

    def imported(request: Request, filled: Filled, content: bytes) -> Response:
        decimal = filled.get("decimal")
        how = Reading(
            sheet=filled.get("sheet"),
            decimal="comma" if decimal == "comma" else "point" if decimal == "point" else None,
            ignore_columns=filled.get("ignore_columns") == "yes",
        )
        try:
            told = api.imported(service, content, filled.line("by", LONGEST_NAME), how)
        except RejectedResults as error:
            return site.bench(request, "csv", filled, [forms.located(problem) for problem in error.problems])
        except MissingExtra as error:
            return site.bench(request, "csv", filled, [rendering.sentence(str(error))])
        return done(filled, "imported", len(told.recorded), remarks=told.remarks)

    @router.get("/login")
    def ask_for_token() -> Response:
        return rendering.page("login.html", problem="")

    @router.post("/login")
    async def login(request: Request) -> Response:
        async with request.form(max_files=0, max_fields=5) as form:
            token = forms.read(form).get("token")
        if not access.required or not access.admits(token):
            return rendering.page("login.html", 401, problem="This is not the token of this lab.")
        answer = RedirectResponse("/", 303)
        answer.headers.append("set-cookie", cookie(access, access.new_session()))
        return answer

    @router.post("/logout")
    async def logout(request: Request) -> Response:
        await submitted(request)
        answer = RedirectResponse("/login", 303)
        answer.headers.append("set-cookie", cookie(access, ""))
        return answer

    return router


def done(
    filled: Filled, what: str, n: int, address: str = "/", form: str = "", remarks: Sequence[str] = ()
) -> Response:
    """Lead back to a page that says what was done, so that reloading it does nothing again."""
    answer = RedirectResponse(f"{address}?done={what}&n={n}{f'&form={form}' if form else ''}", 303)
    if remarks:
        said = quote("; ".join(remarks)[:LONGEST_SAID])
        answer.set_cookie(SAID, said, max_age=SAID_S, httponly=True, samesite="strict")
    if who := filled.get("by"):
        answer.set_cookie(WHO, quote(who), max_age=YEAR_S, httponly=True, samesite="strict")
    return answer
