"""Words, names and numbers of any length stay within the narrowest phone's screen, on every page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("fastapi", reason="needs the extra 'web'")

from anyio.from_thread import start_blocking_portal

from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.ledger.ledger import Ledger
from matloop.orchestrator.trial import Answer, Failure, Proposal
from tests.orchestrator.web.browsing import TOO_WIDE, fits
from tests.orchestrator.web.conftest import GUARDED, SECRET, Visitor

WIDTH = 320
PATIENCE_MS = 120_000
LONG = "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft"
OPEN = "found => found.forEach(e => { e.open = true; e.removeAttribute('name'); })"
UNIT = "mmolPerKilogramCatalystPerHour"
NUMBER = -1.2345678901234567e-123
PAGES = (
    "/",
    "/history",
    "/predict",
    "/outlook",
    "/decisions",
    "/api/docs",
    *(f"/experiments/{i}" for i in (0, 1, 2, 3, 5, 7)),
)
NO_PAGES = ("/login", "/experiments/99999999", "/nothing")


def name(start: str) -> str:
    """A name without a place to break it."""
    return f"{start}_{LONG}"


@pytest.fixture(scope="module")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The campaign file."""
    parameters = {
        name("choice"): {"type": "categorical", "choices": [name("one"), name("two"), name("three")]},
        name("flag"): {"type": "categorical", "choices": [True, False]},
        name("number"): {"type": "float", "low": NUMBER, "high": 1234567890123456.0, "unit": UNIT},
        name("whole"): {"type": "integer", "low": -(10**15), "high": 10**15, "unit": UNIT},
    }
    objective = {"direction": "maximise", "unit": UNIT}
    study = {
        "space": {"kind": "box", "parameters": parameters},
        "driver": {"kind": "manual", "instructions": LONG},
        "strategy": {"kind": "bayesian", "initial": 3, "surrogate": "gp"},
        "objectives": {name("first"): objective, name("second"): objective},
        "budget": {"trials": 100},
    }
    file = tmp_path_factory.mktemp("wordy") / "campaign.yaml"
    file.write_text(yaml.safe_dump({"name": LONG, "studies": {LONG: study}}), encoding="utf-8")
    return file


def fill(lab: Lab) -> None:
    """Every state that a trial can be in, with the longest words."""
    values = {name("first"): NUMBER, name("second"): 1.2345678901234567e-7}
    asked = lab.recommend(4, by=LONG)
    changed = {**asked[0].point, name("choice"): name("two")}
    lab.tell(
        [Result(trial=0, values=values, noise=values | {name("first"): 1.0e-123}, note=LONG, point=changed)], by=LONG
    )
    lab.tell([Result(trial=1, values={name("first"): -NUMBER}, note=LONG)], by=LONG)
    lab.tell([Result(trial=2, failure=LONG)], by=LONG)
    lab.cancel(3, reason=LONG, by=LONG)
    own = {**asked[1].point, name("whole"): 123456789012345}
    lab.tell([Result(point=own, values={n: 2 * v for n, v in values.items()})], by=LONG)
    lab.tell([Result(point=asked[2].point, values={n: 3 * v for n, v in values.items()})], by=LONG)
    lab.record([Result(trial=0, values={name("first"): 987654321.123456})], by=LONG, amend=True)
    lab.void(5, reason=LONG, by=LONG)
    lab.tell([Result(point=asked[3].point, values=values)], by=LONG)
    lab.recommend(1)


@pytest.fixture(scope="module")
def pages(wordy: Path, browser: Any) -> Iterator[Any]:
    """Opens a page as a phone shows it."""
    directory = wordy.parent / "run"
    with Lab.open(wordy, directory=directory) as lab:
        fill(lab)
    failure = Failure(cause="uncertain", message=LONG)
    with Ledger(directory / "ledger.db") as ledger:
        trial = ledger.propose(LONG, Proposal(point={name("x"): name("value")}), seed=0, ask=0)
        ledger.answer(trial, Answer(failure=failure, started_at=1.0, finished_at=2.0))
        ledger.commit()
    with start_blocking_portal() as portal, Lab.open(wordy, directory=directory) as lab:
        visitor = Visitor(portal, lab, GUARDED)
        visitor.post("/login", data={"token": SECRET})
        page = browser.new_context(viewport={"width": WIDTH, "height": 800}).new_page()
        page.set_default_timeout(PATIENCE_MS)

        def answer(route: Any) -> None:
            if route.request.resource_type == "script":
                route.abort()
                return
            said = visitor.get(route.request.url.removeprefix("http://localhost"))
            route.fulfill(status=said.status_code, headers=dict(said.headers), body=said.content)

        page.route("**/*", answer)
        yield page
        page.context.close()
        visitor.close()


def test_nothing_is_wider_than_the_screen(pages: Any) -> None:
    for path in (*PAGES, *NO_PAGES):
        said = pages.goto(f"http://localhost{path}")
        assert said.ok == (path in (*PAGES, "/login")), path
        pages.eval_on_selector_all("details", OPEN)
        fits(pages, WIDTH)
        assert pages.evaluate(TOO_WIDE, WIDTH) == [], pages.url


@pytest.mark.parametrize("said", ["live", "no connection; what you type is kept"])
def test_what_is_said_of_the_connection_fits_beside_the_links_to_all_pages(pages: Any, said: str) -> None:
    pages.goto("http://localhost/history")
    pages.eval_on_selector(".live", "(e, said) => { e.hidden = false; e.textContent = said }", said)
    pages.eval_on_selector(".live", "(e, off) => e.classList.toggle('off', off)", said != "live")
    fits(pages, WIDTH)
    assert pages.evaluate(TOO_WIDE, WIDTH) == []
    tops = pages.eval_on_selector_all("nav a, nav button", "found => found.map(e => e.getBoundingClientRect().top)")
    assert len(tops) == 5 and max(tops) - min(tops) < 10
    assert pages.eval_on_selector(".brand", "e => e.getBoundingClientRect().width") > WIDTH / 2
