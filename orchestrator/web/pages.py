"""The pages for the bench and the phone: they work as plain forms and links; the script only makes them livelier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse

from matloop.orchestrator.lab.recommender import MOST_AHEAD
from matloop.orchestrator.ledger.slips import slips
from matloop.orchestrator.report import text
from matloop.orchestrator.web import bench, reference, rendering
from matloop.orchestrator.web.access import Access
from matloop.orchestrator.web.forms import Filled
from matloop.orchestrator.web.service import LabService
from matloop.orchestrator.web.timeline import timeline

PAGE = 100
"""Experiments on one page of the history."""

WHO = "matloop-who"
"""Cookie that remembers the visitor's name, so that nobody types it for every result."""


class Site:
    """Renders pages for a visitor.

    Args:
        service: the lab.
        access: for the tokens in forms.
    """

    def __init__(self, service: LabService, access: Access) -> None:
        self.service = service
        self.access = access

    def page(self, request: Request, template: str, status: int = 200, **content: Any) -> Response:
        """A page with what every page shows."""
        lab = self.service.lab
        return rendering.page(
            template,
            status,
            campaign=lab.name,
            study=self.service.study,
            path=request.url.path,
            version=self.service.version if status == 200 else "",  # a page that answers a form is not to be refreshed
            token_required=self.access.required,
            csrf=self.access.form_token(request.scope["session"]),
            who=unquote(request.cookies.get(WHO, ""))[:80],
            flash=_flash(request),
            **content,
        )

    def bench(
        self, request: Request, target: str = "", filled: Filled | None = None, problems: list[str] | None = None
    ) -> Response:
        """The bench; with a form that was not accepted, and why."""
        return self.page(
            request,
            "bench.html",
            422 if target else 200,
            target=target,
            filled=filled,
            problems=problems or [],
            **bench.content(self.service),
        )

    def experiment(self, request: Request, id: int, open: str = "", filled: Filled | None = None) -> Response:
        """One experiment and what happened to it; with a form that was not accepted, and why.

        Raises:
            HTTPException: there is none with this id.
        """
        trials = self.service.lab.trials()
        trial = next((t for t in trials if t.id == id), None)
        if trial is None:
            raise HTTPException(404, f"There is no experiment {id}.")
        cards = bench.cards_of(self.service, trials)
        amendments = self.service.amendments(id)
        return self.page(
            request,
            "experiment.html",
            422 if open else 200,
            card=cards.card(trial),
            doubts=[slip.text for slip in slips(trials, self.service.lab.objectives) if slip.trial == id],
            timeline=timeline(trial, amendments, cards),
            corrections=len(amendments),
            fields=self.service.fields,
            objectives=self.service.lab.objectives,
            causes=bench.causes(trials),
            open=open,
            filled=filled,
        )

    async def outlook(self, request: Request, delta: str, q: str) -> Response:
        """What further experiments are worth, for a difference and a number of them as somebody has typed them."""
        objective = self.service.lab.objectives[0]
        filled = Filled({"delta": delta.strip(), "q": q.strip()})
        least, coming = filled.number("delta", objective.unit), filled.number("q")
        if least is not None and not least > 0:
            filled.problems["delta"] = f"expected more than 0, got {delta[:40]}"
        if coming is not None and not (coming == int(coming) and 1 <= coming <= MOST_AHEAD):
            filled.problems["q"] = f"expected a whole number from 1 to {MOST_AHEAD}, got {q[:40]}"
        found = {} if filled.problems else await self.service.outlook_for(least, int(coming or 1))
        return self.page(
            request,
            "outlook.html",
            422 if filled.problems else 200,
            outlook=bench.outlook(found, objective),
            unit=objective.unit,
            filled=filled,
        )

    def history(self, request: Request, page: int) -> Response:
        """All experiments, the latest first."""
        trials = self.service.lab.trials()
        cards = bench.cards_of(self.service, trials)
        pages = max(1, -(-len(trials) // PAGE))
        shown = trials[::-1][(page - 1) * PAGE : page * PAGE]
        return self.page(
            request,
            "history.html",
            cards=[cards.card(t, strips=False) for t in shown],
            total=len(trials),
            page=page,
            pages=pages,
        )


def routes(site: Site, app: FastAPI) -> APIRouter:
    """What can be looked at."""
    router = APIRouter()

    @router.get("/")
    def bench_page(request: Request) -> Response:
        return site.bench(request)

    @router.get("/history")
    def history_page(request: Request, page: Annotated[int, Query(ge=1, le=10**6)] = 1) -> Response:
        return site.history(request, page)

    @router.get("/experiments/{id}")
    def experiment_page(request: Request, id: int) -> Response:
        return site.experiment(request, id)

    @router.get("/outlook")
    async def outlook_page(request: Request, delta: str = "", q: str = "") -> Response:
        return await site.outlook(request, delta, q)

    @router.get("/api/docs")
    def reference_page(request: Request) -> Response:
        return site.page(request, "api.html", routes=reference.routes(app.openapi()), description=app.description)

    @router.get("/icon.svg")
    def icon() -> Response:
        return FileResponse(Path(__file__).parent / "static" / "icon.svg", media_type="image/svg+xml")

    return router


def _flash(request: Request) -> str:
    """What has just been done, said once more than by its effect."""
    done, number = request.query_params.get("done", ""), request.query_params.get("n", "")
    if not number.isdecimal() or len(number) > 9:
        return ""
    n = int(number)
    return {
        "recorded": f"The result of experiment {n} is recorded.",
        "failed": f"The failure of experiment {n} is recorded.",
        "corrected": f"The correction of experiment {n} is recorded.",
        "cancelled": f"Experiment {n} is taken off the list.",
        "decided": f"The decision on trial {n} is recorded.",
        "voided": f"The result of experiment {n} is set aside.",
        "recommended": f"{text.plural(n, 'recommendation').capitalize()} more."
        if n
        else "No recommendation: the strategy waits for results of what is under way.",
        "imported": f"{text.plural(n, 'result').capitalize()} recorded from the file.",
    }.get(done, "")
