"""Predictions and the best over REST: the same as in Python, limits kept, described."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from matloop.orchestrator.lab import Lab, Result
from tests.orchestrator.web.conftest import OPEN, Visitor

SPACE = {
    "x": {"type": "float", "low": 0, "high": 10, "unit": "h"},
    "gas": {"type": "categorical", "choices": ["argon", "air"]},
}
STRATEGY = {"kind": "bayesian", "surrogate": "gp", "initial": 4}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab with enough results for a model; closed by the server around it."""
    lab = Lab.create(
        tmp_path / "looking",
        space=SPACE,
        objectives={"yield": {"direction": "maximise", "unit": "%"}},
        strategy=STRATEGY,
    )
    places = [(x, gas) for x in (0.0, 2.5, 5.0, 7.5, 10.0) for gas in ("argon", "air")]
    lab.tell([Result(point={"x": x, "gas": g}, values={"yield": 50 + 6 * x - 0.5 * x**2}) for x, g in places])
    return lab


@pytest.fixture
def client(at, lab: Lab) -> Visitor:
    """A visitor of its server."""
    return at(lab)


@pytest.fixture
def empty(visit) -> Visitor:
    """A visitor of a server whose strategy has no model."""
    return visit()


def test_points_are_predicted_as_in_python(lab, client):
    points = [{"x": 6, "gas": "air"}, {"x": 12.5, "gas": "argon"}]
    answer = client.post("/api/predict", json={"points": points})
    assert answer.status_code == 200
    assert answer.json() == [one.as_json() for one in lab.forecast(points)]
    assert answer.json()[1]["outside"] == "x above 10 h" and answer.json()[0]["works"] is None


def test_the_best_as_in_python(lab, client):
    answer = client.get("/api/best", params={"n": 2}).json()
    assert answer == lab.best(2).as_json()
    assert answer["expected"][0]["point"]["x"] == pytest.approx(6, abs=0.3) and len(answer["measured"]) == 2


@pytest.mark.parametrize(
    ("body", "row", "column"),
    [
        ({"points": [{"x": 1, "gas": "air"}, {"x": 1}]}, 1, "gas"),
        ({"points": [{"x": "hot", "gas": "air"}]}, 0, "x"),
        ({"points": [{"x": 1, "gas": "neon"}]}, 0, "gas"),
        ({"points": [{"x": 1, "gas": "air", "y": 2}]}, 0, "y"),
        ({"points": [{"x": None, "gas": "air"}]}, 0, None),
        ({"points": []}, None, "points"),
        ({"points": [{"x": 1, "gas": "air"}] * 1001}, None, "points"),
        ({}, None, "points"),
        ({"points": [{"x": 1, "gas": "air"}], "by": "me"}, None, "by"),
    ],
)
def test_what_does_not_fit_is_named(client, body, row, column):
    answer = client.post("/api/predict", json=body)
    assert answer.status_code == 422
    problem = answer.json()["problems"][0]
    assert problem["row"] == row and (column is None or problem["column"] == column)


def test_without_a_model_it_says_so(empty):
    answer = empty.post("/api/predict", json={"points": [{"temperature": 400, "solvent": "water", "hours": 3}]})
    assert answer.status_code == 409 and "has no model that predicts" in answer.json()["error"]
    best = empty.get("/api/best").json()
    assert best["measured"] == best["expected"] == [] and "no model" in best["reason"]
    assert empty.get("/api/best?n=0").status_code == 422


def test_nothing_is_recorded(lab, client):
    before = lab.history.last_seq
    client.post("/api/predict", json={"points": [{"x": 6, "gas": "air"}]})
    client.get("/api/best")
    lab.refresh()
    assert lab.history.last_seq == before


def test_it_is_described(empty):
    paths = empty.get("/api/openapi.json").json()
    body = paths["components"]["schemas"]["PointsIn"]["properties"]["points"]
    assert body["maxItems"] == 1000 and "/api/best" in paths["paths"]
    page = empty.get("/api/docs").text
    assert "/api/predict" in page and "may lie outside the space" in page


def test_too_many_at_once_are_asked_to_come_back(empty, monkeypatch):
    monkeypatch.setattr("matloop.orchestrator.web.service.MOST_PREDICTIONS", 0)
    answer = empty.post("/api/predict", json={"points": [{"temperature": 400, "solvent": "water", "hours": 3}]})
    assert answer.status_code == 503 and "retry-after" in answer.headers
    assert empty.post("/api/recommendations", json={"n": 1}).status_code == 201


def test_the_page_answers_what_would_you_expect(lab, client):
    page = client.get("/predict").text
    assert "What would you expect at" in page and "Leave empty what is as in the best" in page
    assert page.count('<svg class="plot slice"') == 2, "x and gas"
    assert (
        'role="img" aria-label="expected yield by x: lowest' in page and "air as in the best" in page
    ) or "argon as" in page
    asked = client.get("/predict", params={"point.x": "12,5 h", "point.gas": "argon"}).text
    (one,) = lab.forecast([{"x": 12.5, "gas": "argon"}])
    assert f"{one.mean['yield']:.1f}" in asked and "An extrapolation: x above 10 h." in asked
    assert 'value="12,5 h"' in asked and "style=" not in asked


def test_what_is_wrong_with_the_form_is_said_beside_the_field(client):
    answer = client.get("/predict", params={"point.x": "hot"})
    assert answer.status_code == 422 and 'id="p-1-problem"' in answer.text and "expected a number" in answer.text
    assert "<svg" not in answer.text.partition("Around it")[2]


def test_the_page_says_why_there_is_nothing(empty):
    page = empty.get("/predict")
    assert page.status_code == 200 and "has no model that predicts" in page.text


def test_the_bench_says_where_the_best_is(lab, client):
    for _ in range(600):
        page = client.get("/").text
        if "Where the best is" in page:
            break
        client.get("/api/best")  # behind what the bench has set going, in the same queue
    assert "the model expects" in page and 'href="/predict"' in page and "best measured" in page


def test_maps_are_of_the_inputs_that_are_asked_for(visit, tmp_path):
    space = {
        "kind": "experiment",
        "parameters": {name: {"type": "float", "low": 1, "high": 100, "log": name == "b"} for name in ("a", "b", "c")},
        "mixtures": {"m": {"components": ["F", "G", "H"], "total": 1}},
        "constraints": ["a + b <= 120"],
    }
    lab = Lab.create(tmp_path / "map", space=space, objectives={"y": "minimise"}, strategy=STRATEGY)
    rng = np.random.default_rng(0)
    points = [lab.space.sample(rng) for _ in range(8)]
    lab.tell([Result(point=p, values={"y": p["a"] + p["F"]}) for p in points])
    visitor = Visitor(visit()._portal, lab, OPEN)
    page = visitor.get("/predict", params={"x": "a", "y": "b"}).text
    assert page.count('class="plot slice map"') == 2 and "<h3>A and b</h3>" in page and "<h3>F, G and H</h3>" in page
    assert 'class="forbidden"' in page and all(f'class="h{i}"' in page for i in (0, 8))
    visitor.close()
