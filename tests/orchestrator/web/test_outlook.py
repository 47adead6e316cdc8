"""What further experiments are worth, asked for in Python, over REST and on the page: one answer."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from matloop.orchestrator.errors import MatloopError
from matloop.orchestrator.lab import Lab, Result
from tests.orchestrator.web.conftest import Visitor

SPACE = {"x": {"type": "float", "low": 0, "high": 10, "unit": "h"}}
STRATEGY = {"kind": "bayesian", "surrogate": "gp", "initial": 4, "explain": False}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab with enough results for a model; closed by the server around it."""
    lab = Lab.create(
        tmp_path / "looking",
        space=SPACE,
        objectives={"yield": {"direction": "maximise", "unit": "%"}},
        strategy=STRATEGY,
    )
    lab.tell([Result(point={"x": x}, values={"yield": 50 + 4 * x - 0.3 * x**2}) for x in (0.0, 2.5, 5.0, 10.0)])
    return lab


@pytest.fixture
def client(at, lab: Lab) -> Visitor:
    """A visitor of its server."""
    return at(lab)


@pytest.fixture
def empty(visit) -> Visitor:
    """A visitor of a server whose strategy cannot say."""
    return visit()


def test_the_difference_and_the_number_reach_the_strategy(lab, client):
    plain, wide, three = lab.outlook(), lab.outlook(delta=50.0), lab.outlook(delta=0.5, q=3)
    assert lab.outlook(0.5, 3) == three and plain["q"] == 1 and (three["delta"], three["q"]) == (0.5, 3)
    assert wide["delta"] == 50.0 and wide["probability_better"] <= plain["probability_better"]
    assert three["expected_gain"] >= plain["expected_gain"] and "the next 3 experiments" in three["text"]
    assert client.get("/api/outlook", params={"delta": 0.5, "q": 3}).json() == three
    assert client.get("/api/outlook").json() == plain
    page = client.get("/outlook", params={"delta": "0,5 %", "q": "3"}).text
    assert "something better by 0.500 % or more remains" in page and "expected gain of the next 3 experiments" in page
    assert 'value="0,5 %"' in page


@pytest.mark.parametrize("delta", [0, -1.0, float("nan"), float("inf"), "1", True])
def test_differences_that_are_none(lab, client, delta):
    with pytest.raises(MatloopError, match="expected delta"):
        lab.outlook(delta=delta)


@pytest.mark.parametrize("q", [0, -1, 101, 1.5, True, "1"])
def test_numbers_of_experiments_that_are_none(lab, client, q):
    with pytest.raises(MatloopError, match="expected q"):
        lab.outlook(q=q)


@pytest.mark.parametrize(
    "query",
    [f"delta={d}" for d in ("0", "-1", "nan", "inf", "1e999", "x", "", "%00")]
    + [f"q={q}" for q in ("0", "101", "1.5", "x", "-1", "9" * 400)],
)
def test_what_is_not_asked_properly_is_refused_by_name(empty, query):
    answer = empty.get(f"/api/outlook?{query}")
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["column"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("query", "name"), [("delta=0", "delta"), ("delta=5+mg", "delta"), ("q=0", "q"), ("q=1,5", "q")]
)
def test_the_page_says_what_is_wrong_beside_the_field(empty, query, name):
    answer = empty.get(f"/outlook?{query}")
    assert answer.status_code == 422 and f'id="{name}-problem"' in answer.text and "expected" in answer.text


def test_a_strategy_that_cannot_say(empty):
    assert empty.get("/api/outlook?delta=3&q=2").json() == {} and "cannot say" in empty.get("/outlook?q=2").text


OBJECTIVES = {"yield": {"direction": "maximise", "unit": "%"}, "waste": {"direction": "minimise", "unit": "g"}}


@pytest.mark.parametrize(
    ("strategy", "objectives", "expected", "asks"),
    [
        (STRATEGY, OBJECTIVES, "chance that an untried point adds 1\u202f%", "0.01 of the hypervolume"),
        (
            {**STRATEGY, "target": {"yield": [60, 61]}},
            {"yield": OBJECTIVES["yield"]},
            "chance that an untried point lies within the target range",
            "",
        ),
        (
            {"kind": "active_learning", "surrogate": "gp", "initial": 4, "explain": False},
            {"yield": OBJECTIVES["yield"]},
            "the next 2 experiments should lower it by",
            "",
        ),
    ],
    ids=["front", "target", "learning"],
)
def test_other_aims_have_an_outlook_of_their_own(at, tmp_path, strategy, objectives, expected, asks):
    lab = Lab.create(tmp_path / "other", space=SPACE, objectives=objectives, strategy=strategy)
    told = [(x, {"yield": 50 + 4 * x - 0.3 * x**2, "waste": x}) for x in (0.0, 2.5, 5.0, 10.0)]
    lab.tell([Result(point={"x": x}, values={name: values[name] for name in objectives}) for x, values in told])
    visitor = at(lab)
    assert visitor.get("/api/outlook", params={"q": 2}).json() == lab.outlook(q=2)
    page = visitor.get("/outlook", params={"q": "2"}).text
    assert expected in page and (asks in page if asks else "Least gain" not in page)


def test_it_is_described(empty):
    schema = empty.get("/api/openapi.json").json()
    parameters = {p["name"]: p["schema"] for p in schema["paths"]["/api/outlook"]["get"]["parameters"]}
    assert set(parameters) == {"delta", "q"} and parameters["q"]["maximum"] == 100
    assert "least gain that counts" in empty.get("/api/docs").text


def test_too_many_at_once_are_asked_to_come_back(empty, monkeypatch):
    monkeypatch.setattr("matloop.orchestrator.web.service.MOST_OUTLOOKS", 0)
    answer: httpx.Response = empty.get("/api/outlook?q=2")
    assert answer.status_code == 503 and "retry-after" in answer.headers
    assert empty.post("/api/recommendations", json={"n": 1}).status_code == 201
    assert empty.get("/outlook?q=2").status_code == 503
