"""A campaign whose every name is markup is shown as text: on every page, in every form and error, and in the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

pytest.importorskip("fastapi", reason="needs the extra 'web'")

from anyio.from_thread import start_blocking_portal

from matloop.orchestrator.lab import Lab, Result
from matloop.orchestrator.ledger.artifacts import ArtifactStore
from matloop.orchestrator.ledger.ledger import read
from matloop.orchestrator.report import page as report
from tests.orchestrator.web.conftest import OPEN, Visitor, form_token

EVIL = "</script></title></textarea></select><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&lt;{{7*7}}"
SHORT = "\"'><svg/onload=alert(1)>"
LINK = "javascript:alert(1)//"


class Reader(HTMLParser):
    """Tags and attributes of a page, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            assert not name.startswith("on"), f"script in an attribute: {tag} {name}={value}"
            assert name.replace("-", "").replace(":", "").isalnum(), f"attribute {name!r} of {tag}"
            if name in ("href", "src", "action", "formaction", "xlink:href", "data"):
                assert value is not None and not value.lower().lstrip().startswith(("javascript", "vbscript")), value
                assert not (name == "src" and value == "x")
            if tag == "script" and name == "src":
                self.scripts.append(str(value))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """The campaign file."""
    campaign = {
        "name": EVIL,
        "studies": {
            "anneal": {
                "space": {
                    "kind": "box",
                    "parameters": {
                        EVIL: {"type": "float", "low": 0, "high": 1, "unit": SHORT},
                        SHORT: {"type": "categorical", "choices": [EVIL, SHORT, LINK, "</script>"]},
                        LINK: {"type": "float", "low": 0, "high": 1, "when": {SHORT: [EVIL, SHORT]}},
                    },
                },
                "driver": {"kind": "manual", "instructions": f"{EVIL} `{EVIL}`"},
                "strategy": "random",
                "objectives": {
                    EVIL + " y": {"direction": "maximise", "unit": SHORT},
                    SHORT + " z": {"direction": "minimise", "unit": EVIL},
                },
            }
        },
    }
    file = tmp_path / "campaign.yaml"
    file.write_text(yaml.safe_dump(campaign), encoding="utf-8")
    return file


@pytest.fixture
def lab(hostile: Path) -> Iterator[Lab]:
    """A dozen experiments, as hostile."""
    names = [EVIL + " y", SHORT + " z"]
    with Lab.open(hostile, directory=hostile.parent / "run") as opened:
        for i in range(12):
            (trial,) = opened.recommend(1, by=SHORT)
            if i % 4 == 3:
                opened.tell([Result(trial=trial.id, failure=EVIL, note=EVIL)], EVIL[:80])
            elif i % 4 == 2:
                opened.cancel(trial.id, SHORT, EVIL)
            else:
                values = dict.fromkeys(names, float(i))
                opened.tell([Result(trial=trial.id, values=values, note=EVIL)], EVIL[:80])
        opened.tell([Result(trial=0, values=dict.fromkeys(names, 5.0), note=EVIL)], SHORT, amend=True)
        opened.recommend(2, by=SHORT)
        yield opened


@pytest.fixture
def visitor(lab: Lab, hostile: Path) -> Iterator[Visitor]:
    """Somebody who looks at it."""
    with start_blocking_portal() as portal:
        found = Visitor(portal, Lab.open(hostile, directory=hostile.parent / "run"), OPEN)
        yield found
        found.close()


def look(page: str) -> Reader:
    reader = Reader(page)
    assert reader.tags["script"] == len(reader.scripts) and set(reader.scripts) <= {"/static/app.js"}
    for tag in ("iframe", "object", "embed", "img", "base", "style"):
        assert reader.tags[tag] == 0, tag
    return reader


PAGES = ["/", "/history", "/api/docs", "/outlook", *(f"/experiments/{i}" for i in range(14))]


def test_every_page(visitor: Visitor) -> None:
    shown = ""
    for path in (*PAGES, f"/?done={SHORT}&n={SHORT}&form={SHORT}", f"/{EVIL}", f"/experiments/{SHORT}"):
        shown += look(visitor.get(path).text).text
    for evil in (EVIL.replace("_", " "), SHORT):
        assert evil in shown


def test_every_form_that_comes_back(visitor: Visitor) -> None:
    csrf = form_token(visitor.get("/").text)
    data = {"csrf": csrf, "by": EVIL, "note": EVIL, "failure": EVIL, "reason": EVIL, "n": EVIL}
    data |= {f"point.{name}": EVIL for name in (EVIL, SHORT, LINK)}
    data |= {f"value.{name}": EVIL for name in (EVIL + " y", SHORT + " z")}
    paths = ["/recommend", "/experiments", "/login"]
    paths += [f"/experiments/{i}/{what}" for i in (0, 12) for what in ("result", "failure", "amend", "cancel")]
    for path in paths:
        look(visitor.post(path, data=data).text)
    table = f"trial,{EVIL},{SHORT}\n0,{EVIL},{SHORT}\n".encode()
    look(visitor.post("/csv", data={"csrf": csrf, "by": EVIL}, files={"file": (EVIL, table)}).text)
    look(visitor.get("/", headers={"host": SHORT}).text)


def test_json_is_declared_as_such(visitor: Visitor) -> None:
    for path in ("/api/study", "/api/experiments", "/api/openapi.json", f"/api/{SHORT}"):
        answer = visitor.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_report(lab: Lab) -> None:
    page = report.html(
        read(lab.directory / "ledger.db"), ArtifactStore(lab.directory / "artifacts"), [f"{EVIL}: {EVIL}"]
    )
    reader = Reader(page)
    assert reader.tags["script"] == reader.tags["iframe"] == reader.tags["object"] == reader.tags["base"] == 0
    assert EVIL in reader.text and reader.tags["svg"] > 0
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page


def test_the_reader_sees_what_is_not_escaped() -> None:
    for text in ("<p onclick='x'>", '<a href="javascript:x">', "<img src=x>", f"<p title='{EVIL}'>"):
        with pytest.raises(AssertionError):
            Reader(text)
