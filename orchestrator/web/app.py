"""The server's application: REST interface and pages around one lab, behind the checks of every request."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from matloop.orchestrator.errors import (
    ImpossibleWish,
    LedgerError,
    LedgerLocked,
    LedgerUnwritable,
    MatloopError,
    RejectedResults,
)
from matloop.orchestrator.lab import Lab
from matloop.orchestrator.web import api, decisions, foresight, pages, posts, rendering
from matloop.orchestrator.web.access import Access
from matloop.orchestrator.web.middleware import RequestChecks
from matloop.orchestrator.web.service import Busy, LabService

DESCRIPTION = (
    "Ask what to do next and report what came of it. Bodies are JSON; errors are "
    '`{"error": …, "problems": [{"row", "column", "message"}]}`, and nothing of a refused request is recorded.'
)
MOST_PROBLEMS = 300
"""Of a refused request, that are named in the answer."""

TITLES = {
    400: "That did not work",
    401: "Please sign in",
    403: "Not allowed",
    404: "Not found",
    409: "Not now",
    413: "Too large",
    414: "Too large",
    431: "Too large",
    503: "Busy",
}


def create(lab: Lab, access: Access) -> Any:
    """The ASGI application.

    Args:
        lab: open; closed when the server ends.
        access: who may come in.
    """
    service = LabService(lab)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title=f"{lab.name}: experiments",
        description=DESCRIPTION,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )
    site = pages.Site(service, access)
    app.include_router(api.routes(service))
    app.include_router(decisions.routes(service))
    app.include_router(pages.routes(site, app), include_in_schema=False)
    app.include_router(decisions.pages(site, access), include_in_schema=False)
    app.include_router(foresight.routes(site), include_in_schema=False)
    app.include_router(posts.routes(site, access), include_in_schema=False)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")

    def refuse(request: Request, status: int, message: str, problems: Any = ()) -> Response:
        headers = {401: {"www-authenticate": "Bearer"}, 503: {"retry-after": "5"}}.get(status)
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": message, "problems": list(problems)}, status, headers)
        return rendering.error(TITLES.get(status, "That did not work"), message, status)

    @app.exception_handler(MatloopError)
    def _refused(request: Request, error: MatloopError) -> Response:
        if isinstance(error, RejectedResults):
            rows = [
                {"row": p.row, "column": p.column or None, "message": p.text} for p in error.problems[:MOST_PROBLEMS]
            ]
            return refuse(request, 422, error.summary, rows)
        if isinstance(error, ImpossibleWish):
            names = [
                {"row": None, "column": str(p.place[0]) if p.place else None, "message": p.text} for p in error.problems
            ]
            return refuse(request, 422, str(error), names[:MOST_PROBLEMS])
        later = isinstance(error, LedgerLocked | LedgerUnwritable | Busy)
        return refuse(request, 503 if later else 500 if isinstance(error, LedgerError) else 409, str(error))

    @app.exception_handler(RequestValidationError)
    def _invalid(request: Request, error: RequestValidationError) -> Response:
        rows = [_problem(details) for details in error.errors()[:MOST_PROBLEMS]]
        return refuse(request, 422, "the request is not as described at /api/docs; nothing was recorded", rows)

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        return refuse(request, error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    def _unexpected(request: Request, error: Exception) -> Response:
        logging.getLogger(__name__).error("%s %r", request.method, request.scope["path"][:200], exc_info=error)
        return refuse(request, 500, "something went wrong here; the server's log says what")

    return RequestChecks(app, access=access, refuse=refuse)


def _problem(details: Any) -> dict[str, Any]:
    """One of pydantic's complaints: the row is the place in a list of results."""
    place = [part for part in details["loc"] if part not in ("body", "query", "path")]
    row = next((part for part in place if isinstance(part, int)), None)
    names = [str(part) for part in place if not isinstance(part, int) and part != "results"]
    text = str(details["msg"])
    return {"row": row, "column": _plain(".".join(names[:3]))[:200] or None, "message": f"{text[0].lower()}{text[1:]}"}


def _plain(text: str) -> str:
    """Text that can be sent: half of a surrogate pair cannot."""
    return text.encode("utf-8", "replace").decode()
